"""Options of a run in a container: the author's section, the user's arguments, the project's own image."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from projrun.errors import ParameterError, ProjectError, UsageError
from projrun.plan import Checkout, Container, Descriptor, Launch, Plan, PlannedContainer, Source
from projrun.request import Request

BASE_IMAGE_VARIABLE = "PROJRUN_DOCKER_BASE_IMAGE"
TITLE = "org.opencontainers.image.title"  # label of an image with a project in it
# Arguments of `docker run` that a supervised run cannot have, and why
_REFUSED = {
    "d": "projrun follows the run to its end",
    "detach": "projrun follows the run to its end",
    "restart": "a run is run once",
    "cidfile": "projrun names the container itself",
}
_LONG_NAMES = {
    "a": "attach",
    "c": "cpu-shares",
    "e": "env",
    "h": "hostname",
    "i": "interactive",
    "l": "label",
    "m": "memory",
    "p": "publish",
    "P": "publish-all",
    "q": "quiet",
    "t": "tty",
    "u": "user",
    "v": "volume",
    "w": "workdir",
    "net": "network",
}


def with_base_image(descriptor: Descriptor, request: Request) -> Descriptor:
    """Return the descriptor with the base image that the user or their environment names, if any."""
    image = request.docker_image or (
        os.environ.get(BASE_IMAGE_VARIABLE, "") if descriptor.kind != "docker_env" else ""
    )
    if not image:
        return descriptor
    docker = {name: value for name, value in descriptor.docker.items() if name != "build"}
    return msgspec.structs.replace(descriptor, docker={**docker, "image": image})


def plan_container(
    request: Request, descriptor: Descriptor, directory: Path
) -> tuple[PlannedContainer, dict[str, str]]:
    """Return the options, and the values of environment variables, which no record may hold.

    Raises ProjrunError where the section or an argument cannot be followed.
    """
    section = descriptor.docker if descriptor.kind == "docker_env" else {}
    arguments, values = _arguments(request.docker_args)
    variables, copied = _environment(section.get("environment") or ())
    container = PlannedContainer(
        arguments=arguments,
        volumes=tuple(expand_volume(volume, directory) for volume in section.get("volumes") or ()),
        variables=variables,
        copied=tuple(dict.fromkeys([*copied, *values])),
        read_only_source=request.read_only_source,
        build_image=request.build_image,
    )
    return container, values


def _environment(entries: Iterable[object]) -> tuple[dict[str, str], list[str]]:
    variables: dict[str, str] = {}
    copied: list[str] = []
    for entry in entries:
        if isinstance(entry, str):
            if entry not in os.environ:
                hint = f"set it: export {entry}=…"
                raise ParameterError(f"the project's docker_env wants the variable {entry} of you", hint)
            copied.append(entry)
        elif isinstance(entry, (list, tuple)):
            variables[str(entry[0])] = str(entry[1])
    return variables, copied


# --docker-args


def _arguments(given: Mapping[str, object]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the arguments for `docker run`, and the values of variables among them."""
    arguments: list[str] = []
    values: dict[str, str] = {}
    for name, value in _pairs(given):
        if name in _REFUSED:
            raise UsageError(f"-A {name}: {_REFUSED[name]}", "leave it out")
        if name == "env" and isinstance(value, str):
            variable, _, text = value.partition("=")
            values[variable] = text if "=" in value else os.environ.get(variable, "")
        elif name != "rm" and value is not False:  # projrun removes the container in any case
            arguments.append(f"--{name}" if value is True else f"--{name}={value}")
    return tuple(arguments), values


def _pairs(given: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for raw, value in given.items():
        name = raw.lstrip("-")
        if not re.fullmatch(r"[a-zA-Z][\w-]*", name):
            hint = "write it as `docker run` has it, without dashes: -A gpus=all"
            raise UsageError(f"-A {raw}: that is no name of an argument", hint)
        for item in value if isinstance(value, (list, tuple)) else [value]:
            yield _long_name(name), item if isinstance(item, bool) else str(item)


def _long_name(name: str) -> str:
    if len(name) == 1 and name not in (*_LONG_NAMES, *_REFUSED):
        raise UsageError(f"-A {name}: `docker run` has no such argument", "see `docker run --help`")
    return _LONG_NAMES.get(name, name)


# volumes


def expand_volume(volume: str, directory: Path) -> str:
    """Expand variables, `~`, `$(pwd)` and relative paths in `SOURCE:TARGET[:OPTIONS]`, without a shell.

    directory: the project's, which relative paths start from.
    """
    text = re.sub(r"\$\(\s*pwd\s*\)|`\s*pwd\s*`|\$\{PWD\}|\$PWD\b", lambda _: str(directory), volume)
    if "$(" in text or "`" in text:
        message = f"the volume '{volume}' wants a shell, of which only $(pwd) is known"
        raise ProjectError(message, "write a path")
    text = re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda match: _variable(match[1] or match[2], volume), text)
    source, colon, rest = text.partition(":")
    if not colon:
        return text  # a volume without a name
    if source == "~" or source.startswith("~/"):
        source = os.path.expanduser(source)
    if source.startswith(".") or ("/" in source and not source.startswith("/")):
        source = os.path.normpath(directory / source)
    return f"{source}:{rest}"


def _variable(name: str, volume: str) -> str:
    if name not in os.environ:
        raise ParameterError(f"the volume '{volume}' names the variable {name}, which is not set", "set it")
    return os.environ[name]


# the project's own image


def with_project(launch: Launch, plan: Plan, checkout: Checkout, log: Path) -> Launch:
    """Build an image that also holds the project's tree, and return the launch in it."""
    from projrun.environments import images_of

    assert launch.container is not None
    images = images_of(plan.environment.manager)
    labels = source_labels(plan.source, plan.project)
    name, version = legal_name(plan.project), plan.source.commit[:7] or "latest"
    present = images.find_labels(f"{name}:{version}")
    if present is not None and present.get(TITLE) != plan.project:
        name += "-project"  # an image such as python:latest stays what it is
    tag = f"{name}:{version}"
    owner = _owner(plan, launch.container, checkout.directory)
    image = images.build_with_tree(launch.container.image, checkout.directory, tag, labels, owner, log)
    container = msgspec.structs.replace(launch.container, image=image, name=tag, holds_project=True)
    return msgspec.structs.replace(launch, container=container)


def _owner(plan: Plan, container: Container, directory: Path) -> str:
    """Return the owner of the tree in its image: the user of the process, which writes there."""
    from projrun.backends.local.container import container_user

    options = plan.container or PlannedContainer()
    if options.read_only_source:
        return "0:0"
    users = [text.partition("=")[2] for text in options.arguments if text.startswith("--user=")]
    # A name would have to be looked up in the image; `docker run` takes the last of several
    numbers = re.fullmatch(r"\d+(:\d+)?", users[-1]) if users else None
    return numbers[0] if numbers else container_user(container, directory)


def source_labels(source: Source, project: str) -> dict[str, str]:
    """Return the labels that name the project's origin (OCI image annotations)."""
    return {
        TITLE: project,
        "org.opencontainers.image.revision": source.commit,
        "org.opencontainers.image.source": source.repository,
        "org.opencontainers.image.version": source.version,
    }


def legal_name(project: str) -> str:
    """Return a project's name as the name of an image: lower case, letters and digits, single separators."""
    words = re.findall(r"[a-z0-9]+", project.lower())
    return "-".join(words) or "docker-project"
