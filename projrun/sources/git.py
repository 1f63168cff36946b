"""Projects behind a Git URL: fetched into the cache, checked out for one run."""

from __future__ import annotations

from projrun.errors import SourceError
from projrun.home import Home
from projrun.plan import Checkout, Source
from projrun.sources.checkouts import check_out
from projrun.sources.gitcache import Repository
from projrun.sources.giturl import address_of, is_repository, looks_like_one
from projrun.sources.revision import FULL_ID, check_version
from projrun.sources.spelling import Asked, candidates, divided, is_shorthand, one_of, understood
from projrun.sources.subdirectory import split_off
from projrun.urls import without_secrets


def claims(uri: str) -> bool:
    place = split_off(uri)[0]
    is_archive = place.lower().endswith(".zip")
    return not is_archive and (is_shorthand(uri) or looks_like_one(uri) or is_repository(place))


def fetch(uri: str, version: str, home: Home, *, offline: bool = False, looking: bool = False) -> Checkout:
    asked = understood(uri)
    address = address_of(asked.place)
    repository = Repository(address, home, offline=offline)
    if asked.page:
        said, below = _place_on_page(asked, repository)
    else:
        said, below = asked.version, asked.subdirectory.strip("/")
    version = one_of(version, said, uri)
    check_version(version)
    revision = repository.obtain(version)
    source = Source(
        kind="git",
        uri=without_secrets(uri),
        repository=address.url,
        version=version,
        commit=revision.commit,
        branch=revision.branch,
        subdirectory=below,
    )
    tree = repository.tree(revision)
    return check_out(source, tree, address, repository.environ, home, offline=offline)


def _place_on_page(asked: Asked, repository: Repository) -> tuple[str, str]:
    """Version and directory of a URL that was pasted from a browser."""
    check_version(asked.page)
    if FULL_ID.fullmatch(asked.page.partition("/")[0]):
        version, _, below = asked.page.partition("/")
    else:
        version, below = divided(asked.page, repository.names(*candidates(asked.page)).short())
    if asked.is_file:
        if not below:
            raise SourceError(f"'{asked.page}' names no file", "paste the whole URL")
        below = below.rpartition("/")[0]
    return version, below.strip("/") or asked.subdirectory.strip("/")
