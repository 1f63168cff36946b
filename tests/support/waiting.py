"""Waiting for something to become true, for as long as a machine under load may take."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60.0


def eventually(true: Callable[[], object], within_s: float = PATIENCE_S) -> bool:
    """Return whether it became true in time."""
    end = time.monotonic() + within_s
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
