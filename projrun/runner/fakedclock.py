"""A clock that is a month late for the programs of a run, by libfaketime."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from projrun.runner.handover import HAND_OVER

MONTH_S = 33.3 * 86400
UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365 * 86400}

# A real monotonic clock is needed: with a faked one, Event.wait(0.1) and its like wait for a month. Then,
# however, libfaketime 0.9.10 breaks the call that time.sleep makes since Python 3.11: "Invalid argument".
SITECUSTOMIZE = (
    '''
import sys

if sys.version_info >= (3, 11):
    import select
    import time

    def sleep(seconds):
        """Wait by a call that libfaketime leaves alone."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        select.select((), (), (), seconds)

    sleep.__module__ = "time"
    time.sleep = sleep
'''
    + HAND_OVER
)


def library() -> Path | None:
    """Return the path of libfaketime, or None where it is not installed."""
    return next(chain.from_iterable(Path(root).glob("**/libfaketime.so.1") for root in _roots()), None)


def _roots() -> Iterator[str]:
    for root in ("/usr/lib", "/usr/lib64", "/usr/local/lib"):
        yield f"{root}/faketime"
        yield from map(str, Path(root).glob("*-linux-*/faketime"))


def month_later(environ: Mapping[str, str]) -> str | None:
    """Return the FAKETIME that is a month after the one of `environ`; None where that is no offset."""
    offset = re.fullmatch(r"([+-]\d+(?:\.\d+)?)([smhdy]?)", environ.get("FAKETIME") or "+0")
    return f"{float(offset[1]) * UNITS_S[offset[2]] + MONTH_S:+.0f}" if offset else None


def variables(library: Path, faketime: str, site: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a program needs in its environment. `site`: a directory of our own, for Python."""
    (site / "sitecustomize.py").write_text(SITECUSTOMIZE)
    preloaded = environ.get("LD_PRELOAD", "")
    if "libfaketime" not in preloaded:  # loaded twice, it adds its offset twice
        preloaded = " ".join(filter(None, (str(library), preloaded)))
    return {
        "LD_PRELOAD": preloaded,
        "FAKETIME": faketime,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(site), environ.get("PYTHONPATH")))),
    }
