"""The output of a run on a remote server, kept up to date while the run goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from projrun.errors import TrackingError
from projrun.record import OUTPUT_ARTIFACT
from projrun.tracking import Store

FIRST_S = 5.0
LATEST_S = 300.0
GROWTH = 1.5
"""MLflow's API replaces files whole. Uploading again when so much has come keeps the sum at 3 logs."""


@contextmanager
def uploading(store: Store, run_id: str, log: Path) -> Iterator[None]:
    """While the block runs, what is in the log so far is the run's artifact. A local log is one already."""
    if not store.uri.startswith("http"):
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_keep_uploading, args=(store, run_id, log, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _keep_uploading(store: Store, run_id: str, log: Path, ended: threading.Event) -> None:
    uploaded = waited_s = 0.0
    while not ended.wait(FIRST_S):
        waited_s += FIRST_S
        size = log.stat().st_size if log.exists() else 0
        if size > uploaded * GROWTH or (waited_s >= LATEST_S and size > uploaded):
            with suppress(TrackingError):  # the end of the run uploads it all
                store.finish_file(run_id, OUTPUT_ARTIFACT)
            uploaded, waited_s = size, 0.0
