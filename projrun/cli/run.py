"""projrun run"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from projrun.cli.options import (
    SUBJECTS,
    container_options,
    entry_point_options,
    environment_options,
    execution_options,
    life_options,
    source_options,
    tracking_options,
)
from projrun.cli.verb import Verb, verbosity_options

if TYPE_CHECKING:
    from projrun.home import Home
    from projrun.project.mlproject import EntryPoint
    from projrun.record import Record
    from projrun.request import Request

_ARGUMENTS = "projrun.arguments"


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
            sections.setdefault(SUBJECTS.get(parameter.name or "", "Other options"), []).append(record)
    sections["Other options"] = sections.pop("Other options")
    for subject, records in sections.items():
        with formatter.section(subject):
            formatter.write_dl(records)


def _write_parameters(formatter: click.HelpFormatter, given: dict[str, Any]) -> None:
    from projrun.errors import ProjrunError
    from projrun.output import one_line, warn
    from projrun.project.summary import summary

    try:
        entry_point = _entry_point(given)
    except ProjrunError as error:
        warn(f"the project's parameters cannot be shown: {error}")
        return
    rows = [(one_line(name), summary(parameter)) for name, parameter in entry_point.parameters.items()]
    with formatter.section(f"Parameters of entry point '{one_line(entry_point.name)}' (-P NAME=VALUE)"):
        formatter.write_dl(rows) if rows else formatter.write_text("It declares none.")


def _entry_point(given: dict[str, Any]) -> EntryPoint:
    from projrun.home import home_from
    from projrun.project import read_project
    from projrun.sources import fetched

    with fetched(given["uri"], given["version"], home_from(), offline=given["offline"]) as checkout:
        return read_project(checkout.directory).entry_point(given["entry_point"])


def complete_uri(context: click.Context, parameter: click.Parameter, incomplete: str) -> Any:
    from projrun.cli.completion import directories

    return directories(incomplete)


@click.command(cls=_Run)
@click.argument("uri", shell_complete=complete_uri)
@entry_point_options
@source_options
@environment_options
@container_options
@execution_options
@life_options
@tracking_options
@verbosity_options
def run(
    uri: str,
    param_list: tuple[str, ...],
    docker_args: tuple[str, ...],
    backend_config: str,
    no_conda: bool,
    env_manager: str,
    stop_timeout_s: float,
    env: tuple[str, ...],
    env_file: tuple[str, ...],
    no_mask: bool,
    detach: bool,
    dry_run: bool,
    as_json: bool,
    supervision: str,
    request_fd: int | None,
    **same_named: Any,
) -> int:
    """Run the project at URI: a directory, a Git URL or an archive.

    Each may be followed by #subdirectory; archives are zip and tar, on this machine or behind http(s).

    The project's environment is built if need be, the entry point's command runs in it, and the run is
    recorded with its parameters, commit, environment, output and exit code. projrun exits with the command's
    own exit code; 125 means that the command could not be run.

    `projrun run URI -e NAME --help` shows the parameters of that entry point too.
    """
    from projrun.backends import read_config
    from projrun.home import home_from
    from projrun.output import warn
    from projrun.request import Request
    from projrun.runner import run as run_request

    if as_json and not (dry_run or detach):
        raise click.UsageError("--json goes with --dry-run or --detach; see also projrun runs show --json.")
    if no_conda:
        warn("--no-conda is deprecated; say --env-manager local")
        env_manager = _no_conda(env_manager)
    request = Request(
        uri=uri,
        parameters=given_parameters(param_list),
        docker_args=_docker_args(docker_args),
        backend_config=read_config(backend_config) if backend_config else {},
        env_manager=env_manager,
        stop_timeout_s=stop_timeout_s,
        variables=_variables(env, env_file),
        mask_output=not no_mask,
        **same_named,
    )
    home = home_from()
    if dry_run:
        return _show_plan(request, home, as_json)
    if detach:
        return _detach(request, home, as_json)
    if request_fd is not None:
        from projrun.runner.detached import received

        request = received(request_fd)
    record = run_request(request, home, supervision)
    say_goodbye(record, home)
    assert record.outcome.exit_code is not None
    return record.outcome.exit_code


def _no_conda(env_manager: str) -> str:
    if env_manager not in ("", "local"):
        raise click.UsageError("--no-conda and --env-manager exclude each other; leave --no-conda out.")
    return "local"


def given_parameters(pairs: tuple[str, ...]) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"-P {pair!r}: expected NAME=VALUE, for example -P alpha=0.5.")
        if name in values:
            raise click.UsageError(f"-P {name} is given twice; give it once.")
        values[name] = value
    return values


def _variables(given: tuple[str, ...], env_files: tuple[str, ...]) -> dict[str, str]:
    if not given and not env_files:
        return {}
    import os
    from pathlib import Path

    from projrun.envfile import given_variables, read_env_file

    from_files = [read_env_file(Path(file), os.environ) for file in env_files]
    variables: dict[str, str] = {}
    for layer in (*from_files, given_variables(given, os.environ)):
        variables.update(layer)
    return variables


def _show_plan(request: Request, home: Home, as_json: bool) -> int:
    from projrun.output import data, json_text
    from projrun.runner.preview import as_text, preview

    found = preview(request, home)
    data(json_text(found) if as_json else as_text(found))
    return 0


def _detach(request: Request, home: Home, as_json: bool) -> int:
    import json

    from projrun.output import data, say
    from projrun.runner.detached import start

    run_id, _ = start(request, home, silent=True)
    data(json.dumps({"run_id": run_id}) if as_json else run_id)
    short = run_id[:8]
    say(f"follow it with: projrun runs logs -f {short}; stop it with: projrun runs stop {short}")
    return 0


def _docker_args(pairs: tuple[str, ...]) -> dict[str, object]:
    arguments: dict[str, list[object]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        one = value if equals else True
        arguments[name] = [*arguments[name], one] if name in arguments else [one]
    return dict(arguments)


def say_goodbye(record: Record, home: Home) -> None:
    """What was run, where it is kept, and how to look at it."""
    import os
    import sys

    from projrun.output import say, state
    from projrun.urls import without_credentials

    place = without_credentials(os.environ.get("MLFLOW_TRACKING_URI", "")) or str(home.data)
    outcome, plan = record.outcome, record.plan
    seconds = (outcome.end_time - outcome.start_time) / 1000
    why = f" ({outcome.reason})" if outcome.reason else ""
    status = state(outcome.status, sys.stderr)
    say(f"{plan.project}, entry point {plan.entry_point}: {status} after {seconds:.1f} s{why}")
    say(f"kept in {place}; look at it with: projrun runs show {record.run_id[:8]}")
