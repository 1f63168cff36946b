"""Conda environments in images: solved for the image, installed on the host and copied into the image.

rattler can write the prefix of the image into the files that it installs here. So the image needs no conda,
its build no credentials of channels, and packages in the user's cache are not downloaded again.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from projrun import engine
from projrun.environments.conda import conda_manager
from projrun.environments.conda.conda_manager import (
    SCRIPTS_DIRECTORY,
    SHELL_VARIABLES,
    activation_error,
    parse_variables,
)
from projrun.environments.docker.images import Image, ImageContents
from projrun.errors import BuildError
from projrun.plan import Descriptor, Lock
from projrun.record import Package

# The base image if none is named: it gives glibc and a shell, and conda gives Python
DEFAULT_BASE = "debian:stable-slim"
# Names of architectures that differ between engine and kernel
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_SUBDIRS = {"x86_64": "linux-64"}
_OLD_GLIBC = "2.28"  # assumed for an image that does not tell its version


def lock_prefix(
    descriptor: Descriptor, directory: Path, log: Path, as_of: str, base: Image, inside: ImageContents
) -> Lock:
    if not inside.libc:
        raise BuildError(
            f"the image {base.name} has no glibc, which conda's packages need",
            f"name one that has with --docker-image, such as {DEFAULT_BASE}",
        )
    version = inside.libc.partition(" ")[2]
    machine = _MACHINES.get(base.architecture, base.architecture)
    platform = f"{machine}-manylinux_{(version or _OLD_GLIBC).replace('.', '_')}"
    target = conda_manager.TargetPlatform(_conda_subdir(platform), version, platform)
    conda_lock = conda_manager.lock(descriptor, directory, log, as_of, target=target)
    return msgspec.structs.replace(conda_lock, facts={**conda_lock.facts, "platform": platform})


def install_prefix(lock: Lock, prefix: Path, final: str, log: Path) -> None:
    """Install conda's packages at `prefix` for use at `final` in the image."""
    conda_manager.install_for_image(lock, prefix, final, _conda_subdir(lock.facts["platform"]), log)
    for directory, _, _ in os.walk(prefix):
        os.chmod(directory, 0o755)  # noqa: S103 - other users use it, whatever our umask


def list_packages(lock: Lock, inside: ImageContents, log: Path) -> tuple[Package, ...]:
    """Return conda's packages, and those that uv installed from PyPI, which may have replaced some."""
    packages = {
        package.name: Package(package.name, package.version)
        for package in conda_manager.list_packages(lock, _conda_subdir(lock.facts["platform"]), log)
    }
    packages |= {package.name: package for package in inside.packages if package.name in inside.by_uv}
    return tuple(package for _, package in sorted(packages.items()))


def read_activated_variables(image: Image, shell: str, variables: dict[str, str]) -> dict[str, str]:
    """Return the author's variables, and the changes that the activation scripts make in a container."""
    pairs = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    options = ["--rm", "--network", "none", "--pull", "never", "--entrypoint", shell, *pairs]
    answer = engine.run_docker("run", *options, image.id, "-c", _ACTIVATION_SCRIPT)
    if not answer.ok:
        raise activation_error(answer.stderr)
    before, after = (parse_variables(text) for text in answer.stdout.split(_SEPARATOR))
    changed = {name: value for name, value in after.items() if before.get(name) != value}
    given = {name: after[name] for name in variables if name in after}
    return {name: value for name, value in {**given, **changed}.items() if name not in _IGNORED_VARIABLES}


_SEPARATOR = "\0\0"
_ACTIVATION_SCRIPT = f"""
env -0; printf '\\0'
for script in "$CONDA_PREFIX"/{SCRIPTS_DIRECTORY}/*.sh; do [ -e "$script" ] && . "$script"; done >&2
exec env -0
"""
_IGNORED_VARIABLES = SHELL_VARIABLES - {"PATH"}


def _conda_subdir(platform: str) -> str:
    """Return conda's name of the platform, such as `linux-64` or `linux-aarch64`."""
    machine = platform.partition("-")[0]
    return _SUBDIRS.get(machine, f"linux-{machine}")
