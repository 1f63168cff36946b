"""What `projrun run` does with its arguments. Click is not needed here."""

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
    request_fd: int | None = None,
    **same_named: Any,
) -> int:
    """The arguments are the options of `runoptions`, by name; the exit code."""
    from projrun.disk import home_from
    from projrun.request import Request
    from projrun.runner.run import run as run_request

    if as_json and not (dry_run or detach):
        raise UsageError("--json goes with --dry-run or --detach", "see also projrun runs show --json")
    if no_conda:
        from projrun.console import warn

        warn("--no-conda is deprecated; say --env-manager local")
        env_manager = _no_conda(env_manager)
    request = Request(
        uri=uri,
        parameters=parameters_of(param_list),
        docker_args=_docker_args(docker_args),
        backend_config=_backend_config(backend_config) if backend_config else {},
        env_manager=env_manager,
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
        raise UsageError("--no-conda and --env-manager exclude each other", "leave --no-conda out")
    return "local"


def _backend_config(text: str) -> dict[str, Any]:
    from projrun.backends import read_config

    return read_config(text)


def parameters_of(pairs: tuple[str, ...]) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"-P {pair!r}: that is no NAME=VALUE", "write it as in -P alpha=0.5")
        if name in values:
            raise UsageError(f"-P {name} is given twice", "give it once")
        values[name] = value
    return values


def _variables(given: tuple[str, ...], env_files: tuple[str, ...]) -> dict[str, str]:
    if not given and not env_files:
        return {}
    import os
    from pathlib import Path

    from projrun.documents.variables import given_variables, read_env_file

    from_files = [read_env_file(Path(file), os.environ) for file in env_files]
    variables: dict[str, str] = {}
    for layer in (*from_files, given_variables(given, os.environ)):
        variables.update(layer)
    return variables


def _show_plan(request: Request, home: Home, as_json: bool) -> int:
    from projrun.console import json_text, print_data
    from projrun.runner.preview import as_text, preview

    found = preview(request, home)
    print_data(json_text(found) if as_json else as_text(found))
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

    from projrun.console import say, style_state
    from projrun.net import without_credentials

    place = without_credentials(os.environ.get("MLFLOW_TRACKING_URI", "")) or str(home.data)
    outcome, plan = record.outcome, record.plan
    seconds = (outcome.end_time - outcome.start_time) / 1000
    why = f" ({outcome.reason})" if outcome.reason else ""
    status = style_state(outcome.status, sys.stderr)
    say(f"{plan.project}, entry point {plan.entry_point}: {status} after {seconds:.1f} s{why}")
    say(f"kept in {place}; look at it with: projrun runs show {record.run_id[:8]}")
