"""From a request to a record: the only file that knows all stations.

run:  check -> fetch -> make_plan -> (create the run) -> gather the inputs -> provide the environment
      -> execute -> remember
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec

from projrun import inputs, sources
from projrun.backends import Handle, backend_named
from projrun.environments import manager_named
from projrun.environments.store import Provided, provide
from projrun.errors import ProjrunError, TrackingError, UnavailableError, UsageError
from projrun.home import Home
from projrun.inputs.storage import Storage, discard, make, storage_for
from projrun.interrupts import signal_of, uninterrupted
from projrun.output import say, warn
from projrun.plan import Checkout, Descriptor, Plan, PlannedEnvironment
from projrun.project import environment_of, read_project
from projrun.project.command import render
from projrun.record import ENVIRONMENT_LOG_ARTIFACT, OUTPUT_ARTIFACT, Input, Outcome, Platform, Record
from projrun.request import Request
from projrun.server.variables import tracking_variables
from projrun.tracking import Store
from projrun.tracking.entities import Run, RunStatus
from projrun.tracking.hook import RunHook, ended, failed, killed, now, remember
from projrun.tracking.supervision import settled_store, supervising
from projrun.tracking.tags import ENVIRONMENT_KEY
from projrun.urls import without_secrets
from projrun.version import __version__

WRITTEN_FOR = {
    **dict.fromkeys(("python_env", "script", "pyproject", "none"), "uv"),
    "conda_env": "conda",
    "docker_env": "docker",
}
"""Kind of descriptor -> the manager that it is written for."""


def run(request: Request, home: Home) -> Record:
    """Do what the request says and wait for its end.

    Returns the record of a process that ran to its end, whatever its exit code. Raises ProjrunError when
    it could not be run, and KeyboardInterrupt when it was interrupted; a run that exists by then is settled.
    """
    check(request)
    started = now()
    with closing(settled_store(home)) as store, supervising(home, store) as supervisor, ExitStack() as stack:
        hook = RunHook(store, request, supervisor)
        try:
            checkout = sources.fetch(request.uri, request.version, home)
            stack.callback(sources.release, checkout, home)
            storage = storage_for(request.storage_dir, home)
            stack.callback(discard, storage)
            planned = make_plan(request, checkout, storage)
        except ProjrunError as error:
            hook.give_up(error, started)
            raise
        return _perform(store, hook.open(planned.plan), planned, home)


def schedule(request: Request, home: Home) -> str:
    """A new run, SCHEDULED, for another process to perform as its `run_id`. Returns its id."""
    check(request)
    with closing(settled_store(home)) as store:
        return RunHook(store, request).open().run_id


def status_of(run_id: str, home: Home) -> RunStatus:
    with closing(settled_store(home)) as store:
        return store.get_run(run_id).status


def check(request: Request) -> None:
    """Refuse what cannot work whatever the project says, before anything is fetched."""
    if request.experiment_name and request.experiment_id:
        raise UsageError("--experiment-name and --experiment-id exclude each other", "give one of them")
    backend_named(request.backend)
    if request.env_manager:
        manager_named(request.env_manager)
    for option, given in (
        ("--docker-args", request.docker_args),
        ("--build-image", request.build_image),
        ("docker_auth", request.docker_auth),
    ):
        if given:
            raise UnavailableError(
                f"{option}: running in containers is not part of this version of projrun", "leave it out"
            )


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, and what performing it takes that no record may hold."""

    plan: Plan
    checkout: Checkout
    storage: Storage
    urls: dict[str, str]
    """Of remote inputs, by parameter, with the credentials in them."""


def make_plan(request: Request, checkout: Checkout, storage: Storage) -> Planned:
    """Everything that determines the run, from the project's files and the user's values."""
    project = read_project(checkout.directory)
    entry_point = project.entry_point(request.entry_point)
    rendered = render(entry_point, request.parameters, caller=Path.cwd(), storage=storage.directory)
    for name, url in rendered.urls.items():
        _check_url(name, url)
    descriptor, warnings = environment_of(project, entry_point)
    for warning in (*project.warnings, *rendered.warnings, *warnings):
        warn(warning)
    script = entry_point.script
    plan = Plan(
        source=checkout.source,
        project=project.name,
        entry_point=request.entry_point,
        command=rendered.command,
        parameters=rendered.parameters,
        inputs=rendered.inputs,
        environment=_environment(descriptor, request.env_manager, script.requirements if script else ()),
        backend=request.backend,
        backend_config=dict(request.backend_config),
        programs=script.programs if script else {},
        artifact_files=script.artifact_files if script else {},
    )
    return Planned(plan=plan, checkout=checkout, storage=storage, urls=rendered.urls)


def _check_url(parameter: str, url: str) -> None:
    try:
        inputs.check(url)
    except ProjrunError as error:
        message = f"parameter '{parameter}' (path): '{without_secrets(url)}': {error.message}"
        raise type(error)(message, error.hint) from None


def _environment(descriptor: Descriptor, asked: str, requirements: tuple[str, ...]) -> PlannedEnvironment:
    manager = _manager_for(descriptor, asked)
    if requirements and manager_named(manager).BUILDS:
        from projrun.project.conventions import with_requirements

        descriptor, added = with_requirements(descriptor, requirements)
        if added:
            say(f"added to the environment for the entry point: {', '.join(added)}")
    return PlannedEnvironment(manager=manager, descriptor=descriptor)


def _manager_for(descriptor: Descriptor, asked: str) -> str:
    """The manager that the user asked for, or the one that the descriptor is written for."""
    if descriptor.kind == "docker_env" and asked != "local":
        raise UnavailableError(
            "the project runs in a container (docker_env), which is not part of this version of projrun",
            "use --env-manager local to run it without one",
        )
    name = asked or WRITTEN_FOR[descriptor.kind]
    manager_named(name)
    return name


def _perform(store: Store, run: Run, planned: Planned, home: Home) -> Record:
    """Gather the inputs, provide the environment, execute, and remember, whatever happens on the way."""
    started = now()
    plan, checkout = planned.plan, planned.checkout
    read: tuple[Input, ...] = ()
    provided: Provided | None = None
    outcome = failed(RuntimeError("a bug in projrun ended it"), started)
    log = store.log_file(run.run_id, ENVIRONMENT_LOG_ARTIFACT)
    wanted = plan.environment
    try:
        read = _gather(store, planned, home)
        with provide(wanted.manager, wanted.descriptor, checkout.directory, home, log) as provided:
            outcome = ended(_execute(store, run, plan, provided, checkout.directory), started)
    except KeyboardInterrupt as interrupt:
        outcome = killed(interrupt, started)
        raise
    except ProjrunError as error:
        outcome = failed(error, started)
        raise
    finally:
        record = _record(run, plan, read, provided, outcome)
        with uninterrupted():
            remember(store, record, provided.lock.pylock if provided else "")
    return record


def _gather(store: Store, planned: Planned, home: Home) -> tuple[Input, ...]:
    if planned.urls:
        make(planned.storage, home)
    return inputs.gather(planned.plan.inputs, planned.urls, store)


def _execute(store: Store, run: Run, plan: Plan, provided: Provided, directory: Path) -> int:
    """Run the command, with the run's tracking endpoint in its environment; its exit code."""
    for notice in provided.lock.notices:
        warn(notice)
    backend = backend_named(plan.backend)
    log = store.log_file(run.run_id, OUTPUT_ARTIFACT)
    store.log_batch(run.run_id, tags={ENVIRONMENT_KEY: provided.environment.key})
    store.update_run(run.run_id, status="RUNNING")
    files = {name: store.log_file(run.run_id, path) for name, path in plan.artifact_files.items()}
    handle: Handle | None = None
    with tracking_variables(store, run) as variables:
        named = {name: str(file) for name, file in files.items()}
        launch = msgspec.structs.replace(
            provided.launch, variables={**provided.launch.variables, **variables, **named}
        )
        try:
            with uninterrupted():
                handle = backend.submit(plan, launch, directory, log)
            result = backend.wait(handle)
            assert result is not None  # there was no time-out
            return result.exit_code
        except KeyboardInterrupt as interrupt:
            if handle is not None:
                backend.cancel(handle, signal_of(interrupt))
            raise
        finally:
            with uninterrupted():
                _keep(store, run, plan, files)


def _keep(store: Store, run: Run, plan: Plan, files: Mapping[str, Path]) -> None:
    """The artifacts that the command wrote itself are complete, as far as they came."""
    for name, path in plan.artifact_files.items():
        if files[name].exists():
            try:
                store.finish_file(run.run_id, path)
            except TrackingError as error:
                warn(f"the artifact {path} was not kept: {error}")


def _record(
    run: Run, plan: Plan, read: tuple[Input, ...], provided: Provided | None, outcome: Outcome
) -> Record:
    system = os.uname()
    return Record(
        run_id=run.run_id,
        plan=plan,
        environment=provided.environment if provided else None,
        inputs=read,
        platform=Platform(system=system.sysname, machine=system.machine, projrun=__version__),
        outcome=outcome,
    )
