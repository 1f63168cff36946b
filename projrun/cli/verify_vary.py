"""projrun verify --times, --vary: the run is done again more than once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from projrun.compare.trials import Trials
    from projrun.home import Home
    from projrun.plan import VerifyRules
    from projrun.runner.finding import Found


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


def tried(
    first: Found, rules: VerifyRules, vary: str, times: int, home: Home, stack: ExitStack
) -> Trials | None:
    """None where a single repetition is all that is asked for."""
    from projrun.runner.changes import kinds_of
    from projrun.runner.varying import vary as trials_of

    kinds = kinds_of(vary)
    return trials_of(first, rules, kinds, times, home, stack) if kinds or times > 1 else None
