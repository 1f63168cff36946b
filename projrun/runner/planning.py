"""From a request and a checkout to a plan."""

from __future__ import annotations

from pathlib import Path

import msgspec

from projrun import inputs
from projrun.environments import manager_named
from projrun.errors import ProjrunError, UsageError
from projrun.inputs.storage import Storage
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
    values: dict[str, str]
    """Of environment variables that the user gave for a container."""


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
    environment = _environment(descriptor, request, script.requirements if script else ())
    container, values = None, dict[str, str]()
    if environment.manager == "docker":
        from projrun.runner import containers

        container, values = containers.planned(request, environment.descriptor, checkout.directory)
    else:
        _refuse_container_options(request, environment.manager)
    plan = Plan(
        source=checkout.source,
        project=project.name,
        entry_point=request.entry_point,
        command=rendered.command,
        parameters=rendered.parameters,
        inputs=rendered.inputs,
        environment=environment,
        container=container,
        backend=request.backend,
        backend_config=dict(request.backend_config),
        programs=script.programs if script else {},
        artifact_files=script.artifact_files if script else {},
    )
    return Planned(plan=plan, checkout=checkout, storage=storage, urls=rendered.urls, values=values)


def _check_url(parameter: str, url: str) -> None:
    try:
        inputs.check(url)
    except ProjrunError as error:
        message = f"parameter '{parameter}' (path): '{without_secrets(url)}': {error.message}"
        raise type(error)(message, error.hint) from None


def _refuse_container_options(request: Request, manager: str) -> None:
    for option, given in (
        ("--docker-args", request.docker_args),
        ("--build-image", request.build_image),
        ("--docker-image", request.docker_image),
        ("--read-only-source", request.read_only_source),
        ("docker_auth", request.docker_auth),
    ):
        if given:
            raise UsageError(
                f"{option} is for runs in containers, and this one uses the environment manager {manager}",
                "leave it out, or say --env-manager docker",
            )


def _environment(
    descriptor: Descriptor, request: Request, requirements: tuple[str, ...]
) -> PlannedEnvironment:
    manager = _manager_for(descriptor, request.env_manager)
    if manager == "docker":
        from projrun.runner.containers import with_base_image

        descriptor = with_base_image(descriptor, request)
    if requirements and manager_named(manager).BUILDS:
        from projrun.project.conventions import with_requirements

        descriptor, added = with_requirements(descriptor, requirements)
        if added:
            say(f"added to the environment for the entry point: {', '.join(added)}")
    return PlannedEnvironment(manager=manager, descriptor=descriptor)


def _manager_for(descriptor: Descriptor, asked: str) -> str:
    """The manager that the user asked for, or the one that the descriptor is written for."""
    if descriptor.kind == "docker_env" and asked not in ("", "docker", "local"):
        raise UsageError(
            f"the project runs in a container (docker_env), which --env-manager {asked} has not",
            "leave --env-manager out, or use --env-manager local to run it without one",
        )
    name = asked or WRITTEN_FOR[descriptor.kind]
    manager_named(name)
    return name
