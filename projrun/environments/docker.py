"""Environments that are images: the author's own, or one with the packages that uv would install."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from projrun import engine
from projrun.digests import key_of
from projrun.environments import dockerfile, images
from projrun.environments.images import KEY_LABEL, Image
from projrun.environments.imageshelf import BASE_DIGEST_LABEL, BASE_NAME_LABEL, SHELF_LABEL, shelf_name
from projrun.environments.localrequirements import local_facts
from projrun.environments.resolution import document_of, text_of, without_local
from projrun.errors import BuildError
from projrun.files import temporary_directory
from projrun.plan import Container, Descriptor, Launch, Lock
from projrun.record import Package
from projrun.version import __version__

BUILDS = True

FACTS = "image.json"
DEFAULT_PYTHONS = ("3.11", "3.12", "3.10", "3.13", "3.9", "3.8")
"""Versions tried, in this order, for a project that leaves it open."""


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """What the shelf keeps of an image: how to start it, where it is, what is in it."""

    engine: str
    container: Container
    packages: tuple[Package, ...]


def lock(descriptor: Descriptor, directory: Path, log: Path, as_of: str = "") -> Lock:
    if descriptor.kind == "docker_env":
        return _lock_of_image(descriptor.docker, directory, log)
    base = images.found(descriptor.docker.get("image") or default_base(descriptor.python), log)
    inside = images.look_into(base)
    if not inside.python:
        raise BuildError(f"the image {base.name} has no Python", "name one that has with --docker-image")
    target = ["--python-version", inside.python, "--python-platform", inside.platform]
    notices = _notices(descriptor.python, inside.python, base)
    document, local = without_local(
        document_of(descriptor, directory, log, target, as_of, notices), descriptor, directory
    )
    for one in local:
        if one.editable:
            notices.append(f"{one.path} is installed as it is now, not editable: it is part of an image")
    return Lock(
        manager="docker",
        python=inside.python,
        interpreter="",
        pylock=text_of(document),
        local=tuple(msgspec.structs.replace(one, editable=False) for one in local),
        image=base.pin,
        platform=inside.platform,
        tag="" if base.digest else base.name,
        notices=tuple(notices),
    )


def _lock_of_image(docker: dict[str, Any], directory: Path, log: Path) -> Lock:
    """The author's image. One that is built here, or that no registry knows, may be another one next time."""
    if build := docker.get("build"):
        image = _built_by_author(build, directory, log)
    else:
        image = images.found(docker["image"], log)
    return Lock(
        manager="docker",
        python="",
        interpreter="",
        pylock="",
        image=image.id if build else image.pin,
        tag="" if build or image.digest else image.name,
        kept=not build,
    )


def _built_by_author(build: str | dict[str, Any], directory: Path, log: Path) -> Image:
    section: dict[str, Any] = {"context": build} if isinstance(build, str) else build
    context = directory / section.get("context", ".")
    file = section.get("dockerfile", "Dockerfile")
    if not (context / file).is_file():
        raise BuildError(f"docker_env: build: there is no {file} in {context}", "write it, or name another")
    arguments = {name: str(value) for name, value in (section.get("args") or {}).items()}
    target = section.get("target", "")
    return images.built(context, log, dockerfile=file, buildargs=arguments, target=target)


def default_base(python: str) -> str:
    """The official image for what a descriptor asks: `3.11`, `3.11.7`, `>=3.10`, ''."""
    if re.fullmatch(r"\d+\.\d+(\.\d+)?", python):
        return f"python:{'.'.join(python.split('.')[:2])}-slim"
    ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if not python:
        return f"python:{ours}-slim"
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        wanted = SpecifierSet(python.replace(" ", ""))
    except InvalidSpecifier:
        hint = "write one such as '3.11', '3.11.7' or '>=3.10'"
        raise BuildError(f"'{python}' is not a Python version", hint) from None
    for minor in (ours, *DEFAULT_PYTHONS):
        if any(wanted.contains(f"{minor}.{patch}") for patch in range(30)):
            return f"python:{minor}-slim"
    raise BuildError(f"no Python fits {python}", "widen it, or name an image with --docker-image")


def _notices(wanted: str, got: str, base: Image) -> list[str]:
    if re.fullmatch(r"\d+\.\d+\.\d+", wanted) and wanted != got:
        return [f"Python {wanted} is not in the image {base.name}; using its {got}"]
    return []


def key(lock: Lock) -> dict[str, object]:
    facts: dict[str, object] = {"image": lock.image, "pylock": lock.pylock, "engine": engine.address()}
    return {**facts, "local": local_facts(lock)} if lock.local else facts


def require_image(lock: Lock) -> None:
    """Have the image of a lock on the engine, pulled if need be. Raises BuildError or EngineError."""
    if not (lock.platform and images.environment_image(key_of(key(lock)))):
        with temporary_directory() as temporary:
            images.found(lock.image, temporary / "log")


def build(lock: Lock, dest: Path, log: Path) -> None:
    if lock.platform:
        name = key_of(key(lock))
        image = images.environment_image(name) or _made(lock, _labels(lock, name, dest.parent), log)
    else:
        image = images.found(lock.image, log)
    inside = images.look_into(image)
    built = Built(
        engine=engine.address(),
        container=_container(image, inside.shell),
        packages=inside.packages,
    )
    dest.mkdir()
    (dest / FACTS).write_bytes(msgspec.json.encode(built))


def _made(lock: Lock, labels: dict[str, str], log: Path) -> Image:
    base = images.found(lock.image, log)
    stage = os.urandom(8).hex()
    program = images.look_into(base).program
    local = msgspec.structs.replace(lock, image=base.digest or base.id)
    try:
        with temporary_directory() as context:
            dockerfile.write_context(local, program, labels, stage, context)
            return images.built(context, log, tag=f"projrun-environment:{labels[KEY_LABEL]}")
    finally:
        images.discard_stages(stage)


def _labels(lock: Lock, name: str, shelf: Path) -> dict[str, str]:
    repository, _, digest = lock.image.rpartition("@")
    return {
        KEY_LABEL: name,
        SHELF_LABEL: shelf_name(shelf),
        "org.opencontainers.image.title": "environment made by projrun",
        "org.opencontainers.image.version": __version__,
        BASE_NAME_LABEL: repository,
        BASE_DIGEST_LABEL: digest,
    }


def _container(image: Image, shell: str) -> Container:
    options = " ".join(engine.info().get("SecurityOptions") or [])
    gateway = engine.default_gateway()
    if gateway and not engine.device_with(gateway):
        engine.call("run", "--rm", "--pull", "never", "--entrypoint", "sh", image.id, "-c", ":")
    return Container(
        image=image.id,
        name=image.pin,
        shell=shell,
        rootless="rootless" in options,
        remapped="name=userns" in options,
        gateway=gateway,
    )


def unhealthy(dest: Path) -> str | None:
    built = _built(dest)
    return None if engine.image(built.container.image) else f"the image {built.container.image} is gone"


def contents(dest: Path) -> tuple[Package, ...]:
    return _built(dest).packages


def launch(dest: Path) -> Launch:
    return Launch(container=_built(dest).container)


def _built(dest: Path) -> Built:
    return msgspec.json.decode((dest / FACTS).read_bytes(), type=Built)
