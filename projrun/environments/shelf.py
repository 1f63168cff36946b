"""The environments that are there: what they are, how large, and taking them away."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from projrun.disk import Home
from projrun.disk.file_locks import FileLock
from projrun.disk.file_operations import remove_tree
from projrun.environments.docker import image_build
from projrun.environments.docker.image_build import freeable_size, list_shelf_images, try_remove
from projrun.environments.docker.images import KEY_LABEL, Image
from projrun.environments.environment_store import READY, Ready, lock_of, read
from projrun.errors import UsageError

IMAGES = "docker"
"""The environment manager whose environments are images of an engine."""


class Shelved(msgspec.Struct, frozen=True, kw_only=True):
    """One environment on the shelf."""

    manager: str
    key: str
    path: Path
    ready: Ready | None
    """None for the rest of a killed build, and for an image whose directory is gone."""
    last_use: float
    """Seconds since the epoch."""
    in_use: bool
    image: Image | None = None
    """That was made for it, where the present engine has one."""

    @property
    def whole(self) -> bool:
        """It can be used, or found again: it is not the rest of a killed build."""
        return self.ready is not None or (self.image is not None and not self.path.exists())


class Size(msgspec.Struct, frozen=True):
    """Bytes on disk."""

    total: int
    own: int
    """What removing it frees: files that are hard-linked elsewhere, such as uv's cache, stay there."""


def shelved(home: Home) -> list[Shelved]:
    """Every environment and every rest of one, the one used last first."""
    image_build.remove_abandoned_builds(home.environments / IMAGES)
    made = list_shelf_images(home.environments / IMAGES)
    found = [_look(path, made) for path in home.environments.glob("*/*") if _is_place(path)]
    with_directory = {one.image.id for one in found if one.image}
    found += [_image_alone(home, image) for image in made.values() if image.id not in with_directory]
    return sorted(found, key=lambda one: -one.last_use)


def find(home: Home, beginning: str) -> Shelved:
    """The one environment whose key starts so. Raises UsageError."""
    found = [one for one in shelved(home) if one.key.startswith(beginning)]
    exact = [one for one in found if one.key == beginning]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise UsageError(f"there is no environment '{beginning}'", "see them with: projrun env list")
    names = ", ".join(f"{one.manager}/{one.key}" for one in found)
    raise UsageError(f"'{beginning}' is the beginning of {names}", "give more of its key")


def size(one: Shelved) -> Size:
    tree = _tree_size(one.path)
    if one.image is None:
        return tree
    return Size(tree.total + one.image.size, tree.own + freeable_size(one.image))


def _tree_size(path: Path) -> Size:
    """A file with several names in it counts once."""
    total = own = 0
    inside: dict[tuple[int, int], int] = {}
    for directory, _, names in os.walk(path):
        for name in names:
            facts = os.lstat(os.path.join(directory, name))
            node = (facts.st_dev, facts.st_ino)
            inside[node] = inside.get(node, 0) + 1
            if inside[node] == 1:
                total += facts.st_blocks * 512
            if inside[node] == facts.st_nlink:
                own += facts.st_blocks * 512
    return Size(total, own)


def remove(one: Shelved) -> bool:
    """Take it from the shelf; False if a run or a container is using it. The ready mark goes first."""
    with _alone(one.path) as alone:
        alone = alone and (one.image is None or try_remove(one.image))
        if alone:
            remove_tree(one.path / READY)
            remove_tree(one.path)
        return alone


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Yield True if nobody uses or builds the environment; while the block lasts, nobody can begin to."""
    lock = FileLock(lock_of(_place(path)))
    try:
        yield lock.try_acquire()
    finally:
        lock.release()


def _is_place(path: Path) -> bool:
    return path.is_dir() and (not path.name.startswith(".") or path.name.endswith(".tmp"))


def _place(path: Path) -> Path:
    """Return the environment's path, also for the rest of a killed build (`.KEY.RANDOM.tmp`)."""
    return path.with_name(path.name.removeprefix(".").split(".")[0])


def _look(path: Path, made: Mapping[str, Image]) -> Shelved:
    lock = lock_of(_place(path))
    last_use = (lock if lock.exists() else path).stat().st_mtime
    ready = read(path)
    container = ready.launch.container if ready else None
    with _alone(path) as alone:
        return Shelved(
            manager=path.parent.name,
            key=path.name,
            path=path,
            ready=ready,
            last_use=last_use,
            in_use=not alone,
            image=made.get(container.image) if container else _made_for(path.name, made),
        )


def _made_for(key: str, made: Mapping[str, Image]) -> Image | None:
    return next((image for image in made.values() if image.labels[KEY_LABEL] == key), None)


def _image_alone(home: Home, image: Image) -> Shelved:
    """Its directory is gone; a build of its key would take the image up again."""
    key = image.labels[KEY_LABEL]
    path = home.environments / IMAGES / key
    return Shelved(
        manager=IMAGES, key=key, path=path, ready=None, last_use=image.created, in_use=False, image=image
    )
