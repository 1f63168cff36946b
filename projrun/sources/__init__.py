"""Sources: kinds of place that projects come from. A kind is a module that fulfils `SourceKind`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from projrun.disk import Home
from projrun.errors import SourceError
from projrun.net import without_credentials
from projrun.plan import Checkout, Source

if TYPE_CHECKING:
    from projrun.record import SourceClosure
    from projrun.sources.closure import Captured
    from projrun.sources.location import Location


class SourceKind(Protocol):
    def locate(self, uri: str) -> Location | None:
        """Parse `uri` if it is of this kind, else return None. Never asks the network."""
        ...

    def fetch(
        self, location: Location, version: str, home: Home, *, offline: bool = False, looking: bool = False
    ) -> Checkout:
        """Provide the located tree on disk, at `version` ('' means the default). Raises SourceError.

        offline: ask no network and take what was fetched before. looking: nothing is going to be run, so no
        program is started that the tree or its repository names.
        A temporary checkout is given back with `release`; a fetch that fails leaves nothing behind.
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
    """Fetch the tree at `uri`. sha256: the digest that an archive must have; '' accepts any."""
    uri = uri.strip("'\"")  # mlflow takes quoted uris too
    for module in KINDS.values():
        kind = cast(SourceKind, import_module(module))
        if location := kind.locate(uri):
            if sha256:
                return _fetch_digest(module, location, version, home, sha256, offline)
            return kind.fetch(location, version, home, offline=offline, looking=looking)
    raise SourceError(
        f"'{without_credentials(uri)}' is neither a directory, an archive nor a Git URL",
        _hint(uri),
    )


def _hint(uri: str) -> str:
    owner, _, repository = uri.partition("#")[0].partition("/")
    if owner.strip(".~") and repository and "/" not in repository and "//" not in uri:
        return f"check the path, or say gh:{uri} if it is on GitHub"
    return "check the path, or give a URL that git can clone"


@contextmanager
def fetched(uri: str, version: str, home: Home, *, offline: bool = False) -> Iterator[Checkout]:
    """Fetch a checkout to look at, for as long as the block lasts: nothing that it names is started."""
    checkout = fetch(uri, version, home, offline=offline, looking=True)
    try:
        yield checkout
    finally:
        release(checkout, home)


def _fetch_digest(
    module: str, location: Location, version: str, home: Home, sha256: str, offline: bool
) -> Checkout:
    from projrun.sources import archive

    if module != KINDS["archive"]:
        shown = without_credentials(location.uri)
        raise SourceError(f"'{shown}' is no archive, so it has no sha256", "leave it out")
    return archive.fetch(location, version, home, sha256, offline=offline)


def require_clean(checkout: Checkout) -> None:
    """Raise SourceError for a working tree that differs from its commit."""
    from projrun.sources.restoration import check_unchanged

    check_unchanged(checkout)


def capture(checkout: Checkout, home: Home) -> Captured:
    """Record what gives the tree back. To be called before the command runs."""
    from projrun.sources.closure import capture as captured

    return captured(checkout, home)


def isolate(checkout: Checkout, captured: Captured, home: Home) -> Checkout:
    """Return a temporary checkout of the captured tree, the same one where it is temporary already."""
    from projrun.sources.restoration import check_out_captured

    return checkout if checkout.temporary else check_out_captured(checkout, captured, home)


def restore(source: Source, closure: SourceClosure, artifact: Path | None, home: Home) -> Checkout:
    """The tree of a run as a temporary checkout, from its record, its artifact `closure.artifact` and the
    remote alone. Give it back with `release`. Raises SourceError."""
    from projrun.disk.unpack import ArchiveLimits
    from projrun.sources.restoration import restore as restored

    return restored(source, closure, artifact, home, ArchiveLimits.of_records())


def keep(checkout: Checkout, home: Home) -> None:
    """Let a temporary checkout stay when its run ends, until the cache is pruned."""
    if checkout.temporary:
        from projrun.sources.checkouts import keep as keep_checkout

        keep_checkout(checkout, home)


def release(checkout: Checkout, home: Home) -> None:
    """Remove a temporary checkout; a project that was used in place stays. Calling it twice does no harm."""
    if checkout.temporary:
        from projrun.sources.checkouts import remove

        remove(checkout, home)
