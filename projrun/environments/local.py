"""No environment of its own: the run uses what the caller's shell would use."""

from __future__ import annotations

import os
from pathlib import Path

from projrun.output import say
from projrun.plan import Descriptor, Launch, Lock
from projrun.record import Package

BUILDS = False


def lock(descriptor: Descriptor, directory: Path, log: Path, as_of: str = "") -> Lock:
    """Nothing is resolved; the notices say how what is installed differs from the descriptor."""
    wanted = (*descriptor.build_dependencies, *descriptor.dependencies)
    differences = ""
    if wanted:
        file = descriptor.file or "the project's requirements"
        say(f"running in the current environment, not in one made from {file}")
        differences = _differences(wanted, file)
    notices = (differences,) if differences else ()
    return Lock(manager="local", python="", interpreter="", pylock="", notices=notices)


def key(lock: Lock) -> dict[str, object]:
    return {}


def build(lock: Lock, dest: Path, log: Path) -> None:
    raise AssertionError("the local environment is never built")


def unhealthy(dest: Path) -> str | None:
    return None


def contents(dest: Path) -> tuple[Package, ...]:
    return ()


def launch(dest: Path) -> Launch:
    return Launch()


def _differences(wanted: tuple[str, ...], file: str) -> str:
    """One line that says what is not there as `file` wants it; empty when all is."""
    from packaging.requirements import InvalidRequirement, Requirement

    from projrun.environments.contents import normal, packages_in

    sites = _sites()
    if not sites:
        return f"there is no Python on PATH to compare with {file}"
    there = {package.name: package.version for site in sites for package in packages_in(site)}
    faults = []
    for line in wanted:
        try:
            requirement = Requirement(line.partition(" --hash")[0].partition(" #")[0])
        except InvalidRequirement:
            continue  # a path or a bare URL: it has no name to look for
        if requirement.marker and not requirement.marker.evaluate():
            continue
        found = there.get(normal(requirement.name))
        if found is None:
            faults.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(found, prereleases=True):
            faults.append(f"{requirement.name} is {found}, not {requirement.specifier}")
    return f"the current environment differs from {file}: {'; '.join(faults)}" if faults else ""


def _sites() -> list[Path]:
    """The package directories of the `python` that the command would start; it is not started."""
    for entry in os.environ.get("PATH", os.defpath).split(os.pathsep):
        python = Path(entry) / "python"
        if entry and os.access(python, os.X_OK) and python.is_file():
            prefix = python.parent.parent
            real = python.resolve()
            if not (prefix / "pyvenv.cfg").exists():
                prefix = real.parent.parent
            minor = real.name if real.name.startswith("python3.") else "python3*"
            places = (f"lib/{minor}/site-packages", f"lib/{minor}/dist-packages", "lib/python3/dist-packages")
            return sorted({site for place in places for site in prefix.glob(place)})
    return []
