"""The image of a lock: found again or made, and looked into."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from projrun import engine
from projrun.console import say
from projrun.disk.file_locks import FileLock
from projrun.disk.file_operations import sha256_text, temporary_directory
from projrun.engine import EngineError
from projrun.environments.conda import image_prefix
from projrun.environments.docker import dockerfile_template, images
from projrun.environments.docker.image_contents import Built, look_into
from projrun.environments.docker.images import KEY_LABEL, STAGE_LABEL, Image
from projrun.errors import LaunchError, UnavailableError
from projrun.plan import Container, Lock
from projrun.processes import defer_signals
from projrun.version import __version__

SHELF_LABEL = "projrun.shelf"
"""On an image: whose it is. Users who share an engine do not tidy each other's images away."""
BASE_NAME_LABEL = "org.opencontainers.image.base.name"
BASE_DIGEST_LABEL = "org.opencontainers.image.base.digest"


def shelf_name(shelf: Path) -> str:
    return sha256_text(str(shelf))[:16]


def images_of(shelf: Path) -> dict[str, Image]:
    """By id, the images that were made for this shelf. None where no engine answers."""
    try:
        found = images.images()
    except (EngineError, UnavailableError, LaunchError):
        return {}
    ours = shelf_name(shelf)
    return {image.id: image for image in found if image.labels.get(SHELF_LABEL) == ours}


def freed_by(image: Image) -> int:
    """Bytes that are its own: the layers of its base stay while the base is there."""
    repository, digest = image.labels.get(BASE_NAME_LABEL), image.labels.get(BASE_DIGEST_LABEL, "")
    base = images.on_engine(f"{repository}@{digest}" if repository else digest) if digest else None
    return image.size - base.size if base else image.size


def try_remove(image: Image) -> bool:
    """False while a container uses it."""
    try:
        images.remove(image)
    except EngineError:
        return False
    return True


ABANDONED_S = 3600.0
"""After how long the rest of a build for another shelf, whose locks we cannot see, is taken away."""
PATIENCE_S = 10.0
"""How long the engine may take to let go of what a build has left."""
SETTLED_S = 0.5
"""How long nothing may appear before a build that was given up counts as over."""
PAUSE_S = 0.05


@contextmanager
def staged(shelf: Path) -> Iterator[dict[str, str]]:
    """Labels for what a build leaves on its way. It is gone when the block ends."""
    sweep(shelf)
    name = os.urandom(8).hex()
    lock = FileLock(_lock_of(shelf, name))
    lock.acquire()
    settled_s = SETTLED_S
    try:
        yield {STAGE_LABEL: name, SHELF_LABEL: shelf_name(shelf)}
        settled_s = 0.0
    finally:
        with defer_signals():
            _discard(name, settled_s)
            lock.path.unlink(missing_ok=True)
            lock.release()


def sweep(shelf: Path) -> None:
    """Take away what killed builds left. No engine, nothing to take."""
    try:
        found = images.labelled(STAGE_LABEL)
    except (EngineError, UnavailableError, LaunchError):
        return
    builds = {image.labels[STAGE_LABEL]: image for image in found if image.labels[STAGE_LABEL]}
    if sum(_sweep(name, image, shelf) for name, image in builds.items()):
        say("took away what a killed build of an image had left")


def _sweep(name: str, image: Image, shelf: Path) -> bool:
    if image.labels.get(SHELF_LABEL) != shelf_name(shelf):
        if abandoned := time.time() - image.created > ABANDONED_S:
            _discard(name)
        return abandoned
    lock = FileLock(_lock_of(shelf, name))
    try:
        if free := lock.try_acquire():
            _discard(name)
            lock.path.unlink(missing_ok=True)
        return free
    finally:
        lock.release()


def _discard(name: str, settled_s: float = 0.0) -> None:
    """Take away all that a build left. What cannot go yet is for the next sweep.

    settled_s: how long nothing may be there. An engine takes a moment to notice that nobody waits for a build
    any more, and ends its step first.
    """
    begun = quiet_since = time.monotonic()
    with suppress(EngineError, UnavailableError, LaunchError):
        while time.monotonic() - begun < PATIENCE_S:
            if _took_away(f"{STAGE_LABEL}={name}"):
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= settled_s:
                return
            time.sleep(PAUSE_S)


def _took_away(label: str) -> bool:
    """Whether there was anything. Containers go first: they hold images."""
    if containers := engine.containers_labelled(label):
        engine.call("rm", "--force", "--volumes", *containers)
    left = images.labelled(label)
    for image in left:
        with suppress(EngineError):  # a container that is just ending holds it
            images.remove(image)
    return bool(containers or left)


def _lock_of(shelf: Path, name: str) -> Path:
    return shelf / f".{name}.building"


def built(lock: Lock, key: str, shelf: Path, log: Path) -> Built:
    """key: of the environment. shelf: the directory that holds those of its kind."""
    if lock.platform:
        image = images.environment_image(key) or _made(lock, _labels(lock, key, shelf), shelf, log)
    else:
        image = images.found(lock.image, log)
    inside = look_into(image)
    return Built(
        engine=engine.address(),
        container=_container(image, inside.shell),
        packages=image_prefix.contents(lock, inside, log) if lock.conda else inside.packages,
        variables=image_prefix.activated(image, inside.shell, lock.variables) if lock.conda else {},
    )


def require_image(lock: Lock, key: str) -> None:
    """Have the image of a lock on the engine, pulled if need be. Raises BuildError or EngineError."""
    if not (lock.platform and images.environment_image(key)):
        with temporary_directory() as temporary:
            images.found(lock.image, temporary / "log")


def _made(lock: Lock, labels: dict[str, str], shelf: Path, log: Path) -> Image:
    base = images.found(lock.image, log)
    program = f"{dockerfile_template.VENV}/bin/python" if lock.conda else look_into(base).program
    local = msgspec.structs.replace(lock, image=base.digest or base.id)
    with staged(shelf) as stage, temporary_directory() as context:
        if lock.conda:
            image_prefix.place(lock, context / dockerfile_template.PREFIX, dockerfile_template.VENV, log)
        dockerfile_template.write_context(local, program, labels, stage, context)
        return images.built(context, log, tag=f"{images.REPOSITORY}:{labels[KEY_LABEL]}")


def _labels(lock: Lock, key: str, shelf: Path) -> dict[str, str]:
    repository, _, digest = lock.image.rpartition("@")
    return {
        KEY_LABEL: key,
        SHELF_LABEL: shelf_name(shelf),
        "org.opencontainers.image.title": "environment made by projrun",
        "org.opencontainers.image.version": __version__,
        BASE_NAME_LABEL: repository,
        BASE_DIGEST_LABEL: digest,
    }


def _container(image: Image, shell: str) -> Container:
    info = engine.info()
    options = " ".join(info.get("SecurityOptions") or [])
    gateway = engine.default_gateway()
    if gateway and not engine.device_with(gateway):
        engine.call("run", "--rm", "--pull", "never", "--entrypoint", "sh", image.id, "-c", ":")
    return Container(
        image=image.id,
        name=image.pin,
        shell=shell,
        rootless="rootless" in options or bool(info.get("Rootless")),  # Docker, Podman
        remapped="name=userns" in options,
        gateway=gateway,
    )
