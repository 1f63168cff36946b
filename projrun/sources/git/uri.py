"""What people type or paste for a place in a Git repository: the repository, a version, a directory in it.

gh:owner/repo@v1#dir            also gl: and bb:
git+https://host/repo@v1#subdirectory=dir          as pip has it
https://host/owner/repo/tree/BRANCH/dir            as it stands in a browser
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from projrun.errors import SourceError
from projrun.net import without_secrets
from projrun.sources.subdirectory import split_off

HOSTS = {"gh": "github.com", "gl": "gitlab.com", "bb": "bitbucket.org"}

_SHORTHAND = r"(gh|gl|bb):(?!//)(?P<path>[^@#]+)(?:@(?P<version>[^#]*))?"
_PATH = r"[\w.~-]+(?:/[\w.~-]+)+"
_REPOSITORY = r"(?P<repository>https?://[^/]+(?:/[^/?#]+){2})"
_GITLAB = r"(?P<repository>https?://[^/]+(?:/[^/?#]+){2,}?)/-"
_PAGES = tuple(
    (re.compile(pattern, re.IGNORECASE), version)
    for pattern, version in (
        (rf"{_GITLAB}/(?P<leaf>tree|blob|raw)/(?P<rest>.+)", ""),
        (rf"{_GITLAB}/merge_requests/(?P<ref>\d+)(?:/.*)?", "refs/merge-requests/{}/head"),
        (rf"{_GITLAB}/commit/(?P<ref>[0-9a-f]+)", "{}"),
        (rf"{_GITLAB}/tags/(?P<ref>.+)", "refs/tags/{}"),
        (rf"{_REPOSITORY}/(?P<leaf>tree|blob|raw)/(?P<rest>.+)", ""),
        (rf"{_REPOSITORY}/pulls?/(?P<ref>\d+)(?:/.*)?", "refs/pull/{}/head"),
        (rf"{_REPOSITORY}/commits?/(?P<ref>[0-9a-f]{{7,64}})", "{}"),
        (rf"{_REPOSITORY}/releases/tag/(?P<ref>.+)", "refs/tags/{}"),
        (rf"{_REPOSITORY}/src/(?:branch|tag|commit)/(?P<rest>.+)", ""),
        (rf"{_REPOSITORY}/src/(?P<rest>.+)", ""),
    )
)
"""The shapes of GitHub, GitLab, Gitea and Bitbucket, on whichever host."""
_LINES = re.compile(r"L\d+(C\d+)?(-L?\d+(C\d+)?)?|lines-[\d:,]+|readme", re.IGNORECASE)


@dataclass(frozen=True)
class Asked:
    """What a uri says, before anything is looked up."""

    place: str
    """The repository, with the credentials in it."""
    version: str = ""
    """As the uri says it; empty when it does not."""
    subdirectory: str = ""
    page: str = ""
    """`BRANCH/dir` of a pasted URL: only the repository knows where the branch ends."""
    is_file: bool = False
    """What `page` names is a file; its directory is meant."""


def is_shorthand(uri: str) -> bool:
    return bool(re.match(_SHORTHAND, uri))


def understood(uri: str) -> Asked:
    """Raises SourceError where it says two things at once."""
    place, below = split_off(uri)
    below = _fragment(below)
    if is_shorthand(place):
        return _of_shorthand(place, below)
    if place.lower().startswith("git+"):
        return _of_pip(place, below)
    for pattern, version in _PAGES:
        page = re.fullmatch(pattern, place.partition("?")[0].rstrip("/"))
        if page and not place.endswith(".git"):
            return _of_page(page.groupdict(), version, below)
    return Asked(place, subdirectory=below)


def divided(page: str, names: Iterable[str]) -> tuple[str, str]:
    """Version and directory of `BRANCH/dir`: the longest of the branches and tags that it may begin with.

    What begins with no name may begin with a commit.
    """
    parts = page.split("/")
    known = set(names)
    for end in range(len(parts), 0, -1):
        if "/".join(parts[:end]) in known:
            return "/".join(parts[:end]), "/".join(parts[end:])
    return parts[0], "/".join(parts[1:])


def candidates(page: str) -> list[str]:
    """Every branch and tag that `BRANCH/dir` may begin with."""
    parts = page.split("/")
    starts = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return [f"refs/{kind}/{start}" for kind in ("heads", "tags") for start in starts]


def one_of(option: str, said: str, uri: str) -> str:
    """The version that -v and the uri agree on."""
    if option and said and option != said:
        raise SourceError(
            f"'{without_secrets(uri)}' already says which version: '{said}', and -v says '{option}'",
            "leave one of them out",
        )
    return option or said


def _fragment(text: str) -> str:
    """The directory that stands after `#`, alone or, as pip has it, as subdirectory=…"""
    if "=" not in text:
        return text
    fields = dict(field.partition("=")[::2] for field in text.split("&"))
    return fields.get("subdirectory", "") if fields.keys() <= {"subdirectory", "egg"} else text


def _of_shorthand(place: str, below: str) -> Asked:
    found = re.fullmatch(_SHORTHAND, place)
    if not found or not re.fullmatch(_PATH, found["path"].removesuffix("/")):
        raise SourceError(
            f"'{without_secrets(place)}' names no repository",
            "write gh:OWNER/REPOSITORY, with @VERSION and #DIRECTORY if need be",
        )
    path = found["path"].removesuffix("/").removesuffix(".git")
    return Asked(f"https://{HOSTS[found[1]]}/{path}.git", found["version"] or "", below)


def _of_pip(place: str, below: str) -> Asked:
    """`@VERSION` may follow the path; what stands before the host is no version."""
    path_at = place.find("/", place.find("://") + 3)
    mark = place.rfind("@")
    is_there = place.lower().startswith("git+file://") and os.path.exists(place.partition("://")[2])
    if path_at == -1 or mark < path_at or is_there:
        return Asked(place, subdirectory=below)
    return Asked(place[:mark], place[mark + 1 :], below)


def _of_page(parts: dict[str, str | None], version: str, below: str) -> Asked:
    from urllib.parse import unquote

    place, is_file = str(parts["repository"]), (parts.get("leaf") or "").lower() in ("blob", "raw")
    below = "" if _LINES.fullmatch(below) else below
    if ref := parts.get("ref"):
        return Asked(place, version.format(unquote(ref)), below)
    page = unquote(str(parts["rest"]))
    if below and (is_file or "/" in page):
        raise SourceError(
            f"'{place}/…/{page}#{below}' names two directories",
            "leave out what follows '#', or give the repository's own URL with it",
        )
    return Asked(place, subdirectory=below, page=page, is_file=is_file)
