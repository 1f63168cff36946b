"""Locks between processes, on files: released by the kernel when their holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
        from projrun.settings import number

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
def locked(
    path: Path, *, shared: bool = False, waiting: Callable[[], None] | None = None
) -> Iterator[FileLock]:
    lock = FileLock(path)
    lock.acquire(shared=shared, waiting=waiting)
    try:
        yield lock
    finally:
        lock.release()
