"""Projects behind a Git URL: fetched into the cache, checked out for one run."""

from __future__ import annotations

from projrun.home import Home
from projrun.plan import Checkout, Source
from projrun.sources.checkouts import check_out
from projrun.sources.gitcache import Repository
from projrun.sources.giturl import address_of, is_repository, looks_like_one
from projrun.sources.revision import check_version
from projrun.sources.subdirectory import split_off
from projrun.urls import without_credentials


def claims(uri: str) -> bool:
    place = split_off(uri)[0]
    is_archive = place.lower().endswith(".zip")
    return not is_archive and (looks_like_one(uri) or is_repository(place))


def fetch(uri: str, version: str, home: Home) -> Checkout:
    place, below = split_off(uri)
    address = address_of(place)
    check_version(version)
    repository = Repository(address, home)
    revision = repository.obtain(version)
    source = Source(
        kind="git",
        uri=without_credentials(uri),
        repository=address.url,
        version=version,
        commit=revision.commit,
        branch=revision.branch,
        subdirectory=below.strip("/"),
    )
    return check_out(source, repository.tree(revision), address, repository.environ, home)
