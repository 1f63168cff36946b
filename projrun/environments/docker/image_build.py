"""The images of environments: built from a lock, labelled with their shelf, and removed.

This module fulfils `ContainerImages`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from projrun import engine
from projrun.console import say, warn
from projrun.disk.file_locks import FileLock
from projrun.disk.file_operations import sha256_text, temporary_directory
from projrun.engine import EngineError
from projrun.environments import EnvironmentImage
from projrun.environments.conda import conda_manager, image_prefix
from projrun.environments.docker import dockerfile_template, images
from projrun.environments.docker.images import (
    KEY_LABEL,
    STAGE_LABEL,
    Image,
    ImageEnvironment,
    inspect_contents,
)
from projrun.environments.package_files import list_local_files
from projrun.errors import LaunchError, UnavailableError
from projrun.plan import Container, Descriptor, Lock
from projrun.processes import defer_signals
from projrun.version import __version__

# Label of an image: a digest of the shelf's path. Users who share an engine, or one user with two caches,
# must not prune each other's images; a user's name would be published when the image is pushed.
SHELF_LABEL = "projrun.shelf"
BASE_NAME_LABEL = "org.opencontainers.image.base.name"
BASE_DIGEST_LABEL = "org.opencontainers.image.base.digest"


def shelf_name(shelf: Path) -> str:
    return sha256_text(str(shelf))[:16]


def list_shelf_images(shelf: Path) -> list[EnvironmentImage]:
    name = shelf_name(shelf)
    try:
        return [
            EnvironmentImage(
                id=image.id,
                key=image.labels[KEY_LABEL],
                size=image.size,
                freeable_size=_freeable_size(image),
                created=image.created,
            )
            for image in images.list_environment_images()
            if image.labels.get(SHELF_LABEL) == name
        ]
    except (EngineError, UnavailableError, LaunchError):
        return []


def _freeable_size(image: Image) -> int:
    repository, digest = image.labels.get(BASE_NAME_LABEL), image.labels.get(BASE_DIGEST_LABEL, "")
    base = images.find_image(f"{repository}@{digest}" if repository else digest) if digest else None
    return image.size - base.size if base else image.size


def try_remove(image_id: str) -> bool:
    try:
        images.remove(image_id)
    except EngineError:
        return False
    return True


# Age at which the remains of a build for another shelf are removed: we cannot see that shelf's locks
ABANDONED_S = 3600.0
PATIENCE_S = 10.0  # time that the engine gets to release the remains of a build
SETTLED_S = 0.5  # time without a new container or image after which a cancelled build counts as over
PAUSE_S = 0.05


@contextmanager
def build_stage(shelf: Path) -> Iterator[dict[str, str]]:
    """Yield labels for the intermediate images of a build, which are removed when the block ends.

    A lock file of the stage's name is held meanwhile: images with the label but no locked file are abandoned.
    """
    remove_abandoned_builds(shelf)
    name = os.urandom(8).hex()
    lock = FileLock(_stage_lock_path(shelf, name))
    lock.acquire()
    settled_s = SETTLED_S
    try:
        yield {STAGE_LABEL: name, SHELF_LABEL: shelf_name(shelf)}
        settled_s = 0.0
    finally:
        with defer_signals():
            _remove_stage(name, settled_s)
            lock.path.unlink(missing_ok=True)
            lock.release()


def remove_abandoned_builds(shelf: Path) -> None:
    """Remove the intermediate images and containers of killed builds, if an engine answers."""
    try:
        candidates = images.list_labelled(STAGE_LABEL)
    except (EngineError, UnavailableError, LaunchError):
        return
    builds = {image.labels[STAGE_LABEL]: image for image in candidates if image.labels[STAGE_LABEL]}
    if sum(_remove_if_abandoned(name, image, shelf) for name, image in builds.items()):
        say("took away what a killed build of an image had left")


def _remove_if_abandoned(name: str, image: Image, shelf: Path) -> bool:
    if image.labels.get(SHELF_LABEL) != shelf_name(shelf):
        if abandoned := time.time() - image.created > ABANDONED_S:
            _remove_stage(name)
        return abandoned
    lock = FileLock(_stage_lock_path(shelf, name))
    try:
        if free := lock.try_acquire():
            _remove_stage(name)
            lock.path.unlink(missing_ok=True)
        return free
    finally:
        lock.release()


def _remove_stage(name: str, settled_s: float = 0.0) -> None:
    """Remove the remains of a build; the next build removes those that are still in use.

    settled_s: time without a new one. An engine takes a moment to notice that the client of a build is gone,
    and finishes its step first.
    """
    begun = quiet_since = time.monotonic()
    with suppress(EngineError, UnavailableError, LaunchError):
        while time.monotonic() - begun < PATIENCE_S:
            if _remove_labelled(f"{STAGE_LABEL}={name}"):
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= settled_s:
                return
            time.sleep(PAUSE_S)


def _remove_labelled(label: str) -> bool:
    """Remove containers, then images, which containers hold. Return True if there were any."""
    if containers := engine.list_containers(label):
        engine.run_docker("rm", "--force", "--volumes", *containers)
    remaining = images.list_labelled(label)
    for image in remaining:
        with suppress(EngineError):  # a container that is just ending holds it
            images.remove(image.id)
    return bool(containers or remaining)


def _stage_lock_path(shelf: Path, name: str) -> Path:
    return shelf / f".{name}.building"


def build_environment(lock: Lock, key: str, shelf: Path, log: Path) -> ImageEnvironment:
    """Find or build the image of a lock. key: of the environment. shelf: directory of the environments."""
    if lock.facts["platform"]:
        image = images.find_environment_image(key) or _build_image(
            lock, _image_labels(lock, key, shelf), shelf, log
        )
    else:
        image = images.find_or_pull(lock.facts["image"], log)
    inside = inspect_contents(image)
    return ImageEnvironment(
        engine=engine.address(),
        container=_describe_container(image, inside.shell),
        packages=image_prefix.list_packages(lock, inside, log) if lock.conda else inside.packages,
        variables=image_prefix.read_activated_variables(image, inside.shell, lock.facts["variables"])
        if lock.conda
        else {},
    )


def require_image(lock: Lock, key: str) -> None:
    """Pull the image of a lock unless the engine has it. Raises BuildError or EngineError."""
    if not (lock.facts["platform"] and images.find_environment_image(key)):
        with temporary_directory() as temporary:
            images.find_or_pull(lock.facts["image"], temporary / "log")


def _build_image(lock: Lock, labels: dict[str, str], shelf: Path, log: Path) -> Image:
    base = images.find_or_pull(lock.facts["image"], log)
    program = f"{dockerfile_template.VENV}/bin/python" if lock.conda else inspect_contents(base).program
    local = msgspec.structs.replace(lock, facts={**lock.facts, "image": base.digest or base.id})
    with build_stage(shelf) as stage, temporary_directory() as context:
        if lock.conda:
            image_prefix.install_prefix(
                lock, context / dockerfile_template.PREFIX, dockerfile_template.VENV, log
            )
        dockerfile_template.write_context(local, program, labels, stage, context)
        return images.build_dockerfile(context, log, tag=f"{images.REPOSITORY}:{labels[KEY_LABEL]}")


def _image_labels(lock: Lock, key: str, shelf: Path) -> dict[str, str]:
    repository, _, digest = lock.facts["image"].rpartition("@")
    return {
        KEY_LABEL: key,
        SHELF_LABEL: shelf_name(shelf),
        "org.opencontainers.image.title": "environment made by projrun",
        "org.opencontainers.image.version": __version__,
        BASE_NAME_LABEL: repository,
        BASE_DIGEST_LABEL: digest,
    }


def check_portable(descriptor: Descriptor) -> None:
    if conda_manager.suits(descriptor):
        raise UnavailableError(
            f"{descriptor.file}: no Dockerfile can bring its conda packages along",
            "make the image here (`projrun env build --env-manager docker`) and push that",
        )


def render_dockerfile(lock: Lock, descriptor: Descriptor, labels: Mapping[str, str], log: Path) -> str:
    """Return the Dockerfile; the engine looks at the base image. Raises UnavailableError."""
    if only_here := [*(local.path for local in lock.local), *list_local_files(lock.pylock)]:
        raise UnavailableError(
            f"{descriptor.file}: {only_here[0]} is of this machine: no Dockerfile can bring it along",
            "name a released package or a Git URL, or use `projrun run --env-manager docker`",
        )
    base, tag = lock.facts["image"], lock.facts["tag"]
    if base.startswith("sha256:"):
        name = f"{tag} " if tag else ""
        warn(f"the base image {name}is of this machine alone: push it to a registry to build elsewhere")
    program = inspect_contents(images.find_or_pull(base, log)).program
    return dockerfile_template.render_standalone(lock, program, labels, engine.WORKDIR)


log_in = images.log_in
find_labels = images.find_labels
build_with_tree = images.build_with_tree


def _describe_container(image: Image, shell: str) -> Container:
    info = engine.read_info()
    options = " ".join(info.get("SecurityOptions") or [])
    gateway = engine.find_gateway()
    if gateway and not engine.find_device(gateway):
        engine.run_docker("run", "--rm", "--pull", "never", "--entrypoint", "sh", image.id, "-c", ":")
    return Container(
        image=image.id,
        name=image.pin,
        shell=shell,
        rootless="rootless" in options or bool(info.get("Rootless")),  # Docker, Podman
        remapped="name=userns" in options,
        gateway=gateway,
    )
