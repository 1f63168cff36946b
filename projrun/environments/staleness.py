"""Whether a lock in the project is still that of its descriptor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from projrun.digests import key_of
from projrun.environments.access import without_access
from projrun.environments.condanames import translated
from projrun.environments.contents import normal
from projrun.errors import BuildError
from projrun.plan import Descriptor


def descriptor_digest(descriptor: Descriptor) -> str:
    """Of what the author wrote and a lock depends on: a lock that names another one is stale."""
    descriptor = without_access(descriptor)
    wanted = [descriptor.python, descriptor.build_dependencies, descriptor.dependencies]
    return key_of({"wanted": [*wanted, descriptor.constraints, descriptor.conda_dependencies]})


def staleness(document: dict[str, Any], descriptor: Descriptor) -> str:
    """Why a lock does not fit its descriptor, in one line; empty when it does.

    One that projrun wrote says what it was made from. Of others the direct requirements are compared.
    """
    if descriptor.kind == "pylock":
        return ""
    lock = descriptor.lock_file
    made_from = document.get("tool", {}).get("projrun", {}).get("descriptor")
    if made_from:
        return "" if made_from == descriptor_digest(descriptor) else f"{lock} is older than {descriptor.file}"
    faults = ", ".join(_faults(document, descriptor))
    return f"{lock} does not fit {descriptor.file}: {faults}" if faults else ""


def _faults(document: dict[str, Any], descriptor: Descriptor) -> Iterator[str]:
    from packaging.requirements import InvalidRequirement, Requirement

    locked: dict[str, set[str]] = {}
    for package in document.get("packages", ()):
        locked.setdefault(normal(package["name"]), set()).add(package.get("version", ""))
    try:
        conda = translated(descriptor).requirements
    except BuildError:
        conda = ()  # packages that no such lock can hold
    for line in (*descriptor.build_dependencies, *conda, *descriptor.dependencies):
        try:
            wanted = Requirement(line.partition(" --hash")[0])
        except InvalidRequirement:
            continue  # an option or a path: it has no name to look for
        if wanted.marker and not wanted.marker.evaluate():
            continue
        versions = locked.get(normal(wanted.name))
        if versions is None:
            yield f"{wanted.name} is not in it"
        elif not any(not one or wanted.specifier.contains(one, prereleases=True) for one in versions):
            yield f"it has {wanted.name} {', '.join(sorted(versions))}, not {wanted.specifier}"
