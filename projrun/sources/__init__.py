"""Sources: kinds of place that projects come from. A kind is a module that fulfils `SourceKind`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Protocol, cast

from projrun.errors import SourceError, UnavailableError
from projrun.home import Home
from projrun.plan import Checkout
from projrun.urls import without_credentials


class SourceKind(Protocol):
    def claims(self, uri: str) -> bool:
        """True if `uri` is of this kind. Never asks the network."""
        ...

    def fetch(self, uri: str, version: str, home: Home, *, offline: bool = False) -> Checkout:
        """The tree at `uri` on disk, at `version` ('' means the default). Raises SourceError.

        offline: ask no network; what was fetched before must do.
        A temporary checkout is given back with `release`; one that fails leaves nothing behind.
        """
        ...


KINDS = {
    # asked in this order; git is asked last because it claims everything that looks like a URL
    "local": "projrun.sources.local",
    "git": "projrun.sources.git",
}


def fetch(uri: str, version: str, home: Home, *, offline: bool = False) -> Checkout:
    uri = uri.strip("'\"")  # mlflow takes quoted uris too
    for module in KINDS.values():
        kind = cast(SourceKind, import_module(module))
        if kind.claims(uri):
            return kind.fetch(uri, version, home, offline=offline)
    if is_archive(uri):
        raise UnavailableError(
            "running from a zip archive is not part of this version of projrun",
            "unpack it and give the directory",
        )
    raise SourceError(
        f"'{without_credentials(uri)}' is neither a directory nor a Git URL",
        _hint(uri),
    )


def _hint(uri: str) -> str:
    owner, _, repository = uri.partition("#")[0].partition("/")
    if owner.strip(".~") and repository and "/" not in repository and "//" not in uri:
        return f"check the path, or say gh:{uri} if it is on GitHub"
    return "check the path, or give a URL that git can clone"


@contextmanager
def fetched(uri: str, version: str, home: Home, *, offline: bool = False) -> Iterator[Checkout]:
    """A checkout for as long as the block lasts."""
    checkout = fetch(uri, version, home, offline=offline)
    try:
        yield checkout
    finally:
        release(checkout, home)


def keep(checkout: Checkout, home: Home) -> None:
    """Let a temporary checkout stay when its run ends, until the cache is pruned."""
    if checkout.temporary:
        from projrun.sources.checkouts import keep as keep_checkout

        keep_checkout(checkout, home)


def is_archive(uri: str) -> bool:
    return uri.partition("#")[0].lower().endswith(".zip")


def release(checkout: Checkout, home: Home) -> None:
    """Remove a temporary checkout; a project that was used in place stays as it is. Once more is fine."""
    if checkout.temporary:
        from projrun.sources.checkouts import remove

        remove(checkout, home)
