"""The output of a run, also while it goes on and another process writes it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from projrun.errors import TrackingError
from projrun.record import ENVIRONMENT_LOG_ARTIFACT, OUTPUT_ARTIFACT, OUTPUT_INDEX_ARTIFACT
from projrun.tracking import Store
from projrun.tracking.entities import TERMINATED

CHUNK = 1 << 16
LOCAL_PAUSE_S = 0.1
REMOTE_PAUSE_S = 2.0


def read_output(store: Store, run_id: str) -> Iterator[bytes]:
    """Yield the run's output so far, or the log of its environment if the command never started."""
    for artifact in (OUTPUT_ARTIFACT, ENVIRONMENT_LOG_ARTIFACT):
        try:
            with store.open_artifact(run_id, artifact) as log:
                yield from iter(lambda log=log: log.read(CHUNK), b"")  # type: ignore[misc]
            return
        except TrackingError as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise


def follow_output(store: Store, run_id: str, settle: Callable[[], None]) -> Iterator[bytes]:
    """Yield the run's output to its end, as it comes.

    settle: called between two reads; it ends a run whose supervisor is gone, which else would run for ever.
    """
    pause_s = REMOTE_PAUSE_S if store.uri.startswith("http") else LOCAL_PAUSE_S
    position = 0
    while True:
        ended = store.get_run(run_id).status in TERMINATED
        for chunk in _read_from(store, run_id, position):
            position += len(chunk)
            yield chunk
        if ended:
            break
        time.sleep(pause_s)
        settle()
    if not position:
        yield from read_output(store, run_id)


def _read_from(store: Store, run_id: str, position: int) -> Iterator[bytes]:
    """Yield the output after its first `position` bytes; nothing while there is none."""
    try:
        with store.open_artifact(run_id, OUTPUT_ARTIFACT) as log:
            _skip(log, position)
            while chunk := log.read(CHUNK):
                yield chunk
    except TrackingError as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def _skip(log: BinaryIO, count: int) -> None:
    if log.seekable():
        log.seek(count, os.SEEK_CUR)
        return
    while count > 0 and (read := log.read(min(count, CHUNK))):
        count -= len(read)


def read_stream(store: Store, run_id: str, stream: str) -> Iterator[bytes]:
    """Yield the run's output to `out` or `err` so far, by the index of its log."""
    try:
        with (
            store.open_artifact(run_id, OUTPUT_INDEX_ARTIFACT) as index,
            store.open_artifact(run_id, OUTPUT_ARTIFACT) as log,
        ):
            position = 0
            for line in index:
                name, offset, length, _ = line.split()
                _skip(log, int(offset) - position)
                position = int(offset)
                if name.decode() == stream:
                    left = int(length)
                    while left > 0 and (chunk := log.read(min(left, CHUNK))):
                        left -= len(chunk)
                        yield chunk
                    position += int(length)
    except (TrackingError, ValueError) as error:
        raise TrackingError(
            f"the streams of run {run_id} cannot be told apart", "leave --stream out"
        ) from error
