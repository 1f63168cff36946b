"""Locks between processes, on files: released by the kernel when their holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from projrun.disk import file_operations
from projrun.errors import ProjrunError

TIMEOUT_VARIABLE = "PROJRUN_LOCK_TIMEOUT"
DEFAULT_TIMEOUT_S = 3600.0


class FileLock:
    """An flock on a file that stays where it is (removing it would let two holders in)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    @classmethod
    def inherited(cls, path: Path, fd: int) -> FileLock:
        """The lock that the process that started us held on `fd`; nothing that we start inherits it."""
        os.set_inheritable(fd, False)
        lock = cls(path)
        lock._fd = fd
        return lock

    @property
    def is_held(self) -> bool:
        return self._fd is not None

    @property
    def fd(self) -> int:
        assert self._fd is not None, "the lock is not held"
        return self._fd

    def try_acquire(self, *, shared: bool = False) -> bool:
        if self._fd is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def acquire(self, *, shared: bool = False, waiting: Callable[[], None] | None = None) -> None:
        """Wait until the lock is ours. `waiting` is called once if somebody else holds it."""
        if self.try_acquire(shared=shared):
            return
        from projrun.documents.variables import number

        timeout_s = number(TIMEOUT_VARIABLE, DEFAULT_TIMEOUT_S)
        deadline = time.monotonic() + timeout_s
        pause_s = 0.002
        while not self.try_acquire(shared=shared):
            if waiting is not None:
                waiting()
                waiting = None
            if time.monotonic() > deadline:
                self.release()
                raise ProjrunError(
                    f"waited {timeout_s:g} s for {self.path}, which another process holds",
                    f"look for a hanging projrun, or set {TIMEOUT_VARIABLE} to wait longer",
                )
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.2)

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@contextmanager
def hold_lock(
    path: Path, *, shared: bool = False, waiting: Callable[[], None] | None = None
) -> Iterator[FileLock]:
    lock = FileLock(path)
    lock.acquire(shared=shared, waiting=waiting)
    try:
        yield lock
    finally:
        lock.release()


KEPT = ".kept"

_held: dict[Path, FileLock] = {}


def new_directory_name(room: Path) -> Path:
    """A name in `room` that nobody else has."""
    return room / os.urandom(16).hex()


def claim_directory(place: Path) -> None:
    """Make the directory; it is this process's own until `release_directory`."""
    room = place.parent
    room.mkdir(mode=0o700, parents=True, exist_ok=True)
    remove_stale(room)
    lock = FileLock(room / f"{place.name}.lock")
    try:
        with hold_lock(room / "gate", shared=True):
            lock.acquire(shared=True)
        _held[place] = lock
        place.mkdir(mode=0o700)
    except BaseException:
        _drop(place, lock)
        raise


def release_directory(place: Path) -> None:
    """Remove the directory; once more, or of what this process did not claim, is fine."""
    if lock := _held.get(place):
        _drop(place, lock)


def keep_directory(place: Path) -> None:
    """Let the directory stay when its run ends: `ID.kept` takes the place of its lock."""
    if lock := _held.pop(place, None):
        place.with_suffix(KEPT).touch()
        lock.path.unlink(missing_ok=True)
        lock.release()


def remove_stale(room: Path) -> None:
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
        file_operations.remove_tree(place)
        place.with_suffix(KEPT).unlink(missing_ok=True)
        lock.path.unlink(missing_ok=True)
    except OSError:
        pass  # something is still writing there: the next sweep removes it
    finally:
        _held.pop(place, None)
        lock.release()
