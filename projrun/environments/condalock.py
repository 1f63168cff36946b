"""The lock that a conda project brings: written beside its descriptor for this platform, and checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from projrun import tomlfile
from projrun.environments import conda
from projrun.environments.condastamp import PIP_LOCK, PIXI_LOCK, staleness, stamped
from projrun.environments.resolution import with_local
from projrun.errors import UsageError
from projrun.files import write_atomically
from projrun.output import warn
from projrun.plan import Descriptor, Lock


def write_conda_lock(
    descriptor: Descriptor, directory: Path, log: Path, upgrade: bool, packages: Sequence[str], as_of: str
) -> str:
    """Solve and resolve `descriptor` into its two files, and say what they hold.

    upgrade: take nothing from the lock that is there. packages: those that alone may change.
    """
    _refuse_anothers(descriptor)
    place = directory / os.path.dirname(descriptor.file)
    pixi_lock, pip_lock = place / PIXI_LOCK, place / PIP_LOCK
    before = conda.Before(_text(pixi_lock), _text(pip_lock), tuple(packages))
    unlocked = msgspec.structs.replace(descriptor, conda_lock_file="", conda_lock_sha256="")
    lock = conda.lock(unlocked, directory, log, as_of, conda.NOTHING if upgrade else before)
    for notice in lock.notices:
        warn(notice)
    pylock = _with_local(lock)
    if pylock:
        write_atomically(pip_lock, pylock)
    write_atomically(pixi_lock, stamped(lock.conda, descriptor, pylock))
    if not pylock:
        pip_lock.unlink(missing_ok=True)
    count = lock.conda.count("\n- conda: ")
    pip = f", and {PIP_LOCK} what pip installs" if pylock else ""
    return f"{PIXI_LOCK} locks {count} packages of {descriptor.file}{pip}, for this platform"


def unfit_conda_lock(descriptor: Descriptor, directory: Path) -> str:
    """Why the conda lock is not that of its descriptor; empty when it is."""
    if not descriptor.conda_lock_file:
        return f"there is no {PIXI_LOCK}"
    return staleness(descriptor, directory)


def _refuse_anothers(descriptor: Descriptor) -> None:
    name = descriptor.conda_lock_file
    if name and (os.path.basename(name) != PIXI_LOCK or descriptor.file.endswith(".toml")):
        raise UsageError(f"{name} is the lock of another program", "update it with that program")


def _with_local(lock: Lock) -> str:
    """The lock of the pip section with what of it lies in the project."""
    if not lock.local:
        return lock.pylock
    empty = {"lock-version": "1.0", "created-by": "projrun"}
    document: dict[str, Any] = tomlfile.parse(lock.pylock, PIP_LOCK) if lock.pylock else empty
    return tomlfile.dump(with_local(document, lock.local))


def _text(place: Path) -> str:
    return place.read_text() if place.is_file() else ""
