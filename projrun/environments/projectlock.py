"""The lock that a project brings: written beside its descriptor, and checked against it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from projrun import tomlfile
from projrun.environments import pythons
from projrun.environments.access import access_of
from projrun.environments.resolution import (
    checked,
    compiled,
    descriptor_digest,
    keep_hashes,
    requirements_of,
    without_local,
)
from projrun.errors import BuildError
from projrun.files import write_atomically
from projrun.output import warn
from projrun.plan import Descriptor

PYLOCK = "pylock.toml"


def write_lock(
    descriptor: Descriptor, directory: Path, log: Path, upgrade: bool, packages: Sequence[str], as_of: str
) -> int:
    """Resolve `descriptor` for every platform into its pylock.toml; how many packages it has.

    upgrade: take nothing from the lock that is there. packages: those that alone may change.
    """
    place = directory / PYLOCK
    requirements, notices = requirements_of(descriptor)
    for notice in notices:
        warn(notice)
    python, _ = pythons.choose(descriptor.python)
    options = ["--universal", "--python", str(python.path)]
    options += ["--exclude-newer", as_of] if as_of else []
    options += [f"--upgrade-package={name}" for name in packages]
    before = place.read_text() if place.is_file() and not upgrade else ""
    access = access_of(descriptor, directory)
    document = compiled(requirements, descriptor.constraints, options, access, log, before)
    keep_hashes(document, requirements)
    document, local = without_local(document, descriptor, directory)
    for one in local:
        key = {"directory": {"path": one.path, "editable": one.editable}}
        if one.path.endswith(".whl"):
            raise BuildError(
                f"the wheel '{one.path}' cannot be in a lock for other machines", "name a released package"
            )
        document["packages"].append({"name": one.name, **key})
    document["tool"] = {"projrun": {"descriptor": descriptor_digest(descriptor), "file": descriptor.file}}
    write_atomically(place, tomlfile.dump(document))
    return len(document["packages"])


def unfit(descriptor: Descriptor, directory: Path) -> str:
    """Why the project's pylock.toml is not the lock of its descriptor; empty when it is."""
    if not (directory / PYLOCK).is_file():
        return f"there is no {PYLOCK}"
    document = checked(tomlfile.load(directory / PYLOCK, PYLOCK), descriptor)
    made_from = document.get("tool", {}).get("projrun", {}).get("descriptor")
    if made_from is None:
        return f"{PYLOCK} does not say what it was made from"
    return "" if made_from == descriptor_digest(descriptor) else f"{PYLOCK} is older than {descriptor.file}"
