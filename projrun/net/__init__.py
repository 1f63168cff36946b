"""Whether the network may be asked: PROJRUN_OFFLINE and --offline forbid it to all that projrun does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

VARIABLE = "PROJRUN_OFFLINE"

_forbidden = 0


def is_offline(environ: Mapping[str, str] = os.environ) -> bool:
    """What the user said, for this process or for the work at hand."""
    return bool(_forbidden) or environ.get(VARIABLE, "").lower() in ("1", "true", "yes", "on")


@contextmanager
def offline(wanted: bool) -> Iterator[None]:
    """While the block runs the network is not asked, if that is wanted."""
    global _forbidden
    _forbidden += wanted
    try:
        yield
    finally:
        _forbidden -= wanted
