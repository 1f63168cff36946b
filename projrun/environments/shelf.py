"""The environments on disk and in the engine: their state and size, and their removal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from projrun.disk import Home
from projrun.disk.cache_buckets import CacheEntry, environment_entries
from projrun.disk.cache_buckets import remove as remove_entry
from projrun.environments import KINDS, ContainerImages, EnvironmentImage, images_of, manager_named
from projrun.environments.environment_store import Ready, lock_of, read
from projrun.errors import UsageError


class Shelved(msgspec.Struct, frozen=True, kw_only=True):
    """An environment, or what is left of one."""

    manager: str
    entry: CacheEntry
    ready: Ready | None  # None for the rest of a killed build, and for an image whose directory is gone
    image: EnvironmentImage | None = None  # the image that was built for it, where the present engine has it

    @property
    def path(self) -> Path:
        return self.entry.path

    @property
    def key(self) -> str:
        return self.path.name

    @property
    def last_use(self) -> float:
        """Return seconds since the epoch."""
        return self.entry.used_at

    @property
    def in_use(self) -> bool:
        return self.entry.in_use

    @property
    def whole(self) -> bool:
        """Return False for the rest of a killed build, which nothing can use."""
        return self.ready is not None or (self.image is not None and not self.path.exists())


class Size(msgspec.Struct, frozen=True):
    """Bytes on disk."""

    total: int
    # Bytes that removing it frees: files that are hard-linked elsewhere, such as uv's cache, stay there
    own: int


def list_environments(home: Home) -> list[Shelved]:
    """Return all environments and rests of some, the one used last first."""
    remove_abandoned_builds(home)
    images = {name: keeper.list_shelf_images(home.environments / name) for name, keeper in _image_keepers()}
    environments = [
        _describe(entry, images.get(entry.path.parent.name, [])) for entry in environment_entries(home)
    ]
    with_directory = {environment.image.id for environment in environments if environment.image}
    for name, made in images.items():
        alone = (image for image in made if image.id not in with_directory)
        environments += [_without_directory(home, name, image) for image in alone]
    return sorted(environments, key=lambda environment: -environment.last_use)


def find(home: Home, beginning: str) -> Shelved:
    """Return the environment whose key begins so. Raises UsageError when there is none or several."""
    fitting = [
        environment for environment in list_environments(home) if environment.key.startswith(beginning)
    ]
    exact = [environment for environment in fitting if environment.key == beginning]
    if len(exact or fitting) == 1:
        return (exact or fitting)[0]
    if not fitting:
        raise UsageError(f"there is no environment '{beginning}'", "see them with: projrun env list")
    names = ", ".join(f"{environment.manager}/{environment.key}" for environment in fitting)
    raise UsageError(f"'{beginning}' is the beginning of {names}", "give more of its key")


def size(environment: Shelved) -> Size:
    tree, image = _tree_size(environment.path), environment.image
    return Size(tree.total + image.size, tree.own + image.freeable_size) if image else tree


def _tree_size(path: Path) -> Size:
    """Return the size of a tree, in which a file with several names counts once."""
    total = own = 0
    names_of: dict[tuple[int, int], int] = {}
    for directory, _, names in os.walk(path):
        for name in names:
            facts = os.lstat(os.path.join(directory, name))
            node = (facts.st_dev, facts.st_ino)
            names_of[node] = names_of.get(node, 0) + 1
            if names_of[node] == 1:
                total += facts.st_blocks * 512
            if names_of[node] == facts.st_nlink:
                own += facts.st_blocks * 512
    return Size(total, own)


def remove(environment: Shelved, home: Home) -> bool:
    """Remove the environment and its image. Return False if a run or a container is using it."""
    image = environment.image
    return remove_entry(
        environment.entry,
        home,
        # The engine alone knows whether a container uses the image, so it goes first.
        before=lambda: image is None or images_of(environment.manager).try_remove(image.id),
    )


def remove_abandoned_builds(home: Home) -> None:
    """Remove what killed builds of images left in an engine, if one answers."""
    for name, keeper in _image_keepers():
        keeper.remove_abandoned_builds(home.environments / name)


def _image_keepers() -> Iterator[tuple[str, ContainerImages]]:
    for name in KINDS:
        if keeper := manager_named(name).container_images():
            yield name, keeper


def _describe(entry: CacheEntry, images: list[EnvironmentImage]) -> Shelved:
    ready = read(entry.path)
    container = ready.launch.container if ready else None
    if container:
        image = next((image for image in images if image.id == container.image), None)
    else:
        image = next((image for image in images if image.key == entry.path.name), None)
    return Shelved(manager=entry.path.parent.name, entry=entry, ready=ready, image=image)


def _without_directory(home: Home, manager: str, image: EnvironmentImage) -> Shelved:
    """Describe an image whose directory is gone; a build of its key would use the image again."""
    path = home.environments / manager / image.key
    entry = CacheEntry(home.environments.name, path, (lock_of(path),), used_at=image.created)
    return Shelved(manager=manager, entry=entry, ready=None, image=image)
