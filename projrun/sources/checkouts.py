"""Temporary checkouts: trees that belong to one run.

`checkouts-v1/ID/NAME` is the tree, `checkouts-v1/ID.lock` is held while its run lives. A tree whose lock
is free has lost its run and goes with the next checkout that is made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from projrun import files
from projrun.home import Home
from projrun.locking import FileLock, locked
from projrun.plan import Checkout, Source
from projrun.sources.giturl import Address
from projrun.sources.subdirectory import directory_within
from projrun.sources.submodules import fill_submodules
from projrun.sources.tree import Tree, fill

_held: dict[Path, FileLock] = {}


def check_out(
    source: Source, tree: Tree, address: Address, environ: Mapping[str, str], home: Home
) -> Checkout:
    """A checkout of `tree` and its submodules, whose URLs may start at `address`. All or nothing is made."""
    with _new_place(home, address.name) as root:
        fill(root, tree, environ)
        fill_submodules(root, address, home)
        shown = f"{address.url} at {source.version or source.commit}"
        directory = directory_within(root, source.subdirectory, shown)
        return Checkout(source=source, root=root, directory=directory, temporary=True)


@contextmanager
def _new_place(home: Home, name: str) -> Iterator[Path]:
    """An empty directory called `name`, ours until `remove`; it goes at once when the body fails."""
    home.mark_cache()
    home.checkouts.mkdir(mode=0o700, exist_ok=True)
    _sweep(home)
    place = home.checkouts / os.urandom(16).hex()
    lock = FileLock(place.with_suffix(".lock"))
    try:
        with locked(_gate(home), shared=True):
            lock.acquire(shared=True)
        _held[place] = lock
        root = place / name
        root.mkdir(parents=True)
        yield root
    except BaseException:
        _drop(place, lock)
        raise


def remove(checkout: Checkout, home: Home) -> None:
    """Remove a temporary checkout of this process; once more is fine."""
    place = checkout.root.parent
    lock = _held.get(place)
    if checkout.temporary and lock and place.parent == home.checkouts:
        _drop(place, lock)


def _sweep(home: Home) -> None:
    """Remove what lost runs left. Whoever holds the gate makes no checkout meanwhile."""
    stale = [Path(entry.path) for entry in os.scandir(home.checkouts) if entry.name.endswith(".lock")]
    gate = FileLock(_gate(home))
    if not stale or not gate.try_acquire():
        return
    try:
        for path in stale:
            lock = FileLock(path)
            if path.exists() and lock.try_acquire():
                _drop(path.with_suffix(""), lock)
            lock.release()
    finally:
        gate.release()


def _drop(place: Path, lock: FileLock) -> None:
    try:
        files.remove(place)
        lock.path.unlink(missing_ok=True)
    except OSError:
        pass  # something is still writing there: the next sweep removes it
    finally:
        _held.pop(place, None)
        lock.release()


def _gate(home: Home) -> Path:
    return home.checkouts / "gate"
