"""projrun run"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from projrun.cli.completion import complete_entry_point, complete_parameter
from projrun.cli.run_options import GROUPS
from projrun.cli.verbs import F, Verb, add_option, complete_uri, verbosity_options

if TYPE_CHECKING:
    from projrun.project.mlproject import EntryPoint

_ARGUMENTS = "projrun.arguments"
_COMPLETIONS = {"entry_point": complete_entry_point, "param_list": complete_parameter}
_SUBJECTS = {option.name: group.subject for group in GROUPS for option in group.options}


def _add_run_options(function: F) -> F:
    """Add the options of all groups; the help shows them in the order of their declaration."""
    for group in reversed(GROUPS):
        for option in reversed(group.options):
            function = add_option(option, shell_complete=_COMPLETIONS.get(option.name))(function)
    return function


class _Run(Verb):
    """The help shows also the parameters of the entry point that the command line names."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.meta[_ARGUMENTS] = list(args)
        return super().parse_args(context, args)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        _write_options(context, formatter)
        arguments = context.meta.get(_ARGUMENTS, [])
        values = self.make_context("run", list(arguments), resilient_parsing=True).params
        if values["uri"]:
            _write_parameters(formatter, values)


def _write_options(context: click.Context, formatter: click.HelpFormatter) -> None:
    """Write the options below the heading of their subject, in the order of their declaration."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for parameter in context.command.get_params(context):
        if isinstance(parameter, click.Argument):
            continue  # the first lines of the help explain it
        if record := parameter.get_help_record(context):
            sections.setdefault(_SUBJECTS.get(parameter.name or "", "Other options"), []).append(record)
    sections["Other options"] = sections.pop("Other options")
    for subject, records in sections.items():
        with formatter.section(subject):
            formatter.write_dl(records)


def _write_parameters(formatter: click.HelpFormatter, values: dict[str, Any]) -> None:
    from projrun.console import one_line, warn
    from projrun.errors import ProjrunError
    from projrun.project.parameters import describe_parameter

    try:
        entry_point = _read_entry_point(values)
    except ProjrunError as error:
        warn(f"the project's parameters cannot be shown: {error}")
        return
    rows = [
        (one_line(name), describe_parameter(parameter)) for name, parameter in entry_point.parameters.items()
    ]
    with formatter.section(f"Parameters of entry point '{one_line(entry_point.name)}' (-P NAME=VALUE)"):
        formatter.write_dl(rows) if rows else formatter.write_text("It declares none.")


def _read_entry_point(values: dict[str, Any]) -> EntryPoint:
    from projrun.disk import home_from
    from projrun.project import read_project
    from projrun.sources import fetched

    with fetched(values["uri"], values["version"], home_from(), offline=values["offline"]) as checkout:
        return read_project(checkout.directory).entry_point(values["entry_point"])


@click.command(cls=_Run)
@click.argument("uri", shell_complete=complete_uri)
@_add_run_options
@verbosity_options
def run(**arguments: Any) -> int:
    """Run the project at URI: a directory, a Git URL or an archive.

    Each may be followed by #subdirectory. Archives are zip and tar files, on this machine or behind http(s).

    projrun builds the project's environment if it is missing, runs the entry point's command in it, and
    records parameters, commit, environment, output and exit code. It exits with the command's own exit code;
    125 means that the command could not be run.

    `projrun run URI -e NAME --help` also shows the parameters of that entry point.
    """
    from projrun.cli import run_request

    return run_request.run(**arguments)
