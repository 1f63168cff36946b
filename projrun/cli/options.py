"""Options that several verbs share, and the quantities that options take: `90`, `12h`, `30d`, `5GB`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from projrun.cli.run_options import OFFLINE, STRICT_PYTHON, Option, parse_time
from projrun.cli.verbs import F


def add_option(option: Option) -> Callable[[F], F]:
    return click.option(*option.names, **option.settings)


offline_option = add_option(OFFLINE)
strict_python_option = add_option(STRICT_PYTHON)


def complete_uri(context: click.Context, parameter: click.Parameter, incomplete: str) -> Any:
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="dir")]


project_argument = click.argument("uri", default=".", shell_complete=complete_uri)
version_option = click.option(
    "-v", "--version", default="", metavar="VERSION", help="Branch, tag or commit of the project."
)


def json_option(text: str) -> Callable[[F], F]:
    """Return the option `--json`, with the help `text`."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def csv_option(text: str = "Print CSV, a column per parameter, metric and tag.") -> Callable[[F], F]:
    return click.option("--csv", "as_csv", is_flag=True, help=text)


def age_s(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Return an age in seconds, as the callback of an option. A bare number means days."""
    return parse_time(value, "d")


_UNITS = "KMGT"


def size(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Return a size in bytes, as the callback of an option. A bare number means bytes."""
    return _parse_size(value, "")


def size_in_gb(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Return a size in bytes, as the callback of an option. A bare number means GB."""
    return _parse_size(value, "G")


def _parse_size(value: str | None, unit: str) -> int | None:
    if not value:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(I?)B?|(B?))", value.strip().upper())
    if match is None:
        raise click.BadParameter(f"{value!r} is not a size such as 500MB or 5GB.")
    written = match[2] or ("" if match[4] else unit)
    power = _UNITS.index(written) + 1 if written else 0
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)
