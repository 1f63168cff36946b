"""Directories that belong to one run: `ROOM/ID` is the directory, `ROOM/ID.lock` is held while the run lives.

A directory whose lock is free has lost its run, however that died, and goes when the next one is claimed.
"""

from __future__ import annotations

import os
from pathlib import Path

from projrun import files
from projrun.locking import FileLock, locked

KEPT = ".kept"

_held: dict[Path, FileLock] = {}


def name_in(room: Path) -> Path:
    """A name in `room` that nobody else has."""
    return room / os.urandom(16).hex()


def claim(place: Path) -> None:
    """Make the directory; it is this process's own until `release`."""
    room = place.parent
    room.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep(room)
    lock = FileLock(room / f"{place.name}.lock")
    try:
        with locked(room / "gate", shared=True):
            lock.acquire(shared=True)
        _held[place] = lock
        place.mkdir(mode=0o700)
    except BaseException:
        _drop(place, lock)
        raise


def release(place: Path) -> None:
    """Remove the directory; once more, or of what this process did not claim, is fine."""
    if lock := _held.get(place):
        _drop(place, lock)


def keep(place: Path) -> None:
    """Let the directory stay when its run ends: `ID.kept` takes the place of its lock."""
    if lock := _held.pop(place, None):
        place.with_suffix(KEPT).touch()
        lock.path.unlink(missing_ok=True)
        lock.release()


def sweep(room: Path) -> None:
    """Remove what lost runs left. Whoever holds the gate claims nothing meanwhile."""
    stale = [Path(entry.path) for entry in os.scandir(room) if entry.name.endswith(".lock")]
    gate = FileLock(room / "gate")
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
        place.with_suffix(KEPT).unlink(missing_ok=True)
        lock.path.unlink(missing_ok=True)
    except OSError:
        pass  # something is still writing there: the next sweep removes it
    finally:
        _held.pop(place, None)
        lock.release()
