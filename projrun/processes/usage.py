"""The clock of runs, and the resources that a process used."""

from __future__ import annotations

import time

import msgspec


def now_ms() -> int:
    """Return milliseconds since the epoch, the unit of every time in a run."""
    return time.time_ns() // 1_000_000


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Resources of a process and its descendants that were waited for; of all of them in a control group."""

    wall_s: float  # by the monotonic clock
    cpu_s: float  # user plus system time
    # Peak resident memory of the largest of these processes. It is never below that of projrun's own process,
    # from which the child was forked
    peak_memory_bytes: int
    # Peak of all processes together, page cache included; None where the kernel does not count it
    peak_memory_together_bytes: int | None = None
