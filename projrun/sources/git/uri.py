"""Spellings of a place in a Git repository: the repository, a version, a directory in it.

gh:owner/repo@v1#dir            also gl: and bb:
git+https://host/repo@v1#subdirectory=dir          as pip has it
https://host/owner/repo/tree/BRANCH/dir            as it stands in a browser
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from projrun.errors import SourceError
from projrun.net import without_secrets
from projrun.sources.location import Location

HOSTS = {"gh": "github.com", "gl": "gitlab.com", "bb": "bitbucket.org"}

_SHORTHAND = r"(gh|gl|bb):(?!//)(?P<path>[^@#]+)(?:@(?P<version>[^#]*))?"
_PATH = r"[\w.~-]+(?:/[\w.~-]+)+"
_REPOSITORY = r"(?P<repository>https?://[^/]+(?:/[^/?#]+){2})"
_GITLAB = r"(?P<repository>https?://[^/]+(?:/[^/?#]+){2,}?)/-"
# The shapes of GitHub, GitLab, Gitea and Bitbucket, on whichever host
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
_LINES = re.compile(r"L\d+(C\d+)?(-L?\d+(C\d+)?)?|lines-[\d:,]+|readme", re.IGNORECASE)


def is_shorthand(uri: str) -> bool:
    return bool(re.match(_SHORTHAND, uri))


def parse_uri(place: str, fragment: str) -> Location:
    """Parse what stands before and behind the `#`. Raises SourceError where they contradict each other."""
    subdirectory = _directory_in_fragment(fragment)
    if is_shorthand(place):
        return _parse_shorthand(place, subdirectory)
    if place.lower().startswith("git+"):
        return _parse_pip_url(place, subdirectory)
    for pattern, version in _PAGES:
        page = re.fullmatch(pattern, place.partition("?")[0].rstrip("/"))
        if page and not place.endswith(".git"):
            return _parse_page_url(page.groupdict(), version, subdirectory)
    return Location(place, subdirectory=subdirectory)


def split_page(page: str, names: Iterable[str]) -> tuple[str, str]:
    """Split `BRANCH/dir` behind the longest known branch or tag, else at the first slash (a commit).

    names: the branches and tags of the repository.
    """
    parts = page.split("/")
    known = set(names)
    for end in range(len(parts), 0, -1):
        if "/".join(parts[:end]) in known:
            return "/".join(parts[:end]), "/".join(parts[end:])
    return parts[0], "/".join(parts[1:])


def possible_refs(page: str) -> list[str]:
    """Return every branch and tag that `BRANCH/dir` may begin with."""
    parts = page.split("/")
    starts = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return [f"refs/{kind}/{start}" for kind in ("heads", "tags") for start in starts]


def agreed_version(option: str, said: str, uri: str) -> str:
    """Return the version that -v and the uri agree on."""
    if option and said and option != said:
        raise SourceError(
            f"'{without_secrets(uri)}' already says which version: '{said}', and -v says '{option}'",
            "leave one of them out",
        )
    return option or said


def _directory_in_fragment(text: str) -> str:
    """Return the directory after `#`, which pip writes as subdirectory=…"""
    if "=" not in text:
        return text
    fields = dict(field.partition("=")[::2] for field in text.split("&"))
    return fields.get("subdirectory", "") if fields.keys() <= {"subdirectory", "egg"} else text


def _parse_shorthand(place: str, subdirectory: str) -> Location:
    match = re.fullmatch(_SHORTHAND, place)
    if not match or not re.fullmatch(_PATH, match["path"].removesuffix("/")):
        raise SourceError(
            f"'{without_secrets(place)}' names no repository",
            "write gh:OWNER/REPOSITORY, with @VERSION and #DIRECTORY if need be",
        )
    path = match["path"].removesuffix("/").removesuffix(".git")
    return Location(f"https://{HOSTS[match[1]]}/{path}.git", match["version"] or "", subdirectory)


def _parse_pip_url(place: str, subdirectory: str) -> Location:
    """Parse a URL whose path `@VERSION` may follow; an `@` before the host belongs to the user."""
    path_at = place.find("/", place.find("://") + 3)
    mark = place.rfind("@")
    is_there = place.lower().startswith("git+file://") and os.path.exists(place.partition("://")[2])
    if path_at == -1 or mark < path_at or is_there:
        return Location(place, subdirectory=subdirectory)
    return Location(place[:mark], place[mark + 1 :], subdirectory)


def _parse_page_url(parts: dict[str, str | None], version: str, subdirectory: str) -> Location:
    from urllib.parse import unquote

    place, is_file = str(parts["repository"]), (parts.get("leaf") or "").lower() in ("blob", "raw")
    subdirectory = "" if _LINES.fullmatch(subdirectory) else subdirectory
    if ref := parts.get("ref"):
        return Location(place, version.format(unquote(ref)), subdirectory)
    page = unquote(str(parts["rest"]))
    if subdirectory and (is_file or "/" in page):
        raise SourceError(
            f"'{place}/…/{page}#{subdirectory}' names two directories",
            "leave out what follows '#', or give the repository's own URL with it",
        )
    return Location(place, subdirectory=subdirectory, page=page, is_file=is_file)
