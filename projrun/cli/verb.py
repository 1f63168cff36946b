"""What every verb has: help like a page of a manual; and how much projrun says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from projrun.console import is_quiet, is_verbose, set_verbosity

F = TypeVar("F", bound=Callable[..., Any])

HELP_WIDTH = 100
"""Longer lines are hard to read, however wide the terminal is."""


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
        callback=_set,
        help="Say also which commands are started, what is taken from the cache, and why; with times.",
    )
    quiet = click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_set,
        help="Say nothing but errors. What goes to stdout is the same.",
    )
    return quiet(verbose(function))


def _set(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    quiet = parameter.name == "quiet"
    if is_verbose() if quiet else is_quiet():
        raise click.UsageError("--quiet and --verbose exclude each other; leave one of them out.")
    set_verbosity("quiet" if quiet else "verbose")
