"""The contract of environment managers, and the bricks that most of them assign.

A manager is a module that fulfils `EnvironmentManager`. Adding one is that module and a row in `KINDS`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import NoReturn, Protocol, cast

import msgspec

from projrun.disk.file_operations import sha256_text
from projrun.errors import RecordError, UsageError
from projrun.plan import PYLOCK_ARTIFACT, Descriptor, Launch, Lock
from projrun.record import Environment, Package

LockFiles = Mapping[str, str]  # the texts of a lock by the name of the artifact that holds them


class LockRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The lock that the user wants written into the project."""

    descriptor: Descriptor
    directory: Path  # the project's
    name: str  # the name of a lock of PEP 751 for this descriptor, relative to the project's directory
    log: Path
    upgrade: bool = False  # keep no version of the lock that is there
    packages: tuple[str, ...] = ()  # those whose versions alone may change
    as_of: str = ""  # RFC 3339 time as which the index is to be seen; empty: now


class ProjectLock(msgspec.Struct, frozen=True, kw_only=True):
    files: dict[str, str]  # texts by name relative to the project's directory; an empty one is to be removed
    summary: str  # one line for the user


class EnvironmentImage(msgspec.Struct, frozen=True, kw_only=True):
    """The image that was built for an environment."""

    id: str
    key: str  # key of the environment
    size: int  # bytes, including shared layers
    freeable_size: int  # bytes that removing it frees: the layers of its base stay while the base exists
    created: float  # seconds since the epoch


class ContainerImages(Protocol):
    """The work of a manager with images of its engine. `shelf` is the directory of its environments."""

    # Log in to a registry, with username, password and registry; this process then pulls with the account.
    def log_in(self, account: Mapping[str, str]) -> None: ...

    # Return the images that were built for the environments in `shelf`; none if no engine answers.
    def list_shelf_images(self, shelf: Path) -> list[EnvironmentImage]: ...

    # Remove an image. Return False if a container uses it.
    def try_remove(self, image_id: str) -> bool: ...

    # Remove what killed builds left in the engine, if one answers.
    def remove_abandoned_builds(self, shelf: Path) -> None: ...

    # Return the labels of the image of this name, or None if the engine has none.
    def find_labels(self, name: str) -> Mapping[str, str] | None: ...

    # Build an image `tag` of the image `base` and the files of `tree`, and return its id. An empty label
    # clears the base's. owner: `UID:GID` of the tree in the image.
    def build_with_tree(
        self, base: str, tree: Path, tag: str, labels: Mapping[str, str], owner: str, log: Path
    ) -> str: ...

    # Raise UnavailableError if no Dockerfile can make the environment on another machine.
    def check_portable(self, descriptor: Descriptor) -> None: ...

    # Return a Dockerfile that makes the environment elsewhere, with the pylock as `pylock.toml` beside it.
    # Raise UnavailableError if that needs what only this machine has.
    def render_dockerfile(
        self, lock: Lock, descriptor: Descriptor, labels: Mapping[str, str], log: Path
    ) -> str: ...


class EnvironmentManager(Protocol):
    """`directory` is the project's; `log` is a file that gets what the tools print."""

    # False when it only uses what is there: then no lock is stored, and `key` and `build` are never called.
    BUILDS: bool

    # True when its launches start containers: then the container options of a run are for it.
    IN_CONTAINERS: bool

    # The artifacts that its locks have among their `files`.
    LOCK_ARTIFACTS: tuple[str, ...]

    # True when the pylock and the local requirements name every package of the built environment.
    PYLOCK_IS_COMPLETE: bool

    # True when `new_lock` locks for this platform only: then its files are written where the project lies.
    LOCKS_ONE_PLATFORM: bool

    # Choosing

    # Return True when a project with this descriptor uses this manager, unless the user names another.
    def suits(self, descriptor: Descriptor) -> bool: ...

    # Return the lock in the project that wins over resolving, relative to `directory`, or ''.
    def find_lock(self, descriptor: Descriptor, directory: Path) -> str: ...

    # Locking

    # Return what resolving depends on besides the descriptor, the files that it names, and the platform.
    # A stored lock is used again while this stays the same, so it holds no credentials.
    def settings(self, descriptor: Descriptor, directory: Path) -> dict[str, object]: ...

    # Return the descriptor resolved to exact artifacts, as the index stood at `as_of` (RFC 3339 or ''), or
    # the lock in the project, read. Raise BuildError in one line when that cannot be done.
    def lock(self, descriptor: Descriptor, directory: Path, log: Path, as_of: str = "") -> Lock: ...

    # Return False when a lock stored in the file `stored` cannot be built as it is any more.
    def holds(self, lock: Lock, stored: Path) -> bool: ...

    # Return why the lock that `find_lock` returned is older than its descriptor, or ''.
    def staleness(self, descriptor: Descriptor, directory: Path) -> str: ...

    # Return the lock that `projrun lock` is to write into the project.
    def new_lock(self, request: LockRequest) -> ProjectLock: ...

    # Return why the lock that `projrun lock` wrote does not fit its descriptor any more, or ''.
    def unfit(self, request: LockRequest) -> str: ...

    # Building

    # Return every fact that determines what is built; hashed, it names the environment.
    def key(self, lock: Lock) -> dict[str, object]: ...

    # Make the environment at `dest`, which does not exist, or raise BuildError.
    def build(self, lock: Lock, dest: Path, log: Path) -> None: ...

    # Return why the environment at `dest` cannot be used, or None. It is called on every reuse: it starts no
    # process.
    def unhealthy(self, dest: Path) -> str | None: ...

    # Return the packages that are really installed at `dest`, sorted by name.
    def contents(self, dest: Path) -> tuple[Package, ...]: ...

    # Return how to start a process in the environment at `dest`. It is called once, after building.
    def launch(self, dest: Path) -> Launch: ...

    # Return the images that the environments are; None where they are none.
    def container_images(self) -> ContainerImages | None: ...

    # Recording

    # Return what a run's record says of the lock; `key` and `packages` are filled in later.
    def record(self, lock: Lock) -> Environment: ...

    # Return the lock that `record` and `LOCK_ARTIFACTS` came from. Raise ProjrunError when its interpreter or
    # image cannot be had.
    def from_record(self, environment: Environment, files: LockFiles, descriptor: Descriptor) -> Lock: ...

    # Write a file of every package of the recorded lock into `target`, for a bundle, or raise ProjrunError.
    def download_packages(
        self, environment: Environment, files: LockFiles, target: Path, log: Path
    ) -> None: ...


# The managers, in the order in which they are asked whether they suit a descriptor. uv comes first: it suits
# most projects, and asking a manager imports it.
KINDS = {
    "uv": "projrun.environments.uv.uv_manager",
    "conda": "projrun.environments.conda.conda_manager",
    "docker": "projrun.environments.docker.docker_manager",
    "virtualenv": "projrun.environments.virtualenv",
    "pixi": "projrun.environments.pixi",
    "local": "projrun.environments.local",
}


def manager_named(name: str) -> EnvironmentManager:
    """Return the manager. Raises UsageError when there is none of that name."""
    if name not in KINDS:
        known = ", ".join(KINDS)
        raise UsageError(f"there is no environment manager '{name}'", f"choose one of {known}")
    return cast(EnvironmentManager, import_module(KINDS[name]))


def manager_for(descriptor: Descriptor) -> str:
    """Return the name of the manager that a project with this descriptor is written for."""
    return next(name for name in KINDS if manager_named(name).suits(descriptor))


def container_manager() -> str:
    """Return the name of the manager that makes images."""
    return next(name for name in KINDS if manager_named(name).IN_CONTAINERS)


def images_of(name: str) -> ContainerImages:
    """Return what the manager does with images. Raises UsageError when it has none."""
    images = manager_named(name).container_images()
    if images is None:
        raise UsageError(f"the environment manager '{name}' has no images", f"use {container_manager()}")
    return images


def lock_digest(files: LockFiles) -> str:
    """Return the sha256 of the texts of a lock, in the order of their names; empty when all are empty."""
    text = "".join(files[name] for name in sorted(files))
    return sha256_text(text) if text else ""


# Bricks: members of the contract that a manager assigns when its own would be the same.


def suits_none(descriptor: Descriptor) -> bool:
    """`suits` of a manager that is used only when the user names it."""
    return False


def find_pylock(descriptor: Descriptor, directory: Path) -> str:
    """`find_lock` of a manager that installs from a pylock."""
    return descriptor.lock_file


def holds_with_interpreter(lock: Lock, stored: Path) -> bool:
    """`holds` of a manager that builds from an interpreter of this machine: False when that is gone, or was
    upgraded in its place since."""
    try:
        changed = os.stat(lock.interpreter).st_ctime_ns > stored.stat().st_mtime_ns
    except OSError:
        return False
    if not changed:
        return True
    from projrun.console import say
    from projrun.environments.interpreters import version_at

    version = version_at(Path(lock.interpreter))
    if version and version != lock.python:
        say(f"{lock.interpreter} was Python {lock.python} and is {version} now")
    return version == lock.python


def holds_always(lock: Lock, stored: Path) -> bool:
    return True


def no_container_images() -> None:
    """`container_images` of a manager whose environments are directories."""


def record(lock: Lock) -> Environment:
    return Environment(
        manager=lock.manager,
        python=lock.python,
        interpreter=lock.interpreter,
        lock_sha256=lock_digest(lock.files),
        local=lock.local,
    )


def lock_with_interpreter(
    environment: Environment, files: LockFiles, descriptor: Descriptor | None = None
) -> Lock:
    """`from_record` of a manager that builds from an interpreter of this machine."""
    from projrun.environments import interpreters

    interpreter, notice = interpreters.choose(environment.python)
    return Lock(
        manager=environment.manager,
        files={PYLOCK_ARTIFACT: files.get(PYLOCK_ARTIFACT, "")},
        python=interpreter.version_text,
        interpreter=str(interpreter.path),
        local=environment.local,
        notices=(notice,) if notice else (),
    )


def refuse_new_lock(request: LockRequest) -> NoReturn:
    """`new_lock` and `unfit` of a manager whose environments have nothing to lock ahead."""
    raise UsageError("the project has nothing to lock", "write a python_env.yaml with its dependencies")


def refuse_download(environment: Environment, files: LockFiles, target: Path, log: Path) -> NoReturn:
    """`download_packages` of a manager whose packages cannot be installed from a bundle."""
    raise RecordError(
        f"packages of the environment manager '{environment.manager}' cannot be taken along",
        "leave --with-packages out",
    )
