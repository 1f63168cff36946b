"""Temporary checkouts: `checkouts-v1/ID/NAME` is a tree that belongs to one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from projrun.disk import Home, file_locks
from projrun.plan import Checkout, Source
from projrun.sources.git.address import Address
from projrun.sources.git.lfs import fill_lfs
from projrun.sources.git.submodules import fill_submodules
from projrun.sources.git.tree import Tree, fill_tree
from projrun.sources.location import directory_within


def check_out(
    source: Source,
    tree: Tree,
    address: Address,
    environ: Mapping[str, str],
    home: Home,
    *,
    offline: bool = False,
) -> Checkout:
    """A checkout of `tree` and its submodules, whose URLs may start at `address`. All or nothing is made."""
    with new_checkout_directory(home, address.name) as root:
        fill_tree(root, tree, environ)
        fill_lfs(root, tree, address, environ, home, offline=offline)
        fill_submodules(root, address, home, offline=offline)
        shown = f"{address.url} at {source.version or source.commit}"
        directory = directory_within(root, source.subdirectory, shown)
        return Checkout(source=source, root=root, directory=directory, temporary=True)


@contextmanager
def new_checkout_directory(home: Home, name: str) -> Iterator[Path]:
    """An empty directory called `name`, ours until `remove`; it goes at once when the body fails."""
    home.mark_cache()
    place = file_locks.new_directory_name(home.checkouts)
    file_locks.claim_directory(place)
    try:
        root = place / name
        root.mkdir(parents=True)
        yield root
    except BaseException:
        file_locks.release_directory(place)
        raise


def remove(checkout: Checkout, home: Home) -> None:
    """Remove a temporary checkout of this process. Calling it twice does no harm."""
    place = checkout.root.parent
    if checkout.temporary and place.parent == home.checkouts:
        file_locks.release_directory(place)


def keep(checkout: Checkout, home: Home) -> None:
    """Let a temporary checkout stay until the cache is pruned."""
    place = checkout.root.parent
    if checkout.temporary and place.parent == home.checkouts:
        file_locks.keep_directory(place)
