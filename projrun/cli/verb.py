"""The base classes of all verbs, and the options that say how much projrun tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from projrun.console import is_quiet, is_verbose, set_verbosity

F = TypeVar("F", bound=Callable[..., Any])

HELP_WIDTH = 100  # longer lines are hard to read, however wide the terminal is


class Verb(click.Command):
    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        from projrun.cli.help_pages import write_page

        write_page(self.name or "", formatter)


class VerbGroup(click.Group):
    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        from projrun.cli.help_pages import write_page

        write_page(self.name or "", formatter)


def verbosity_options(function: F) -> F:
    verbose = click.option(
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_set_verbosity,
        help="Also show which commands are started, and what is taken from the cache and why, with times.",
    )
    quiet = click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_set_verbosity,
        help="Show only errors on stderr; stdout stays the same.",
    )
    return quiet(verbose(function))


def _set_verbosity(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    quiet = parameter.name == "quiet"
    if is_verbose() if quiet else is_quiet():
        raise click.UsageError("--quiet and --verbose exclude each other; leave one of them out.")
    set_verbosity("quiet" if quiet else "verbose")
