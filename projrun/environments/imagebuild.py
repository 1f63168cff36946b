"""The image of a lock: found again or made, and looked into."""

from __future__ import annotations

from pathlib import Path

import msgspec

from projrun import engine
from projrun.environments import condaimage, dockerfile, images
from projrun.environments.imagefacts import Built
from projrun.environments.images import KEY_LABEL, Image
from projrun.environments.imageshelf import BASE_DIGEST_LABEL, BASE_NAME_LABEL, SHELF_LABEL, shelf_name
from projrun.environments.inside import look_into
from projrun.environments.stages import staged
from projrun.files import temporary_directory
from projrun.plan import Container, Lock
from projrun.version import __version__


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
        packages=condaimage.contents(lock, inside, log) if lock.conda else inside.packages,
        variables=condaimage.activated(image, inside.shell, lock.variables) if lock.conda else {},
    )


def require_image(lock: Lock, key: str) -> None:
    """Have the image of a lock on the engine, pulled if need be. Raises BuildError or EngineError."""
    if not (lock.platform and images.environment_image(key)):
        with temporary_directory() as temporary:
            images.found(lock.image, temporary / "log")


def _made(lock: Lock, labels: dict[str, str], shelf: Path, log: Path) -> Image:
    base = images.found(lock.image, log)
    program = f"{dockerfile.VENV}/bin/python" if lock.conda else look_into(base).program
    local = msgspec.structs.replace(lock, image=base.digest or base.id)
    with staged(shelf) as stage, temporary_directory() as context:
        if lock.conda:
            condaimage.place(lock, context / dockerfile.PREFIX, dockerfile.VENV, log)
        dockerfile.write_context(local, program, labels, stage, context)
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
