"""Locks between processes: flocks, which the kernel drops when a process dies, however it dies.

They also guard directories that belong to one process (checkouts, downloads): `ID.lock` beside a directory is
held while it is used, and `gate` is held shared while one is claimed, so that a sweep meets no half-claimed
one.
"""

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
    """An flock on a file that is not removed, because removing it would let two processes hold the lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    @classmethod
    def inherited(cls, path: Path, fd: int) -> FileLock:
        """Return the lock that we inherited as `fd`; processes that we start do not inherit it.

        An flock belongs to the open file, which a child shares: the lock is held without a gap.
        """
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
        """Acquire the lock, waiting for it if necessary. waiting: called once if another process holds it."""
        if self.try_acquire(shared=shared):
            return
        from projrun.documents.variables import read_number

        timeout_s = read_number(TIMEOUT_VARIABLE, DEFAULT_TIMEOUT_S)
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


def new_directory_name(parent: Path) -> Path:
    """Return a path in `parent` that no other process uses."""
    return parent / os.urandom(16).hex()


def claim_directory(directory: Path) -> None:
    """Make the directory, which belongs to this process until `release_directory`."""
    parent = directory.parent
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    remove_stale(parent)
    lock = FileLock(parent / f"{directory.name}.lock")
    try:
        with hold_lock(parent / "gate", shared=True):
            lock.acquire(shared=True)
        _held[directory] = lock
        directory.mkdir(mode=0o700)
    except BaseException:
        _drop(directory, lock)
        raise


def release_directory(directory: Path) -> None:
    """Remove the directory; does nothing if this process has not claimed it or has removed it already."""
    if lock := _held.get(directory):
        _drop(directory, lock)


def lock_of_directory(directory: Path) -> FileLock | None:
    """Return the lock of a directory that this process has claimed, which a child may inherit."""
    return _held.get(directory)


def take_over_directory(directory: Path, fd: int) -> None:
    """Have a directory that another process claimed, whose lock we inherited as `fd`, be ours."""
    _held[directory] = FileLock.inherited(directory.parent / f"{directory.name}.lock", fd)


def leave_directory(directory: Path) -> None:
    """Forget a directory that a child has taken over with its lock; nothing is removed."""
    if lock := _held.pop(directory, None):
        lock.release()


def keep_directory(directory: Path) -> None:
    """Keep the directory when its run ends: `ID.kept` takes the place of its lock."""
    if lock := _held.pop(directory, None):
        directory.with_suffix(KEPT).touch()
        lock.path.unlink(missing_ok=True)
        lock.release()


def remove_stale(parent: Path) -> None:
    """Remove the directories of processes that are gone. The gate keeps others from claiming meanwhile."""
    stale = [Path(entry.path) for entry in os.scandir(parent) if entry.name.endswith(".lock")]
    gate = FileLock(parent / "gate")
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


def _drop(directory: Path, lock: FileLock) -> None:
    try:
        file_operations.remove_tree(directory)
        directory.with_suffix(KEPT).unlink(missing_ok=True)
        lock.path.unlink(missing_ok=True)
    except OSError:
        pass  # a process is still writing there; the next sweep removes it
    finally:
        _held.pop(directory, None)
        lock.release()
