"""Projects behind a Git URL: fetched into the cache, checked out for one run."""

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
from projrun.sources.git.uri import agreed_version, is_shorthand, parse_uri, possible_refs, split_page
from projrun.sources.git.worktree import main_remote, relative_path
from projrun.sources.location import Location, is_repository, split_off


def locate(uri: str) -> Location | None:
    """Take all that git could clone, and URLs that `fetch` must refuse. Raises SourceError."""
    place, subdirectory = split_off(uri)
    is_url = is_shorthand(uri) or looks_like_url(uri)
    if place.lower().endswith(".zip") or not (is_url or is_repository(place)):
        return None
    return parse_uri(place, subdirectory)._replace(uri=uri)


def fetch(
    location: Location, version: str, home: Home, *, offline: bool = False, looking: bool = False
) -> Checkout:
    address = address_of(location.place)
    repository = Repository(address, home, offline=offline)
    if location.page:
        uri_version, subdirectory = _split_page(location, repository)
    else:
        uri_version, subdirectory = location.version, location.subdirectory.strip("/")
    version = agreed_version(version, uri_version, location.uri)
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


def _split_page(location: Location, repository: Repository) -> tuple[str, str]:
    """Return version and directory of a URL that was pasted from a browser."""
    page = location.page
    check_version(page)
    if FULL_ID.fullmatch(page.partition("/")[0]):
        version, _, path = page.partition("/")
    else:
        version, path = split_page(page, repository.names(*possible_refs(page)).short())
    if location.is_file:
        if not path:
            raise SourceError(f"'{page}' names no file", "paste the whole URL")
        path = path.rpartition("/")[0]
    return version, path.strip("/") or location.subdirectory.strip("/")


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ][0-9:.]+(?:Z|[+-]\d{2}:?\d{2})?)?")


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
    """Check out `version` of the repository around `start`. The subdirectory need not be there now."""
    check_version(version)
    top = find_git_top(start)
    if top is None:
        raise SourceError(
            f"'{start}' is not a Git repository, so it has no version '{version}'",
            "leave the version out to run it as it lies",
        )
    with open_view(top) as view:
        revision, remote = _revision(view, version), main_remote(view.remotes, top)
    source = Source(
        kind="local",
        uri=location.uri,
        repository=without_credentials(remote),
        version=version,
        commit=revision.commit,
        branch=revision.branch,
        subdirectory="/".join(filter(None, (relative_path(top, start), location.subdirectory.strip("/")))),
    )
    parent = _parent(top, remote)
    tree = local_tree(top, revision, remote)
    checkout = check_out(source, tree, parent, environment_for(parent), home, offline=offline)
    return msgspec.structs.replace(checkout, repository=top)


def _revision(view: View, version: str) -> Revision:
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
    shared = Path(os.path.realpath(git_directories(top)[1]))
    return Tree(revision, shared / "objects", shared / "shallow", without_credentials(remote))


def _parent(top: Path, remote: str) -> Address:
    """Return the address that URLs of submodules are relative to."""
    try:
        return address_of(remote or str(top))
    except SourceError:
        return Address(str(top))
