"""Times, ages and sizes as options take them: `90`, `12h`, `30d`, `5GB`."""

from __future__ import annotations

import re

import click

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def time_s(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Return a time in seconds, as the callback of an option. A bare number means seconds."""
    return _converted(value, "s")


def age_s(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Return an age in seconds, as the callback of an option. A bare number means days."""
    return _converted(value, "d")


def _converted(value: str | None, unit: str) -> float | None:
    if not value:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", value.strip().lower())
    if match is None:
        raise click.BadParameter(f"{value!r} is not a time such as 90s, 5m, 12h, 30d or 4w.")
    return float(match[1]) * _SECONDS[match[2] or unit]


_UNITS = "KMGT"


def size(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Return a size in bytes, as the callback of an option. A bare number means bytes."""
    return _bytes(value, "")


def size_in_gb(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Return a size in bytes, as the callback of an option. A bare number means GB."""
    return _bytes(value, "G")


def _bytes(value: str | None, unit: str) -> int | None:
    if not value:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(I?)B?|(B?))", value.strip().upper())
    if match is None:
        raise click.BadParameter(f"{value!r} is not a size such as 500MB or 5GB.")
    written = match[2] or ("" if match[4] else unit)
    power = _UNITS.index(written) + 1 if written else 0
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)
