"""The lock that a project brings: written beside its descriptor, and checked against it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from projrun.console import warn
from projrun.disk.file_operations import write_atomically
from projrun.documents import toml_file
from projrun.environments.conda import conda_manager
from projrun.environments.conda.lock_stamp import PIP_LOCK, PIXI_LOCK, add_stamp, explain_staleness
from projrun.environments.conda.pypi_names import add_conda_hint
from projrun.environments.interpreters import choice
from projrun.environments.requirement_access import access_of, with_paths
from projrun.environments.uv.resolution import (
    checked,
    compiled,
    descriptor_digest,
    keep_hashes,
    requirements_of,
    staleness,
    with_local,
    without_local,
)
from projrun.errors import BuildError, UsageError
from projrun.plan import Descriptor, Lock


class Written(msgspec.Struct, frozen=True):
    text: str
    count: int
    """Of packages."""


def new_lock(
    descriptor: Descriptor,
    directory: Path,
    name: str,
    log: Path,
    upgrade: bool,
    packages: Sequence[str],
    as_of: str,
) -> Written:
    """`descriptor` resolved for every platform, as the text of a lock to be called `name`.

    upgrade: take nothing from the lock that is there. packages: those that alone may change.
    """
    place = directory / name
    requirements, notices = requirements_of(descriptor)
    for notice in notices:
        warn(notice)
    python, _ = choice.choose(descriptor.python, log)
    options = ["--universal", "--python", str(python.path)]
    options += ["--exclude-newer", as_of] if as_of else []
    options += [f"--upgrade-package={name}" for name in packages]
    before = place.read_text() if place.is_file() and not upgrade else ""
    access = access_of(descriptor, directory)
    try:
        document = compiled(requirements, descriptor.constraints, options, access, log, before)
    except BuildError as error:
        raise add_conda_hint(error, descriptor) from None
    keep_hashes(document, requirements)
    document, local = without_local(document, descriptor, directory)
    document = with_paths(with_local(document, local), lambda path: _seen_from(place, directory / path))
    document["tool"] = {"projrun": {"descriptor": descriptor_digest(descriptor), "file": descriptor.file}}
    return Written(toml_file.dump(document), len(document["packages"]))


def _seen_from(lock: Path, path: Path) -> str:
    return os.path.relpath(os.path.abspath(path), os.path.abspath(lock.parent))


def unfit(descriptor: Descriptor, directory: Path, name: str) -> str:
    """Why the project's lock is not that of its descriptor; empty when it is."""
    if not (directory / name).is_file():
        return f"there is no {name}"
    described = msgspec.structs.replace(descriptor, lock_file=name)
    return staleness(checked(toml_file.load(directory / name, name), described), described)


def write_conda_lock(
    descriptor: Descriptor, directory: Path, log: Path, upgrade: bool, packages: Sequence[str], as_of: str
) -> str:
    """Solve and resolve `descriptor` into its two files, and say what they hold.

    upgrade: take nothing from the lock that is there. packages: those that alone may change.
    """
    _refuse_anothers(descriptor)
    place = directory / os.path.dirname(descriptor.file)
    pixi_lock, pip_lock = place / PIXI_LOCK, place / PIP_LOCK
    before = conda_manager.PreviousLock(_text(pixi_lock), _text(pip_lock), tuple(packages))
    unlocked = msgspec.structs.replace(descriptor, conda_lock_file="", conda_lock_sha256="")
    lock = conda_manager.lock(
        unlocked, directory, log, as_of, conda_manager.NO_PREVIOUS_LOCK if upgrade else before
    )
    for notice in lock.notices:
        warn(notice)
    pylock = _with_local(lock)
    if pylock:
        write_atomically(pip_lock, pylock)
    write_atomically(pixi_lock, add_stamp(lock.conda, descriptor, pylock))
    if not pylock:
        pip_lock.unlink(missing_ok=True)
    count = lock.conda.count("\n- conda: ")
    pip = f", and {PIP_LOCK} what pip installs" if pylock else ""
    return f"{PIXI_LOCK} locks {count} packages of {descriptor.file}{pip}, for this platform"


def unfit_conda_lock(descriptor: Descriptor, directory: Path) -> str:
    """Why the conda lock is not that of its descriptor; empty when it is."""
    if not descriptor.conda_lock_file:
        return f"there is no {PIXI_LOCK}"
    return explain_staleness(descriptor, directory)


def _refuse_anothers(descriptor: Descriptor) -> None:
    name = descriptor.conda_lock_file
    if name and (os.path.basename(name) != PIXI_LOCK or descriptor.file.endswith(".toml")):
        raise UsageError(f"{name} is the lock of another program", "update it with that program")


def _with_local(lock: Lock) -> str:
    """The lock of the pip section with what of it lies in the project."""
    if not lock.local:
        return lock.pylock
    empty = {"lock-version": "1.0", "created-by": "projrun"}
    document: dict[str, Any] = toml_file.parse(lock.pylock, PIP_LOCK) if lock.pylock else empty
    return toml_file.dump(with_local(document, lock.local))


def _text(place: Path) -> str:
    return place.read_text() if place.is_file() else ""
