"""The Python API: `run` takes the arguments of `mlflow.projects.run`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from projrun.backends import read_config
from projrun.disk import home_from
from projrun.errors import ExecutionError
from projrun.net import is_offline
from projrun.processes.programs import DetachedProcess
from projrun.request import Request
from projrun.runner.detached import start, stop_run
from projrun.runner.run import run as run_request
from projrun.runner.run import status_of
from projrun.tracking.entities import RunStatus


class SubmittedRun:
    """A run that was started. run_id: 32 hex digits, as in the store."""

    def __init__(self, run_id: str, supervisor: DetachedProcess | None = None) -> None:
        self.run_id = run_id
        self._supervisor = supervisor

    def wait(self) -> bool:
        """Wait until the run has ended; return True if it FINISHED."""
        if self._supervisor is not None:
            self._supervisor.wait()
        return self.get_status() == "FINISHED"

    def get_status(self) -> RunStatus:
        """Return SCHEDULED, RUNNING, FINISHED, FAILED or KILLED."""
        if self._supervisor is not None:
            self._supervisor.poll()  # so that one that has ended does not stay as a zombie
        return status_of(self.run_id, home_from())

    def cancel(self) -> None:
        """Stop the run, which is then KILLED, and wait for its end. A run that has ended stays as it is."""
        if self._supervisor is not None:
            stop_run(self.run_id, home_from())
            self._supervisor.wait()


def run(
    uri: str,
    entry_point: str = "main",
    version: str | None = None,
    parameters: Mapping[str, object] | None = None,
    docker_args: Mapping[str, object] | None = None,
    experiment_name: str | None = None,
    experiment_id: str | None = None,
    backend: str = "local",
    backend_config: Mapping[str, Any] | str | None = None,
    storage_dir: str | None = None,
    synchronous: bool = True,
    run_id: str | None = None,
    run_name: str | None = None,
    env_manager: str | None = None,
    build_image: bool = False,
    docker_auth: Mapping[str, str] | None = None,
    *,
    variables: Mapping[str, str] | None = None,
    mask_output: bool = True,
    timeout_s: float | None = None,
    stop_timeout_s: float = 10.0,
    locked: bool = False,
    upgrade: bool = False,
    as_of: str | None = None,
    strict_python: bool = False,
    docker_image: str | None = None,
    read_only_source: bool = False,
    isolated: bool = False,
    require_clean: bool = False,
    sha256: str | None = None,
    offline: bool | None = None,
    keep: bool = False,
) -> SubmittedRun:
    """Run a project, as `projrun run` does.

    Args:
        uri: directory or Git URL, either with an optional `#subdirectory`.
        entry_point: declared entry point, or a .py, .sh, .R or .ipynb file of the project.
        version: branch, tag or commit of a project in Git.
        parameters: values for the entry point; each is passed as `str(value)`.
        docker_args: arguments for `docker run`, by name without dashes; True for one without a value, a list
            for one that is repeated.
        build_image: copy the project into an image of its own.
        docker_auth: username, password and registry, with which images are pulled.
        experiment_name, experiment_id: experiment of the run, one of the two; a missing name is created.
        backend: where to execute.
        backend_config: mapping, or path of a .json file.
        storage_dir: download remote values of path parameters to this directory and keep them; None: to a
            directory that is removed when the run ends.
        synchronous: wait for the end. If False, a process of its own supervises the run.
        run_id: use this run instead of creating one.
        run_name: name of the run.
        env_manager: `local`, `uv`, …; None: what the project is written for.
        variables: environment variables for the command; projrun stores and prints none of their values.
        mask_output: mask those values also in the output of the command.
        timeout_s: seconds that the command may take; None: any number.
        stop_timeout_s: seconds that a stopped command may take to end; then it is killed.
        locked: refuse to resolve the environment: there must be a lock.
        upgrade: resolve the environment anew.
        as_of: date or commit: resolve with the packages of that time.
        strict_python: refuse another patch version of Python than the one that the project names.
        docker_image: the image to run in, or to install the project's packages in.
        read_only_source: in a container, the command may not write to the project's tree.
        isolated: run a local directory from a checkout of exactly what is recorded of it.
        require_clean: refuse a local directory that differs from its commit.
        sha256: hex digest that an archive must have.
        offline: use no network; None: as PROJRUN_OFFLINE says.
        keep: keep the run's own checkout when the run has ended.

    Returns:
        The run, which has ended if `synchronous`.

    Raises:
        ExecutionError: `synchronous` and the command failed.
        ProjrunError: the run could not be started.
    """
    request = Request(
        uri=str(uri),
        entry_point=entry_point,
        version=version or "",
        parameters={str(name): str(value) for name, value in (parameters or {}).items()},
        docker_args=docker_args or {},
        experiment_name=experiment_name or "",
        experiment_id=str(experiment_id or ""),
        backend=backend,
        backend_config=read_config(backend_config)
        if isinstance(backend_config, str)
        else dict(backend_config or {}),
        storage_dir=storage_dir or "",
        run_id=run_id or "",
        run_name=run_name or "",
        env_manager=env_manager or "",
        build_image=build_image,
        docker_auth=docker_auth or {},
        variables={str(name): str(value) for name, value in (variables or {}).items()},
        mask_output=mask_output,
        timeout_s=timeout_s,
        stop_timeout_s=stop_timeout_s,
        locked=locked,
        upgrade=upgrade,
        as_of=as_of or "",
        strict_python=strict_python,
        docker_image=docker_image or "",
        read_only_source=read_only_source,
        isolated=isolated,
        require_clean=require_clean,
        sha256=sha256 or "",
        offline=is_offline() if offline is None else offline,
        keep=keep,
    )
    if synchronous:
        return _run_to_the_end(request)
    run_id, supervisor = start(request, home_from(), silent=False)
    return SubmittedRun(run_id, supervisor)


def _run_to_the_end(request: Request) -> SubmittedRun:
    record = run_request(request, home_from())
    outcome = record.outcome
    if outcome.status != "FINISHED":
        raise ExecutionError(
            f"run {record.run_id} {outcome.status}: {outcome.reason}",
            f"see `projrun runs logs {record.run_id[:8]}`",
            run_id=record.run_id,
            exit_code=outcome.exit_code or 0,
        )
    return SubmittedRun(record.run_id)
