"""projrun verify --times, --vary: the run is done again more than once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def vary_options(command: Callable[..., Any]) -> Callable[..., Any]:
    times = click.option(
        "--times", type=click.IntRange(1), default=1, show_default=True, help="Do the run again so often."
    )
    vary = click.option(
        "--vary",
        metavar="KIND[,KIND…]|all",
        default="",
        help="Do it again once more for each thing that may not matter, with that thing changed: hash-seed, "
        "time-zone, locale, clock, threads, directory, home, user, file-order, umask, network.",
    )
    return times(vary(command))


def kinds_to_vary(vary: str, times: int, baseline: str) -> tuple[str, ...]:
    """Raises UsageError."""
    from projrun.runner.changes import kinds_of

    if baseline and (vary or times > 1):
        raise click.UsageError("--vary and --times do a recorded run again: they do not go with --baseline.")
    return kinds_of(vary) if vary else ()
