"""Make a plan from a request and a checkout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from projrun import inputs
from projrun.console import explain, say, warn
from projrun.console.masking import MASK
from projrun.disk import Home
from projrun.environments import manager_for, manager_named
from projrun.errors import ProjrunError, UsageError
from projrun.inputs import Storage, storage_for
from projrun.net import without_secrets
from projrun.plan import Checkout, Descriptor, Lock, Plan, PlannedContainer, PlannedEnvironment, Resolving
from projrun.project import environment_of, read_project
from projrun.project.command import render_command
from projrun.project.mlproject import EntryPoint, Project
from projrun.record import Input
from projrun.request import Request
from projrun.sources.closure import Captured


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, and what performing it takes that no record may hold."""

    plan: Plan
    checkout: Checkout
    captured: Captured = Captured(None)  # the means to restore the tree
    storage: Storage
    caller: Path  # the directory that relative values of path parameters start from
    # The inputs by parameter that must have the recorded digest; others may have any
    expected: Mapping[str, Input] = {}
    descriptor: Descriptor  # of the environment, with the credentials in it
    lock: Lock | None = None  # of the environment, if it is not to be resolved
    urls: dict[str, str]  # of remote inputs, by parameter, with the credentials in them
    # The variables that the caller gave for the command, with their real values; None removes one
    variables: Mapping[str, str | None] = {}
    # The words that start the command, such as `nice`, before those of the environment
    prefix: tuple[str, ...] = ()
    pinned: bool = False  # the user named the experiment
    timeout_s: float | None = None
    stop_timeout_s: float = 10.0
    account: Mapping[str, str] = {}  # username, password and registry, with which images are pulled
    offline: bool = False
    keep: bool = False  # let a temporary checkout stay when the run has ended
    mask_output: bool = True

    def secrets(self) -> list[str]:
        """Return the values that nobody else may see."""
        values = (self.variables.get(name) for name in self.plan.variables)
        return [value for value in values if value]


def make_plan(request: Request, checkout: Checkout, captured: Captured, home: Home) -> Planned:
    """Plan a run from the project's files and the user's values.

    Many requests can be planned on one checkout; each plan has storage of its own.
    """
    caller = Path.cwd()
    storage = storage_for(request.storage_dir, home)
    project = read_project(checkout.directory)
    entry_point = project.entry_point(request.entry_point)
    rendered = render_command(entry_point, request.parameters, caller=caller, storage=storage.directory)
    for name, url in rendered.urls.items():
        _check_url(name, url)
    for warning in (*project.warnings, *rendered.warnings):
        warn(warning)
    environment = plan_environment(request, project, entry_point)
    container: PlannedContainer | None = None
    values: dict[str, str] = {}
    if manager_named(environment.manager).IN_CONTAINERS:
        from projrun.runner.container_options import plan_container

        container, values = plan_container(request, environment.descriptor, checkout.directory)
    else:
        _refuse_container_options(request, environment.manager)
    script = entry_point.script
    plan = Plan(
        source=checkout.source,
        project=project.name,
        entry_point=request.entry_point,
        command=rendered.command,
        parameters=rendered.parameters,
        inputs=rendered.inputs,
        environment=msgspec.structs.replace(
            environment, descriptor=_without_credentials(environment.descriptor)
        ),
        container=container,
        backend=request.backend,
        backend_config=dict(request.backend_config),
        programs=script.programs if script else {},
        verify=project.verify,
        artifact_files=script.artifact_files if script else {},
        variables=dict.fromkeys(request.variables, MASK),
    )
    return Planned(
        plan=plan,
        checkout=checkout,
        captured=captured,
        storage=storage,
        caller=caller,
        descriptor=environment.descriptor,
        urls=rendered.urls,
        variables={**values, **request.variables},
        pinned=bool(request.experiment_name or request.experiment_id),
        timeout_s=request.timeout_s,
        stop_timeout_s=request.stop_timeout_s,
        account=request.docker_auth,
        offline=request.offline,
        keep=request.keep,
        mask_output=request.mask_output,
    )


def plan_environment(request: Request, project: Project, entry_point: EntryPoint) -> PlannedEnvironment:
    """Plan the environment of one entry point. The descriptor may hold credentials."""
    descriptor, warnings = environment_of(project, entry_point)
    for warning in warnings:
        warn(warning)
    manager = _manager_for(descriptor, request.env_manager)
    written_for = f"what the project is written for, by {descriptor.file or descriptor.kind}"
    explain(f"environment manager {manager}: {'it was asked for' if request.env_manager else written_for}")
    if manager_named(manager).IN_CONTAINERS:
        from projrun.runner.container_options import with_base_image

        descriptor = with_base_image(descriptor, request)
    requirements = entry_point.script.requirements if entry_point.script else ()
    resolving = _plan_resolving(request, manager, descriptor, project.directory)
    if requirements and manager_named(manager).BUILDS:
        from projrun.project.conventions import add_requirements

        descriptor, added = add_requirements(descriptor, requirements)
        if added:
            say(f"added to the environment for the entry point: {', '.join(added)}")
    return PlannedEnvironment(manager=manager, descriptor=descriptor, resolving=resolving)


def _without_credentials(descriptor: Descriptor) -> Descriptor:
    lines = (*descriptor.build_dependencies, *descriptor.dependencies, *descriptor.constraints)
    if not any("://" in line for line in lines):
        return descriptor
    from projrun.environments.requirement_access import without_access

    return without_access(descriptor)


def _check_url(parameter: str, url: str) -> None:
    try:
        inputs.check(url)
    except ProjrunError as error:
        message = f"parameter '{parameter}' (path): '{without_secrets(url)}': {error.message}"
        raise type(error)(message, error.hint) from None


def _refuse_container_options(request: Request, manager: str) -> None:
    for option, value in (
        ("--docker-args", request.docker_args),
        ("--build-image", request.build_image),
        ("--docker-image", request.docker_image),
        ("--read-only-source", request.read_only_source),
        ("docker_auth", request.docker_auth),
    ):
        if value:
            raise UsageError(
                f"{option} is for runs in containers, and this one uses the environment manager {manager}",
                "leave it out, or say --env-manager docker",
            )


def _plan_resolving(request: Request, manager: str, descriptor: Descriptor, directory: Path) -> Resolving:
    lock = manager_named(manager).find_lock(descriptor, directory)
    if lock and (request.upgrade or request.as_of):
        option = "--upgrade" if request.upgrade else "--as-of"
        raise UsageError(
            f"{option}: the project has a lock, {lock}, which wins over resolving",
            f"run `projrun lock {option}`, or leave the option out",
        )
    if request.locked and request.upgrade:
        raise UsageError("--locked and --upgrade exclude each other", "give one of them")
    as_of = ""
    if request.as_of:
        from projrun.sources.git.repository import resolve_date

        as_of = resolve_date(request.as_of, directory)
    return Resolving(
        locked=request.locked, upgrade=request.upgrade, as_of=as_of, strict_python=request.strict_python
    )


def _manager_for(descriptor: Descriptor, requested: str) -> str:
    """Return the manager that the user asked for, or the one that the descriptor is written for."""
    if not requested:
        return manager_for(descriptor)
    manager = manager_named(requested)
    if descriptor.kind == "docker_env" and manager.BUILDS and not manager.IN_CONTAINERS:
        raise UsageError(
            f"the project runs in a container (docker_env), which --env-manager {requested} has not",
            "leave --env-manager out, or use --env-manager local to run it without one",
        )
    return requested
