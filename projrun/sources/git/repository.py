"""Projects in a Git repository: behind a URL, or on this machine at a version that is checked out apart.

A URL may have one of these forms, each followed by #directory:

gh:owner/repo@v1                             also gl: and bb:
git+https://host/repo@v1                     as in pip, also with #subdirectory=directory
https://host/owner/repo/tree/BRANCH/dir      as copied from a browser
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from projrun.disk import Home
from projrun.disk.file_operations import find_git_top
from projrun.disk.repository_view import View, git_directories, open_view
from projrun.errors import SourceError, UsageError
from projrun.net import without_credentials, without_secrets
from projrun.plan import Checkout, Source
from projrun.sources.checkouts import check_out
from projrun.sources.git.address import Address, address_of, looks_like_url
from projrun.sources.git.git_command import environment_for, failure
from projrun.sources.git.repository_cache import Repository
from projrun.sources.git.tree import FULL_ID, Revision, Tree, check_version, unknown_revision
from projrun.sources.git.worktree import main_remote, relative_path
from projrun.sources.location import Location, is_repository, split_off

HOSTS = {"gh": "github.com", "gl": "gitlab.com", "bb": "bitbucket.org"}

_SHORTHAND = r"(gh|gl|bb):(?!//)(?P<path>[^@#]+)(?:@(?P<version>[^#]*))?"
_PATH = r"[\w.~-]+(?:/[\w.~-]+)+"
_REPOSITORY = r"(?P<repository>https?://[^/]+(?:/[^/?#]+){2})"
_GITLAB = r"(?P<repository>https?://[^/]+(?:/[^/?#]+){2,}?)/-"
# Pages of GitHub, GitLab, Gitea and Bitbucket on any host, and the version that their address stands for
_PAGES = (
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
_LINES = re.compile(r"L\d+(C\d+)?(-L?\d+(C\d+)?)?|lines-[\d:,]+|readme", re.IGNORECASE)  # fragments of pages
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ][0-9:.]+(?:Z|[+-]\d{2}:?\d{2})?)?")


def locate(uri: str) -> Location | None:
    """Claim everything that git could clone, and URLs that `fetch` must refuse. Raises SourceError."""
    base, fragment = split_off(uri)
    is_shorthand = re.match(_SHORTHAND, uri) is not None
    is_url = is_shorthand or looks_like_url(uri)
    if base.lower().endswith(".zip") or not (is_url or is_repository(base)):
        return None
    subdirectory = _directory_in_fragment(fragment)
    if is_shorthand:
        location = _parse_shorthand(base, subdirectory)
    elif base.lower().startswith("git+"):
        location = _parse_pip_url(base, subdirectory)
    else:
        location = _parse_page_url(base, subdirectory) or Location(base, subdirectory=subdirectory)
    return location._replace(uri=uri)


def fetch(
    location: Location, version: str, home: Home, *, offline: bool = False, looking: bool = False
) -> Checkout:
    address = address_of(location.base)
    repository = Repository(address, home, offline=offline)
    if location.page:
        uri_version, subdirectory = _split_page(location, repository)
    else:
        uri_version, subdirectory = location.version, location.subdirectory.strip("/")
    if version and uri_version and version != uri_version:
        raise SourceError(
            f"'{without_secrets(location.uri)}' already says which version: '{uri_version}',"
            f" and -v says '{version}'",
            "leave one of them out",
        )
    version = version or uri_version
    check_version(version)
    revision = repository.obtain(version)
    source = Source(
        kind="git",
        uri=without_secrets(location.uri),
        repository=address.url,
        version=version,
        commit=revision.commit,
        branch=revision.branch,
        subdirectory=subdirectory,
    )
    tree = repository.tree(revision)
    return check_out(source, tree, address, repository.environ, home, offline=offline)


def _directory_in_fragment(text: str) -> str:
    """Return the directory after `#`, which pip writes as subdirectory=…"""
    if "=" not in text:
        return text
    fields = dict(field.partition("=")[::2] for field in text.split("&"))
    return fields.get("subdirectory", "") if fields.keys() <= {"subdirectory", "egg"} else text


def _parse_shorthand(text: str, subdirectory: str) -> Location:
    match = re.fullmatch(_SHORTHAND, text)
    if not match or not re.fullmatch(_PATH, match["path"].removesuffix("/")):
        raise SourceError(
            f"'{without_secrets(text)}' names no repository",
            "write gh:OWNER/REPOSITORY, with @VERSION and #DIRECTORY if need be",
        )
    path = match["path"].removesuffix("/").removesuffix(".git")
    return Location(f"https://{HOSTS[match[1]]}/{path}.git", match["version"] or "", subdirectory)


def _parse_pip_url(url: str, subdirectory: str) -> Location:
    """Parse a URL whose path `@VERSION` may follow; an `@` before the host belongs to the user."""
    path_at = url.find("/", url.find("://") + 3)
    mark = url.rfind("@")
    exists = url.lower().startswith("git+file://") and os.path.exists(url.partition("://")[2])
    if path_at == -1 or mark < path_at or exists:
        return Location(url, subdirectory=subdirectory)
    return Location(url[:mark], url[mark + 1 :], subdirectory)


def _parse_page_url(url: str, subdirectory: str) -> Location | None:
    """Parse the address of a page about a repository; None for other URLs."""
    address = url.partition("?")[0].rstrip("/")
    pages = ((re.fullmatch(pattern, address, re.IGNORECASE), version) for pattern, version in _PAGES)
    page, version = next(((page, version) for page, version in pages if page), (None, ""))
    if page is None or url.endswith(".git"):
        return None
    from urllib.parse import unquote

    parts = page.groupdict()
    repository, is_file = parts["repository"], (parts.get("leaf") or "").lower() in ("blob", "raw")
    subdirectory = "" if _LINES.fullmatch(subdirectory) else subdirectory
    if ref := parts.get("ref"):
        return Location(repository, version.format(unquote(ref)), subdirectory)
    path = unquote(parts["rest"])
    if subdirectory and (is_file or "/" in path):
        raise SourceError(
            f"'{repository}/…/{path}#{subdirectory}' names two directories",
            "leave out what follows '#', or give the repository's own URL with it",
        )
    return Location(repository, subdirectory=subdirectory, page=path, is_file=is_file)


def _split_page(location: Location, repository: Repository) -> tuple[str, str]:
    """Return version and directory of the address of a page."""
    page = location.page
    check_version(page)
    parts = page.split("/")
    version = parts[0]
    if not FULL_ID.fullmatch(version):
        # `BRANCH/dir` ends behind the longest known branch or tag, else at the first slash (a short commit)
        starts = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
        refs = [f"refs/{kind}/{start}" for kind in ("heads", "tags") for start in starts]
        names = set(repository.names(*refs).short())
        version = next((start for start in reversed(starts) if start in names), version)
    path = page[len(version) + 1 :]
    if location.is_file:
        if not path:
            raise SourceError(f"'{page}' names no file", "paste the whole URL")
        path = path.rpartition("/")[0]
    return version, path.strip("/") or location.subdirectory.strip("/")


def resolve_date(text: str, directory: Path) -> str:
    """Return a date unchanged, and for a commit its date in the repository around `directory`."""
    if _DATE.fullmatch(text):
        return text
    from projrun.sources.git.library import read_date

    date = read_date(directory, text)
    if _DATE.fullmatch(date):
        return date
    raise UsageError(
        f"--as-of: '{text}' is neither a date nor a commit of the project", "write 2023-06-01, or a commit"
    )


def checkout_at(
    location: Location, version: str, start: Path, home: Home, *, offline: bool = False
) -> Checkout:
    """Check out `version` of the repository around `start`. The subdirectory need not exist there now."""
    check_version(version)
    top = find_git_top(start)
    if top is None:
        raise SourceError(
            f"'{start}' is not a Git repository, so it has no version '{version}'",
            "leave the version out to run it as it lies",
        )
    with open_view(top) as view:
        revision, remote = _resolve_locally(view, version), main_remote(view.remotes, top)
    source = Source(
        kind="local",
        uri=location.uri,
        repository=without_credentials(remote),
        version=version,
        commit=revision.commit,
        branch=revision.branch,
        subdirectory="/".join(filter(None, (relative_path(top, start), location.subdirectory.strip("/")))),
    )
    try:
        parent = address_of(remote or str(top))  # URLs of submodules may be relative to it
    except SourceError:
        parent = Address(str(top))
    tree = local_tree(top, revision, remote)
    checkout = check_out(source, tree, parent, environment_for(parent), home, offline=offline)
    return msgspec.structs.replace(checkout, repository=top)


def _resolve_locally(view: View, version: str) -> Revision:
    """Resolve `version` by local names, then by those of origin as it was fetched last."""
    for name in (version, f"refs/remotes/origin/{version}"):
        answer = view.ask("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if answer.ok:
            full_name = view.ask("rev-parse", "--symbolic-full-name", name).stdout.strip()
            branch = re.match(r"refs/(?:heads|remotes/origin)/(.+)", full_name)
            return Revision(answer.stdout.strip(), branch[1] if branch else "")
        if answer.stderr.strip():
            raise failure(answer, str(view.top))
    refs = view.ask("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads", "refs/tags")
    raise unknown_revision(version, str(view.top), refs.stdout.split())


def local_tree(top: Path, revision: Revision, remote: str) -> Tree:
    """Return a commit of the repository `top`. remote: the URL that its checkouts call origin."""
    shared = Path(os.path.realpath(git_directories(top)[1]))
    return Tree(revision, shared / "objects", shared / "shallow", without_credentials(remote))
