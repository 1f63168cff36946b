"""From a request and a checkout to a plan."""

from __future__ import annotations

from pathlib import Path

import msgspec

from projrun import inputs
from projrun.environments import manager_named
from projrun.errors import ProjrunError, UnavailableError
from projrun.inputs.storage import Storage
from projrun.masking import MASK
from projrun.output import say, warn
from projrun.plan import Checkout, Descriptor, Plan, PlannedEnvironment
from projrun.project import environment_of, read_project
from projrun.project.command import render
from projrun.request import Request
from projrun.urls import without_secrets

WRITTEN_FOR = {
    **dict.fromkeys(("python_env", "script", "pyproject", "none"), "uv"),
    "conda_env": "conda",
    "docker_env": "docker",
}
"""Kind of descriptor -> the manager that it is written for."""


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, and what performing it takes that no record may hold."""

    plan: Plan
    checkout: Checkout
    storage: Storage
    urls: dict[str, str]
    """Of remote inputs, by parameter, with the credentials in them."""
    variables: dict[str, str] = {}
    """That the caller gave for the command, with their real values."""
    pinned: bool = False
    """The user named the experiment."""
    timeout_s: float | None = None
    stop_timeout_s: float = 10.0


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
        variables=dict.fromkeys(request.variables, MASK),
    )
    return Planned(
        plan=plan,
        checkout=checkout,
        storage=storage,
        urls=rendered.urls,
        variables=dict(request.variables),
        pinned=bool(request.experiment_name or request.experiment_id),
        timeout_s=request.timeout_s,
        stop_timeout_s=request.stop_timeout_s,
    )


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
