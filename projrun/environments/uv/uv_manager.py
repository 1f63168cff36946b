"""Environments made by uv: resolved to a pylock.toml with hashes, installed from it and nothing else."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from projrun import environments
from projrun.disk.file_operations import temporary_directory
from projrun.environments import contents as installed
from projrun.environments.local_requirements import install_local, local_facts
from projrun.environments.package_files import with_files
from projrun.environments.requirement_access import installable_pylock
from projrun.environments.uv.configuration import resolution_settings
from projrun.environments.uv.program import ask_uv, run_uv
from projrun.plan import PYLOCK_ARTIFACT, Descriptor, Launch, Lock
from projrun.record import Environment, Package

BUILDS = True
IN_CONTAINERS = False
LOCK_ARTIFACTS: tuple[str, ...] = (PYLOCK_ARTIFACT,)
PYLOCK_IS_COMPLETE = True
LOCKS_ONE_PLATFORM = False
find_lock = environments.find_pylock
holds = environments.holds_with_interpreter
container_images = environments.no_container_images
record = environments.record
from_record = environments.lock_with_interpreter

# uv would take the link `cpython-3.X` of an interpreter of its own in place of the patch that was chosen, and
# an upgrade would change the environment in silence.
_NO_PYTHONS_OF_ITS_OWN = {"UV_PYTHON_INSTALL_DIR": os.devnull}


def suits(descriptor: Descriptor) -> bool:
    """Return True also for a conda file that lists only packages that PyPI has as well."""
    if descriptor.kind != "conda_env":
        return descriptor.kind != "docker_env"
    from projrun.environments.conda.pypi_names import needs_conda

    return not needs_conda(descriptor)


def settings(descriptor: Descriptor, directory: Path) -> dict[str, object]:
    return resolution_settings(directory)


def lock(descriptor: Descriptor, directory: Path, log: Path, as_of: str = "") -> Lock:
    from projrun.environments.uv.resolution import resolve

    return resolve("uv", descriptor, directory, log, as_of)


def staleness(descriptor: Descriptor, directory: Path) -> str:
    from projrun.documents import toml_file
    from projrun.environments.uv import resolution

    name = descriptor.lock_file
    if name.endswith(".lock"):
        return ""  # uv itself refuses a stale uv.lock
    return resolution.staleness(toml_file.load(directory / name, name), descriptor)


def new_lock(request: environments.LockRequest) -> environments.ProjectLock:
    from projrun.environments.uv import resolution

    return resolution.new_lock(request)


def unfit(request: environments.LockRequest) -> str:
    from projrun.environments.uv import resolution

    return resolution.unfit(request)


def key(lock: Lock) -> dict[str, object]:
    return {
        "pylock": lock.pylock,
        "local": local_facts(lock),
        "python": lock.python,
        "interpreter": lock.interpreter,
        "platform": [sys.platform, os.uname().machine],
    }


def build(lock: Lock, dest: Path, log: Path) -> None:
    make = ["venv", "--quiet", "--clear", "--relocatable", "--no-project", "--python", lock.interpreter]
    if not ask_uv([*make, str(dest)], variables=_NO_PYTHONS_OF_ITS_OWN):
        run_uv([*make, str(dest)], log, variables=_NO_PYTHONS_OF_ITS_OWN)
    if lock.pylock:
        _sync(lock, dest, log)
    install_local(lock, dest / "bin" / "python", log)


def _sync(lock: Lock, dest: Path, log: Path) -> None:
    with temporary_directory() as temporary:
        pylock = temporary / "pylock.toml"
        pylock.write_text(with_files(installable_pylock(lock), lock.packages))
        sync = ["pip", "sync", "--python", str(dest / "bin" / "python"), str(pylock)]
        # Packages that are in the cache need no index, and asking it costs most of the time.
        if not ask_uv([*sync, "--offline"], lock.access):
            run_uv(sync, log, cwd=lock.access.directory if lock.access else None, access=lock.access)


def unhealthy(dest: Path) -> str | None:
    python = dest / "bin" / "python"
    return None if python.exists() else f"its interpreter {python} is gone"


def contents(dest: Path) -> tuple[Package, ...]:
    return installed.packages(dest)


def launch(dest: Path) -> Launch:
    return Launch(
        variables={"VIRTUAL_ENV": str(dest), "PYTHONHOME": None, "__PYVENV_LAUNCHER__": None},
        path_entries=(str(dest / "bin"),),
    )


def download_packages(
    environment: Environment, files: environments.LockFiles, target: Path, log: Path
) -> None:
    # uv keeps the content of packages and not their files, so pip downloads them.
    from projrun.environments import pip_program

    pip_program.download_packages(environment, files, target, log)
