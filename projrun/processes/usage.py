"""What time it is, and what a process took."""

from __future__ import annotations

import time

import msgspec


def now_ms() -> int:
    """Milliseconds since the epoch, as runs and all that belongs to them are dated."""
    return time.time_ns() // 1_000_000


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Of a process, with all its descendants that were waited for; in a control group, with all of them."""

    wall_s: float
    """By a clock that nobody sets."""
    cpu_s: float
    """User and system time."""
    peak_memory_bytes: int
    """Resident memory of the largest of these processes at its peak, at least that of projrun's own."""
    peak_memory_together_bytes: int | None = None
    """Of all at one time, with the files that the kernel kept in memory for them; where Linux counts it."""
