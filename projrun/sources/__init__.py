"""Fetch projects, record what gives their files back, and give them back.

A kind of source is a module that fulfils `SourceKind`, and a row in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from projrun.disk import Home, file_locks
from projrun.disk.file_locks import FileLock
from projrun.errors import SourceError
from projrun.net import without_credentials
from projrun.plan import Checkout, Source

if TYPE_CHECKING:
    from projrun.record import SourceClosure
    from projrun.sources.closure import Captured
    from projrun.sources.location import Location


class SourceKind(Protocol):
    def locate(self, uri: str) -> Location | None:
        """Parse `uri` if it is of this kind, else return None. Must not ask the network."""
        ...

    def fetch(
        self, location: Location, version: str, home: Home, *, offline: bool = False, looking: bool = False
    ) -> Checkout:
        """Provide the located tree on disk, at `version` ('' means the default). Raises SourceError.

        offline: use only what was fetched before. looking: start no program that the tree or its repository
        names, because nothing is going to be run. A fetch that fails must leave nothing behind.
        """
        ...


KINDS = {
    # asked in this order; git is asked last because it claims everything that looks like a URL
    "local": "projrun.sources.local",
    "archive": "projrun.sources.archive",
    "git": "projrun.sources.git.repository",
}


def fetch(
    uri: str, version: str, home: Home, *, sha256: str = "", offline: bool = False, looking: bool = False
) -> Checkout:
    """Fetch the tree at `uri`; return a temporary checkout with `release`. Raises SourceError.

    sha256: the digest that an archive must have, 64 hex digits; '' accepts any.
    """
    uri = uri.strip("'\"")  # mlflow takes quoted uris too
    for module in KINDS.values():
        kind = cast(SourceKind, import_module(module))
        if location := kind.locate(uri):
            if not sha256:
                return kind.fetch(location, version, home, offline=offline, looking=looking)
            from projrun.sources import archive

            if kind is not archive:
                shown = without_credentials(location.uri)
                raise SourceError(f"'{shown}' is no archive, so it has no sha256", "leave it out")
            return archive.fetch(location, version, home, sha256, offline=offline)
    owner, _, repository = uri.partition("#")[0].partition("/")
    hint = "check the path, or give a URL that git can clone"
    if owner.strip(".~") and repository and "/" not in repository and "//" not in uri:
        hint = f"check the path, or say gh:{uri} if it is on GitHub"
    raise SourceError(f"'{without_credentials(uri)}' is neither a directory, an archive nor a Git URL", hint)


@contextmanager
def fetched(uri: str, version: str, home: Home, *, offline: bool = False) -> Iterator[Checkout]:
    """Yield a checkout to look at, and release it: no program that it names is started."""
    checkout = fetch(uri, version, home, offline=offline, looking=True)
    try:
        yield checkout
    finally:
        release(checkout, home)


def require_clean(checkout: Checkout) -> None:
    """Raise SourceError for a working tree that differs from its commit, or has none."""
    from projrun.sources.restoration import check_unchanged

    check_unchanged(checkout)


def capture(checkout: Checkout, home: Home) -> Captured:
    """Record what gives the tree back. Call it before the command runs, which may change the tree."""
    from projrun.sources import closure

    return closure.capture(checkout, home)


def isolate(checkout: Checkout, captured: Captured, home: Home) -> Checkout:
    """Return a temporary checkout of the captured tree; one that is temporary already is returned itself."""
    from projrun.sources.restoration import check_out_captured

    return checkout if checkout.temporary else check_out_captured(checkout, captured, home)


def restore(source: Source, closure: SourceClosure, artifact: Path | None, home: Home) -> Checkout:
    """Check out the tree of a run temporarily, from its record, its artifact and the remote alone.

    Raises SourceError.
    """
    from projrun.disk.unpack import ArchiveLimits
    from projrun.sources import restoration

    return restoration.restore(source, closure, artifact, home, ArchiveLimits.of_records())


def keep(checkout: Checkout, home: Home) -> None:
    """Let a temporary checkout stay until the cache is pruned."""
    if checkout.temporary and checkout.root.parent.parent == home.checkouts:
        file_locks.keep_directory(checkout.root.parent)


def release(checkout: Checkout, home: Home) -> None:
    """Remove a temporary checkout; a project that was used in place stays. Calling it twice does no harm."""
    if checkout.temporary and checkout.root.parent.parent == home.checkouts:
        file_locks.release_directory(checkout.root.parent)


def lock_of(checkout: Checkout) -> FileLock | None:
    """Return the lock of a temporary checkout of this process; the process that takes it over inherits it."""
    return file_locks.lock_of_directory(checkout.root.parent) if checkout.temporary else None


def take_over(checkout: Checkout, fd: int) -> None:
    """Own a temporary checkout of another process, whose lock we inherited as `fd`."""
    file_locks.take_over_directory(checkout.root.parent, fd)


def hand_over(checkout: Checkout) -> None:
    """Leave a temporary checkout to the process that has inherited its lock."""
    if checkout.temporary:
        file_locks.leave_directory(checkout.root.parent)
