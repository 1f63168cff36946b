"""The manager of environments that are images: the author's own, or one with packages of uv or conda.

A warm run computes the key and asks whether the image exists; the code that builds is imported when needed.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from projrun import engine, environments
from projrun.console import say
from projrun.disk.file_operations import cache_key
from projrun.environments.conda import conda_manager, image_prefix
from projrun.environments.docker import images
from projrun.environments.docker.images import Image, ImageContents, inspect_contents
from projrun.environments.interpreters import is_exact, parse_versions
from projrun.environments.local_requirements import local_facts
from projrun.environments.uv import uv_manager
from projrun.environments.uv.resolution import format_pylock, resolve_document, without_local
from projrun.errors import BuildError
from projrun.plan import PYLOCK_ARTIFACT, Descriptor, Launch, Lock
from projrun.record import Environment, Package

BUILDS = True
IN_CONTAINERS = True
LOCK_ARTIFACTS: tuple[str, ...] = conda_manager.LOCK_ARTIFACTS
PYLOCK_IS_COMPLETE = False
LOCKS_ONE_PLATFORM = False
new_lock = unfit = environments.refuse_new_lock
download_packages = environments.refuse_download


def suits(descriptor: Descriptor) -> bool:
    return descriptor.kind == "docker_env"


def container_images() -> environments.ContainerImages:
    from projrun.environments.docker import image_build

    return image_build


def find_lock(descriptor: Descriptor, directory: Path) -> str:
    return descriptor.conda_lock_file or descriptor.lock_file


def settings(descriptor: Descriptor, directory: Path) -> dict[str, object]:
    if descriptor.kind == "docker_env":
        return {}
    if descriptor.kind == "conda_env":
        return conda_manager.settings(descriptor, directory)
    return uv_manager.settings(descriptor, directory)


def staleness(descriptor: Descriptor, directory: Path) -> str:
    if descriptor.conda_lock_file:
        return conda_manager.staleness(descriptor, directory)
    return uv_manager.staleness(descriptor, directory)


def holds(lock: Lock, stored: Path) -> bool:
    """Return False when the image's name means another one now, or when its project builds it."""
    if lock.facts.get("by_author"):
        return False
    tag = lock.facts["tag"]
    if not tag:
        return True
    facts = engine.inspect_image(tag)
    return facts is not None and str(facts["Id"]).endswith(lock.facts["image"].removeprefix("sha256:"))


def key(lock: Lock) -> dict[str, object]:
    facts: dict[str, object] = {
        "image": lock.facts["image"],
        "pylock": lock.pylock,
        "engine": engine.address(),
    }
    if lock.local:
        facts["local"] = local_facts(lock)
    if lock.conda:
        facts |= {"conda": lock.conda, "variables": lock.facts["variables"]}
    return facts


def build(lock: Lock, dest: Path, log: Path) -> None:
    from projrun.environments.docker.image_build import build_environment

    environment = build_environment(lock, cache_key(key(lock)), dest.parent, log)
    dest.mkdir()
    images.write_environment(dest, environment)


def unhealthy(dest: Path) -> str | None:
    image = images.read_environment(dest).container.image
    return None if engine.has_image(image) else f"the image {image} is gone"


def contents(dest: Path) -> tuple[Package, ...]:
    return images.read_environment(dest).packages


def record(lock: Lock) -> Environment:
    image, platform = lock.facts["image"], lock.facts["platform"]
    return msgspec.structs.replace(environments.record(lock), image=image, platform=platform)


def from_record(environment: Environment, files: environments.LockFiles, descriptor: Descriptor) -> Lock:
    """Return the lock, whose image the engine has then: it is pulled if need be."""
    from projrun.environments.docker.image_build import require_image

    lock = conda_manager.from_record(environment, files, descriptor)
    facts = {**lock.facts, "image": environment.image, "platform": environment.platform, "tag": ""}
    lock = msgspec.structs.replace(lock, facts=facts)
    require_image(lock, cache_key(key(lock)))
    return lock


def launch(dest: Path) -> Launch:
    environment = images.read_environment(dest)
    return Launch(container=environment.container, variables=dict(environment.variables))


# Versions tried, in this order, after our own for a project that gives a range
DEFAULT_PYTHONS = ("3.11", "3.12", "3.10", "3.13", "3.9", "3.8")


def lock(descriptor: Descriptor, directory: Path, log: Path, as_of: str = "") -> Lock:
    if descriptor.kind == "docker_env":
        return _lock_authors_image(descriptor.docker, directory, log)
    by_conda = conda_manager.suits(descriptor)  # by the rule that holds outside of images too
    default = image_prefix.DEFAULT_BASE if by_conda else choose_base(descriptor.python)
    base = images.find_or_pull(descriptor.docker.get("image") or default, log)
    lock_packages = image_prefix.lock_prefix if by_conda else _lock_by_uv
    draft = lock_packages(descriptor, directory, log, as_of, base, inspect_contents(base))
    editable = [
        f"{requirement.path} is installed as it is now, not editable: it is part of an image"
        for requirement in draft.local
        if requirement.editable
    ]
    return msgspec.structs.replace(
        draft,
        manager="docker",
        local=tuple(msgspec.structs.replace(requirement, editable=False) for requirement in draft.local),
        facts={**draft.facts, "image": base.pin, "tag": "" if base.digest else base.name},
        notices=(*draft.notices, *editable),
    )


def _lock_by_uv(
    descriptor: Descriptor, directory: Path, log: Path, as_of: str, base: Image, inside: ImageContents
) -> Lock:
    if not inside.python:
        raise BuildError(f"the image {base.name} has no Python", "name one that has with --docker-image")
    target = ["--python-version", inside.python, "--python-platform", inside.platform]
    notices = []
    if is_exact(descriptor.python) and descriptor.python != inside.python:
        notices.append(
            f"Python {descriptor.python} is not in the image {base.name}; using its {inside.python}"
        )
    document, local = without_local(
        resolve_document(descriptor, directory, log, target, as_of, notices), descriptor, directory
    )
    return Lock(
        manager="docker",
        files={PYLOCK_ARTIFACT: format_pylock(document)},
        facts={"platform": inside.platform},
        python=inside.python,
        local=local,
        notices=tuple(notices),
    )


def _lock_authors_image(docker: dict[str, Any], directory: Path, log: Path) -> Lock:
    """Lock the author's image: by id if it is built here, else by digest."""
    if build := docker.get("build"):
        image = _build_authors_image(build, directory, log)
    else:
        image = images.find_or_pull(docker["image"], log)
    return Lock(
        manager="docker",
        files={},
        facts={
            "image": image.id if build else image.pin,
            # An image without a digest is on this machine only, and its owner rebuilds it: the tag counts.
            "tag": "" if build or image.digest else image.name,
            "platform": "",
            "by_author": bool(build),
        },
    )


def _build_authors_image(build: str | dict[str, Any], directory: Path, log: Path) -> Image:
    section: dict[str, Any] = {"context": build} if isinstance(build, str) else build
    context = directory / section.get("context", ".")
    file = section.get("dockerfile", "Dockerfile")
    if not (context / file).is_file():
        raise BuildError(f"docker_env: build: there is no {file} in {context}", "write it, or name another")
    arguments = {name: str(value) for name, value in (section.get("args") or {}).items()}
    target = section.get("target", "")
    say(f"building the image of {os.path.normpath(Path(section.get('context', '.'), file))}")
    return images.build_dockerfile(context, log, dockerfile=file, buildargs=arguments, target=target)


def choose_base(python: str) -> str:
    """Return the official image for the Python of a descriptor: `3.11`, `3.11.7`, `>=3.10`, ''."""
    if re.fullmatch(r"\d+\.\d+(\.\d+)?", python):
        return f"python:{'.'.join(python.split('.')[:2])}-slim"
    ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if not python:
        return f"python:{ours}-slim"
    versions = parse_versions(python)
    for minor in (ours, *DEFAULT_PYTHONS):
        if any(versions.contains(f"{minor}.{patch}") for patch in range(30)):
            return f"python:{minor}-slim"
    raise BuildError(f"no Python fits {python}", "widen it, or name an image with --docker-image")
