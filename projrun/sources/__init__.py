"""Sources: kinds of place that projects come from. A kind is a module that fulfils `SourceKind`."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from projrun.errors import SourceError
from projrun.home import Home
from projrun.plan import Checkout


class SourceKind(Protocol):
    def claims(self, uri: str) -> bool:
        """True if `uri` is of this kind. Never asks the network."""
        ...

    def fetch(self, uri: str, version: str, home: Home) -> Checkout:
        """The tree at `uri` on disk, at `version` ('' means the default). Raises SourceError."""
        ...


KINDS = {
    # asked in this order; git is asked last because it claims everything that looks like a URL
    "local": "projrun.sources.local",
    "git": "projrun.sources.git",
}


def fetch(uri: str, version: str, home: Home) -> Checkout:
    for module in KINDS.values():
        kind = cast(SourceKind, import_module(module))
        if kind.claims(uri):
            return kind.fetch(uri, version, home)
    raise SourceError(
        f"'{uri}' is neither a directory nor a Git URL", "check the path, or give a URL that git can clone"
    )
