"""Numbers and switches that variables of the environment set: read in one way, refused in the same words."""

from __future__ import annotations

import math
import os

from projrun.errors import ProjrunError

OFF = frozenset({"", "0", "false", "no", "off", "never"})


def number(variable: str, default: float, *, of: str = "seconds") -> float:
    """What the variable says, 0 or more; `default` where it is not set or empty. of: the unit, for people."""
    text = os.environ.get(variable, "").strip()
    try:
        value = float(text or default)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise _refused(variable, f"a number of {of}, 0 or more", default)
    return value


def whole_number(variable: str, default: int) -> int:
    """The same for what is counted."""
    text = os.environ.get(variable, "").strip()
    if text and not (text.isascii() and text.isdecimal()):
        raise _refused(variable, "a whole number, 0 or more", default)
    return int(text or default)


def is_on(text: str) -> bool:
    """Whether a switch of that value is on: all is, but nothing and the usual words for no."""
    return text.strip().lower() not in OFF


def _refused(variable: str, expected: str, default: float) -> ProjrunError:
    return ProjrunError(
        f"{variable}={os.environ[variable]} is not {expected}", f"give one such as {default:.0f}, or unset it"
    )
