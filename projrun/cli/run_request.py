"""Perform `projrun run`. This module needs no click: a plain run does not import it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from projrun.errors import UsageError

if TYPE_CHECKING:
    from projrun.disk import Home
    from projrun.record import Record
    from projrun.request import Request


def run(
    uri: str,
    *,
    param_list: tuple[str, ...] = (),
    docker_args: tuple[str, ...] = (),
    backend_config: str = "",
    no_conda: bool = False,
    env_manager: str = "",
    env: tuple[str, ...] = (),
    env_file: tuple[str, ...] = (),
    no_mask: bool = False,
    detach: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
    supervision: str = "",
    plan_fd: int | None = None,
    **request_fields: Any,
) -> int:
    """Perform a run and return its exit code. The arguments are the options of `run_options`, by name."""
    from projrun.disk import home_from
    from projrun.request import Request
    from projrun.runner.run import run as perform_run

    if as_json and not (dry_run or detach):
        raise UsageError("--json goes with --dry-run or --detach", "see also projrun runs show --json")
    if no_conda:
        from projrun.console import warn

        warn("--no-conda is deprecated; use --env-manager local")
        if env_manager not in ("", "local"):
            raise UsageError("--no-conda and --env-manager exclude each other", "leave --no-conda out")
        env_manager = "local"
    request = Request(
        uri=uri,
        parameters=parse_parameters(param_list),
        docker_args=_parse_docker_args(docker_args),
        backend_config=_backend_config(backend_config) if backend_config else {},
        env_manager=env_manager,
        variables=_read_variables(env, env_file),
        mask_output=not no_mask,
        **request_fields,
    )
    home = home_from()
    if dry_run:
        return _show_plan(request, home, as_json)
    if detach:
        return _detach(request, home, as_json)
    if plan_fd is not None:
        from projrun.runner.detached import perform_handed_over

        record = perform_handed_over(supervision, plan_fd, home)
    else:
        record = perform_run(request, home)
    report_end(record, home)
    assert record.outcome.exit_code is not None
    return record.outcome.exit_code


def _backend_config(text: str) -> dict[str, Any]:
    from projrun.backends import read_config

    return read_config(text)


def parse_parameters(pairs: tuple[str, ...]) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"-P {pair!r} is not NAME=VALUE", "write it as in -P alpha=0.5")
        if name in values:
            raise UsageError(f"-P {name} is given twice", "give it once")
        values[name] = value
    return values


def _read_variables(env: tuple[str, ...], env_files: tuple[str, ...]) -> dict[str, str]:
    if not env and not env_files:
        return {}
    import os
    from pathlib import Path

    from projrun.documents.variables import given_variables, read_env_file

    from_files = [read_env_file(Path(file), os.environ) for file in env_files]
    variables: dict[str, str] = {}
    for layer in (*from_files, given_variables(env, os.environ)):
        variables.update(layer)
    return variables


def _show_plan(request: Request, home: Home, as_json: bool) -> int:
    from projrun.console import json_text, print_data
    from projrun.runner.preview import format_preview, make_preview

    plan = make_preview(request, home)
    print_data(json_text(plan) if as_json else format_preview(plan))
    return 0


def _detach(request: Request, home: Home, as_json: bool) -> int:
    import json

    from projrun.console import print_data, say
    from projrun.runner.detached import start

    run_id, _ = start(request, home, silent=True)
    print_data(json.dumps({"run_id": run_id}) if as_json else run_id)
    short = run_id[:8]
    say(f"follow it with: projrun runs logs -f {short}; stop it with: projrun runs stop {short}")
    return 0


def _parse_docker_args(pairs: tuple[str, ...]) -> dict[str, object]:
    arguments: dict[str, list[object]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        arguments.setdefault(name, []).append(value if equals else True)
    return dict(arguments)


def report_end(record: Record, home: Home) -> None:
    """Say how the run ended, where it is kept, and how to look at it."""
    import os
    import sys

    from projrun.console import say, style_state
    from projrun.net import without_credentials

    store = without_credentials(os.environ.get("MLFLOW_TRACKING_URI", "")) or str(home.data)
    outcome, plan = record.outcome, record.plan
    seconds = (outcome.end_time - outcome.start_time) / 1000
    reason = f" ({outcome.reason})" if outcome.reason else ""
    status = style_state(outcome.status, sys.stderr)
    say(f"{plan.project}, entry point {plan.entry_point}: {status} after {seconds:.1f} s{reason}")
    say(f"kept in {store}; look at it with: projrun runs show {record.run_id[:8]}")
