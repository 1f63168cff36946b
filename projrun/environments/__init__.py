"""Environment managers: kinds of environment. A kind is a module that fulfils `EnvironmentManager`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from projrun.errors import UsageError
from projrun.plan import Descriptor, Launch, Lock
from projrun.record import Package


class EnvironmentManager(Protocol):
    """`log` is a file that gets what the tools say that are asked."""

    BUILDS: bool
    """False if it only uses what is there: then `key`, `build` and the like are never called."""

    def lock(self, descriptor: Descriptor, directory: Path, log: Path, as_of: str = "") -> Lock:
        """The descriptor resolved to exact artifacts, as the index stood at `as_of`.

        directory: the project's, for relative paths.
        """
        ...

    def key(self, lock: Lock) -> dict[str, object]:
        """Every fact that determines what is built; hashed, it names the environment."""
        ...

    def build(self, lock: Lock, dest: Path, log: Path) -> None:
        """Make the environment at `dest`, which does not exist, or raise BuildError."""
        ...

    def unhealthy(self, dest: Path) -> str | None:
        """Why a built environment cannot be used, or None. Called on every reuse: no process is started."""
        ...

    def contents(self, dest: Path) -> tuple[Package, ...]:
        """The exact packages that are installed at `dest`, sorted by name."""
        ...

    def launch(self, dest: Path) -> Launch:
        """How to start a process in the environment at `dest`."""
        ...


KINDS = {
    "conda": "projrun.environments.conda.conda_manager",
    "local": "projrun.environments.local",
    "uv": "projrun.environments.uv.uv_manager",
    "docker": "projrun.environments.docker.docker_manager",
    "virtualenv": "projrun.environments.virtualenv",
}


def lock_in_project(manager: str, descriptor: Descriptor) -> str:
    """The lock in the project that `manager` takes, from the project's directory; empty without one."""
    if descriptor.conda_lock_file and manager in ("conda", "docker"):
        return descriptor.conda_lock_file
    return "" if manager == "conda" else descriptor.lock_file


def manager_named(name: str) -> EnvironmentManager:
    if name not in KINDS:
        known = ", ".join(KINDS)
        raise UsageError(f"there is no environment manager '{name}'", f"choose one of {known}")
    return cast(EnvironmentManager, import_module(KINDS[name]))
