"""Who looks after a run: a file per running supervisor, locked by it for as long as it lives.

The kernel drops the lock when the supervisor dies, however it dies; whoever meets an unlocked file
settles its run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from projrun import tracking
from projrun.errors import TrackingError
from projrun.home import Home
from projrun.locking import FileLock
from projrun.tracking import Store
from projrun.tracking.entities import TERMINATED
from projrun.tracking.tags import REASON, SUPERVISOR

LOST = "the projrun process that supervised it is gone"


@contextmanager
def supervising(home: Home, store: Store) -> Iterator[str]:
    """While the block runs, this process supervises the runs whose tag SUPERVISOR is the value given.

    The file is there before its first run is, so a run is never without one. A run that the block leaves
    unfinished, because an exception ended it, is settled.
    """
    home.supervisors.mkdir(parents=True, exist_ok=True)
    name = os.urandom(16).hex()
    temporary, place = home.supervisors / f"{name}.tmp", home.supervisors / name
    lock = FileLock(temporary)
    lock.acquire()
    try:
        temporary.write_text(store.uri)
        temporary.rename(place)  # it appears locked
        try:
            yield name
        except BaseException:
            with suppress(TrackingError):  # where the store cannot be written now, the file stays for later
                _settle(name, store)
                place.unlink(missing_ok=True)
            raise
        place.unlink(missing_ok=True)
    finally:
        temporary.unlink(missing_ok=True)
        lock.release()


def settled_store(home: Home) -> Store:
    """The store that the environment names, in which no run is without a living supervisor."""
    store = tracking.open_store(home, os.environ.get("MLFLOW_TRACKING_URI", ""))
    settle_lost_runs(home, store)
    return store


def settle_lost_runs(home: Home, store: Store) -> None:
    """Mark the runs of this store whose supervisor died as FAILED."""
    try:
        names = os.listdir(home.supervisors)
    except OSError:
        return
    for name in names:
        if not name.endswith(".tmp"):
            _settle_if_lost(home.supervisors / name, store)


def _settle_if_lost(place: Path, store: Store) -> None:
    lock = FileLock(place)
    try:
        if place.exists() and lock.try_acquire() and place.read_text() == store.uri:
            _settle(place.name, store)
            place.unlink(missing_ok=True)
    except (OSError, TrackingError):
        return
    finally:
        lock.release()


def _settle(supervisor: str, store: Store) -> None:
    lost, _ = store.search_runs([], f"tags.`{SUPERVISOR}` = '{supervisor}'", run_view_type="ALL")
    for run in lost:
        if run.status not in TERMINATED:
            if run.tags.get("mlflow.project.env") == "docker":
                from projrun import engine

                engine.remove_containers_of(run.run_id)
            store.log_batch(run.run_id, tags={REASON: LOST})
            store.update_run(run.run_id, status="FAILED", end_time=int(time.time() * 1000))
