"""Supervisors of runs: a file for each, locked by it for as long as it lives.

The kernel drops the lock when the supervisor dies, however it dies; whoever meets an unlocked file
settles its run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from projrun import tracking
from projrun.disk import Home
from projrun.disk.file_locks import FileLock
from projrun.errors import TrackingError
from projrun.processes import handles_termination
from projrun.processes.cgroups import own_cgroup_directory, remove_abandoned
from projrun.record import Outcome
from projrun.tracking import Store
from projrun.tracking.entities import HANDLE_TAG, PARENT_RUN_ID_TAG, SUPERVISOR_TAG, TERMINATED
from projrun.tracking.recorder import end_after, end_with_parent, killed, settle

# Removes what the job of a run left, by the run's id and its handle: `backends.reclaim_stored`
Reclaim = Callable[[str, str], None]
LIBRARY = -1
ENDPOINT = "http://127.0.0.1:"
LOST = "the projrun process that supervised it is gone"


class Supervision(msgspec.Struct, frozen=True):
    """One supervisor's file, locked by us until we release the lock or hand it over."""

    name: str  # value of the tag `projrun.supervisor` of its runs
    path: Path
    lock: FileLock

    def announce(self, store: Store, pid: int) -> None:
        """Write down who ends the runs when asked to. 0: the process that takes over will say so."""
        self.path.write_text(_content(store, pid))

    def end(self) -> None:
        self.path.unlink(missing_ok=True)
        self.lock.release()


def enlist(home: Home, store: Store, pid: int) -> Supervision:
    """Return a new supervisor's file. pid: see `Supervision.announce`."""
    home.supervisors.mkdir(parents=True, exist_ok=True)
    name = os.urandom(16).hex()
    temporary, path = home.supervisors / f"{name}.tmp", home.supervisors / name
    lock = FileLock(temporary)
    try:
        lock.acquire()
        temporary.write_text(_content(store, pid))
        temporary.rename(path)  # it appears locked
    except BaseException:
        temporary.unlink(missing_ok=True)
        lock.release()
        raise
    return Supervision(name, path, lock)


def take_over(home: Home, store: Store, name: str, fd: int) -> Supervision:
    """Be the supervisor that another process has enlisted, whose lock we inherited as `fd`."""
    path = home.supervisors / name
    supervision = Supervision(name, path, FileLock.inherited(path, fd))
    supervision.announce(store, _own_pid())
    return supervision


@contextmanager
def supervising(home: Home, store: Store, handed: str = "") -> Iterator[Supervision]:
    """While the block runs, this process supervises the runs with the value given as `projrun.supervisor`.

    The file is there before its first run is, so a run is never without one. A run that the block leaves
    unfinished, because an exception ended it, is settled, unless the block has handed the lock over.
    handed: `NAME:FD` of a supervisor to be.
    """
    name, _, fd = handed.partition(":")
    supervision = take_over(home, store, name, int(fd)) if handed else enlist(home, store, _own_pid())
    try:
        yield supervision
    except BaseException as error:
        if supervision.lock.is_held:
            try:
                _settle(
                    supervision.name, store, interrupt=error if isinstance(error, KeyboardInterrupt) else None
                )
            except TrackingError:  # where the store cannot be written now, the file stays for later
                supervision.lock.release()
        raise
    finally:
        if supervision.lock.is_held:
            supervision.end()


def supervisor_pid(home: Home, name: str) -> int | None:
    """Return the pid that ends the runs of this supervisor when it gets SIGTERM.

    None: it is gone, or on another machine. 0: nobody yet. LIBRARY: a program that is not ours to end.
    """
    path = home.supervisors / name
    lock = FileLock(path)
    try:
        if not path.exists() or lock.try_acquire(shared=True):
            return None
        return int(path.read_text().split("\n")[1] or 0)
    except (OSError, IndexError, ValueError):
        return 0  # it is being written
    finally:
        lock.release()


def _own_pid() -> int:
    """A program that uses projrun as a library is not to be ended with a run: it has no number here."""
    return os.getpid() if handles_termination() else LIBRARY


def _content(store: Store, pid: int) -> str:
    """Its store, its number, and where its runs have their control groups."""
    return f"{store.uri}\n{pid}\n{own_cgroup_directory() or ''}\n"


def settled_store(home: Home, reclaim: Reclaim) -> Store:
    """The store that the environment names, in which no run is without a living supervisor."""
    store = tracking.open_store(home, os.environ.get("MLFLOW_TRACKING_URI", ""))
    settle_lost_runs(home, store, reclaim)
    return store


def settle_lost_runs(home: Home, store: Store, reclaim: Reclaim) -> None:
    """Mark the runs of this store whose supervisor died as FAILED, and remove what their jobs left."""
    try:
        names = os.listdir(home.supervisors)
    except OSError:
        return
    for name in names:
        if not name.endswith(".tmp"):
            _settle_if_lost(home.supervisors / name, store, reclaim)


def _settle_if_lost(path: Path, store: Store, reclaim: Reclaim) -> None:
    lock = FileLock(path)
    try:
        if path.exists() and lock.try_acquire():
            of_store, _, groups, *_ = f"{path.read_text()}\n\n".split("\n")
            if groups:
                remove_abandoned(Path(groups))
            # A run inside a run knew our store by the address of an endpoint, which is no more.
            if of_store in (store.uri, "") or of_store.startswith(ENDPOINT):
                result = _settle(path.name, store, reclaim=reclaim)
                if result or of_store in (store.uri, ""):
                    path.unlink(missing_ok=True)
    except (OSError, TrackingError):
        return
    finally:
        lock.release()


def _settle(
    supervisor: str,
    store: Store,
    *,
    interrupt: KeyboardInterrupt | None = None,
    reclaim: Reclaim | None = None,
) -> bool:
    """Settle a supervisor's runs that have not ended; return True if the store has any run of it.

    interrupt: what ended it, if we know. reclaim: None where its jobs have been reclaimed.
    """
    runs, _ = store.search_runs([], f"tags.`{SUPERVISOR_TAG}` = '{supervisor}'", run_view_type="ALL")
    for run in runs:
        if run.status not in TERMINATED:
            if reclaim and (handle := run.tags.get(HANDLE_TAG)):
                reclaim(run.run_id, handle)
            lost = Outcome(
                status="FAILED", reason=LOST, start_time=run.start_time, end_time=end_after(run.start_time)
            )
            settle(store, run.run_id, killed(interrupt, run.start_time) if interrupt else lost)
            made_in_it = f"tags.`{PARENT_RUN_ID_TAG}` = '{run.run_id}'"
            for child in store.search_runs([], made_in_it, run_view_type="ALL")[0]:
                end_with_parent(store, child)
    return bool(runs)
