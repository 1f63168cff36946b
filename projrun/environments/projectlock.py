"""The lock that a project brings: written beside its descriptor, and checked against it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from projrun import tomlfile
from projrun.environments import pythons
from projrun.environments.access import access_of, with_paths
from projrun.environments.condanames import with_conda_names
from projrun.environments.resolution import (
    checked,
    compiled,
    keep_hashes,
    requirements_of,
    with_local,
    without_local,
)
from projrun.environments.staleness import descriptor_digest, staleness
from projrun.errors import BuildError
from projrun.output import warn
from projrun.plan import Descriptor


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
    python, _ = pythons.choose(descriptor.python, log)
    options = ["--universal", "--python", str(python.path)]
    options += ["--exclude-newer", as_of] if as_of else []
    options += [f"--upgrade-package={name}" for name in packages]
    before = place.read_text() if place.is_file() and not upgrade else ""
    access = access_of(descriptor, directory)
    try:
        document = compiled(requirements, descriptor.constraints, options, access, log, before)
    except BuildError as error:
        raise with_conda_names(error, descriptor) from None
    keep_hashes(document, requirements)
    document, local = without_local(document, descriptor, directory)
    document = with_paths(with_local(document, local), lambda path: _seen_from(place, directory / path))
    document["tool"] = {"projrun": {"descriptor": descriptor_digest(descriptor), "file": descriptor.file}}
    return Written(tomlfile.dump(document), len(document["packages"]))


def _seen_from(lock: Path, path: Path) -> str:
    return os.path.relpath(os.path.abspath(path), os.path.abspath(lock.parent))


def unfit(descriptor: Descriptor, directory: Path, name: str) -> str:
    """Why the project's lock is not that of its descriptor; empty when it is."""
    if not (directory / name).is_file():
        return f"there is no {name}"
    described = msgspec.structs.replace(descriptor, lock_file=name)
    return staleness(checked(tomlfile.load(directory / name, name), described), described)
