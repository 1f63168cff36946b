"""No environment of its own: the run uses what the caller's shell would use."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from projrun import environments
from projrun.console import say
from projrun.plan import Descriptor, Launch, Lock
from projrun.record import Environment, Package

BUILDS = False
IN_CONTAINERS = False
LOCK_ARTIFACTS: tuple[str, ...] = ()
PYLOCK_IS_COMPLETE = False
LOCKS_ONE_PLATFORM = False
suits = environments.suits_none
find_lock = environments.find_pylock
container_images = environments.no_container_images
holds = environments.holds_always
new_lock = unfit = environments.refuse_new_lock
record = environments.record
download_packages = environments.refuse_download


def lock(descriptor: Descriptor, directory: Path, log: Path, as_of: str = "") -> Lock:
    """Resolve nothing; the notices name the differences of the installed packages from the descriptor."""
    requirements = (*descriptor.build_dependencies, *descriptor.dependencies)
    python = _find_python()
    version = _version(python) if python else ""
    differences = ""
    if requirements or descriptor.python:
        file = descriptor.file or "the project's requirements"
        say(f"running in the current environment, not in one made from {file}")
        differences = _differences(requirements, descriptor.python, file, python, version)
    notices = (differences,) if differences else ()
    return Lock(manager="local", files={}, python=version, notices=notices)


def staleness(descriptor: Descriptor, directory: Path) -> str:
    from projrun.environments.uv import uv_manager

    return uv_manager.staleness(descriptor, directory)


def settings(descriptor: Descriptor, directory: Path) -> dict[str, object]:
    return {}


def key(lock: Lock) -> dict[str, object]:
    return {}


def build(lock: Lock, dest: Path, log: Path) -> None:
    raise AssertionError("the local environment is never built")


def unhealthy(dest: Path) -> str | None:
    return None


def contents(dest: Path) -> tuple[Package, ...]:
    """Return the packages of the `python` that the command would start, wherever `dest` is."""
    from projrun.environments.contents import packages_in

    python = _find_python()
    installed = [package for site in _sites(python) for package in packages_in(site)] if python else []
    return tuple(sorted(installed, key=lambda package: (package.name, package.version)))


def from_record(environment: Environment, files: environments.LockFiles, descriptor: Descriptor) -> Lock:
    return Lock(manager="local", files={}, python=environment.python)


def launch(dest: Path) -> Launch:
    return Launch()


def _differences(
    requirements: tuple[str, ...], request: str, file: str, python: Path | None, version: str
) -> str:
    """Return the differences of the installed packages from `file` in one line, or ''.

    request: for a Python. python, version: the interpreter of the run.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    from projrun.environments.contents import normal

    if python is None:
        return f"there is no Python on PATH to compare with {file}"
    installed = {package.name: package.version for package in contents(python)}
    faults = []
    if version and request and not _fits(version, request):
        faults.append(f"Python is {version}, not {request}")
    for line in requirements:
        try:
            requirement = Requirement(line.partition(" --hash")[0].partition(" #")[0])
        except InvalidRequirement:
            continue  # a path or a bare URL: it has no name to look for
        if requirement.marker and not requirement.marker.evaluate(_markers(version)):
            continue
        present = installed.get(normal(requirement.name))
        if present is None:
            faults.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(present, prereleases=True):
            faults.append(f"{requirement.name} is {present}, not {requirement.specifier}")
    return f"the current environment differs from {file}: {'; '.join(faults)}" if faults else ""


def _find_python() -> Path | None:
    """Return the `python` that the command would start."""
    for entry in os.environ.get("PATH", os.defpath).split(os.pathsep):
        python = Path(entry) / "python"
        if entry and os.access(python, os.X_OK) and python.is_file():
            return python
    return None


def _sites(python: Path) -> list[Path]:
    """Return the package directories of an interpreter, which is not started."""
    prefix = python.parent.parent
    real = python.resolve()
    if not (prefix / "pyvenv.cfg").exists():
        prefix = real.parent.parent
    minor = real.name if real.name.startswith("python3.") else "python3*"
    # Debian installs its own packages in the last of these.
    patterns = (f"lib/{minor}/site-packages", f"lib/{minor}/dist-packages", "lib/python3/dist-packages")
    return sorted({site for pattern in patterns for site in prefix.glob(pattern)})


def _version(python: Path) -> str:
    """Return `3.11.7`, `3.11` if the files name no patch, or ''. The interpreter is not started."""
    real = python.resolve()
    if real == Path(getattr(sys, "_base_executable", None) or sys.executable).resolve():
        return ".".join(map(str, sys.version_info[:3]))
    try:
        settings = (python.parent.parent / "pyvenv.cfg").read_text()
    except OSError:
        settings = ""
    for text, pattern in (
        (settings, r"^version(?:_info)?\s*=\s*(\d+\.\d+\.\d+)"),
        (real.parent.parent.name, r"^(?:cpython-)?(\d+\.\d+\.\d+)(?:-.*)?$"),
        (real.name, r"^python(\d+\.\d+)$"),
    ):
        if match := re.search(pattern, text, re.MULTILINE):
            return match[1]
    return ""


def _fits(version: str, request: str) -> bool:
    """Return True if Python `version` fits the descriptor's request, or if they cannot be compared."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if request[0].isdigit():
        return all(part == other for part, other in zip(version.split("."), request.split(".")))
    try:
        return SpecifierSet(request.replace(" ", "")).contains(version)
    except InvalidSpecifier:
        return True


def _markers(version: str) -> dict[str, str]:
    """Return the environment markers of the interpreter that runs, which need not be projrun's own."""
    if not version:
        return {}
    minor = ".".join(version.split(".")[:2])
    full = version if version.count(".") == 2 else f"{version}.0"
    return {"python_version": minor, "python_full_version": full, "implementation_version": full}
