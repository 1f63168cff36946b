"""projrun run"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from projrun.cli.options import grouped
from projrun.cli.run_options import GROUPS
from projrun.cli.verb import Verb, verbosity_options

if TYPE_CHECKING:
    from projrun.project.mlproject import EntryPoint

_ARGUMENTS = "projrun.arguments"
_SUBJECTS = {option.name: group.subject for group in GROUPS for option in group.options}


class _Run(Verb):
    """Its help goes on with the parameters of the entry point that the command line names."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.meta[_ARGUMENTS] = list(args)
        return super().parse_args(context, args)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        _write_options(context, formatter)
        arguments = context.meta.get(_ARGUMENTS, [])
        given = self.make_context("run", list(arguments), resilient_parsing=True).params
        if given["uri"]:
            _write_parameters(formatter, given)


def _write_options(context: click.Context, formatter: click.HelpFormatter) -> None:
    """By subject, as they are declared."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for parameter in context.command.get_params(context):
        if isinstance(parameter, click.Argument):
            continue  # its name alone says nothing that the first lines do not
        if record := parameter.get_help_record(context):
            sections.setdefault(_SUBJECTS.get(parameter.name or "", "Other options"), []).append(record)
    sections["Other options"] = sections.pop("Other options")
    for subject, records in sections.items():
        with formatter.section(subject):
            formatter.write_dl(records)


def _write_parameters(formatter: click.HelpFormatter, given: dict[str, Any]) -> None:
    from projrun.console import one_line, warn
    from projrun.errors import ProjrunError
    from projrun.project.parameters import summary

    try:
        entry_point = _entry_point(given)
    except ProjrunError as error:
        warn(f"the project's parameters cannot be shown: {error}")
        return
    rows = [(one_line(name), summary(parameter)) for name, parameter in entry_point.parameters.items()]
    with formatter.section(f"Parameters of entry point '{one_line(entry_point.name)}' (-P NAME=VALUE)"):
        formatter.write_dl(rows) if rows else formatter.write_text("It declares none.")


def _entry_point(given: dict[str, Any]) -> EntryPoint:
    from projrun.disk import home_from
    from projrun.project import read_project
    from projrun.sources import fetched

    with fetched(given["uri"], given["version"], home_from(), offline=given["offline"]) as checkout:
        return read_project(checkout.directory).entry_point(given["entry_point"])


def complete_uri(context: click.Context, parameter: click.Parameter, incomplete: str) -> Any:
    from projrun.cli.completion import directories

    return directories(incomplete)


@click.command(cls=_Run)
@click.argument("uri", shell_complete=complete_uri)
@grouped(*GROUPS)
@verbosity_options
def run(**arguments: Any) -> int:
    """Run the project at URI: a directory, a Git URL or an archive.

    Each may be followed by #subdirectory; archives are zip and tar, on this machine or behind http(s).

    The project's environment is built if need be, the entry point's command runs in it, and the run is
    recorded with its parameters, commit, environment, output and exit code. projrun exits with the command's
    own exit code; 125 means that the command could not be run.

    `projrun run URI -e NAME --help` shows the parameters of that entry point too.
    """
    from projrun.cli import run_request

    return run_request.run(**arguments)
