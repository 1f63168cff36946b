"""A backend whose jobs wait in a queue until a file says that it is their turn; then they run here."""

from __future__ import annotations

import time
from pathlib import Path

from projrun.backends import (
    Handle,
    JobState,
    Phase,
    Prepared,
    accept_any,
    local,
    log_of,
    loopback,
    no_warm_up,
)

QUEUES = True
check = accept_any
warm_up = no_warm_up
endpoint_address = loopback
prepare = local.prepare
logs = log_of

_queued: dict[str, Prepared] = {}


def turn_of(prepared: Prepared) -> Path:
    """Return the file that ends the waiting of a job."""
    return prepared.job.checkout.directory / "turn"


def start(prepared: Prepared) -> Handle:
    _queued[prepared.handle.id] = prepared
    return prepared.handle


def poll(handle: Handle) -> JobState:
    prepared = _queued.get(handle.id)
    if prepared is not None:
        if not turn_of(prepared).exists():
            return JobState("queued")
        local.start(_queued.pop(handle.id))
    return local.poll(handle)


def wait(handle: Handle, phase: Phase, timeout_s: float | None = None) -> JobState:
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while (state := poll(handle)).phase not in (phase, "ended"):
        if deadline is not None and time.monotonic() >= deadline:
            break
        time.sleep(0.01)
    return state


def cancel(handle: Handle, signal: int) -> JobState:
    if _queued.pop(handle.id, None) is not None:
        return JobState("ended", 128 + signal)
    return local.cancel(handle, signal)


def reclaim(handle: Handle) -> None:
    _queued.pop(handle.id, None)
    local.reclaim(handle)
