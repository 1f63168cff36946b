"""The pip section of a conda environment, locked and installed by uv; locked before its Python exists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from projrun.disk.file_operations import temporary_directory
from projrun.environments.conda.rattler import CondaPackage, PypiPackage
from projrun.environments.interpreters import choice
from projrun.environments.requirement_access import access_of
from projrun.environments.uv.program import run_uv
from projrun.environments.uv.resolution import compiled, text_of, without_local
from projrun.errors import BuildError
from projrun.plan import Descriptor, LocalRequirement


class PipOptions(msgspec.Struct, frozen=True):
    """Options of resolving a pip section."""

    as_of: str = ""
    before: str = ""
    """An earlier pylock.toml, whose versions are kept where they still fit."""
    change: tuple[str, ...] = ()
    """Names of packages that may change."""
    platform: str = ""
    """uv's name of the platform to resolve for; empty for this machine's."""


def lock_pip_section(
    descriptor: Descriptor,
    packages: Sequence[CondaPackage],
    python: str,
    directory: Path,
    log: Path,
    wish: PipOptions,
) -> tuple[str, tuple[LocalRequirement, ...], tuple[str, ...]]:
    """Return the pylock.toml of the pip section ('' without one), its local requirements, and notices.

    The versions that conda installs are kept unless the pip section demands others, which replace them.
    """
    lines = descriptor.dependencies
    if descriptor.kind != "conda_env":
        lines = (*descriptor.build_dependencies, *lines)
    if not lines:
        return "", (), ()
    running, _ = choice.choose("")
    target = ["--python", str(running.path), "--python-version", python]
    target += ["--python-platform", wish.platform] if wish.platform else []
    target += ["--exclude-newer", wish.as_of] if wish.as_of else []
    target += [f"--upgrade-package={name}" for name in wish.change]
    installed = [f"{package.name}=={package.version}" for package in packages if _constrains_pip(package)]
    notices: tuple[str, ...] = ()
    access = access_of(descriptor, directory)
    try:
        document = compiled(lines, (*descriptor.constraints, *installed), target, access, log, wish.before)
    except BuildError:
        if not installed:
            raise
        document = compiled(lines, descriptor.constraints, target, access, log, wish.before)
        notices = ("the pip section does not fit the conda packages and replaces some of them",)
    return *split_local(document, descriptor, directory), notices


def split_local(
    document: dict[str, Any], descriptor: Descriptor, directory: Path
) -> tuple[str, tuple[LocalRequirement, ...]]:
    """Return the document as pylock.toml without its local requirements, and those."""
    document, local = without_local(document, descriptor, directory)
    return text_of(document), local


def _constrains_pip(package: CondaPackage) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        Version(package.version)
    except InvalidVersion:
        return False
    return package.python


def pylock_of_packages(packages: Sequence[PypiPackage]) -> str:
    """Return the PyPI packages of another program's lock as a pylock.toml."""
    parts = ['lock-version = "1.0"\ncreated-by = "projrun"\n']
    for package in packages:
        if not package.location.startswith(("http://", "https://")) or not package.sha256:
            raise BuildError(
                f"the lock has {package.name} from {package.location}, which is not a file with a sha256",
                "name a released package",
            )
        name = package.location.partition("?")[0].rpartition("/")[2]
        file = f"{{ name = {_quote(name)}, url = {_quote(package.location)}"
        file += f", hashes = {{ sha256 = {_quote(package.sha256)} }} }}"
        kind = f"wheels = [{file}]" if name.endswith(".whl") else f"sdist = {file}"
        parts.append(
            f"\n[[packages]]\nname = {_quote(package.name)}\nversion = {_quote(package.version)}\n{kind}\n"
        )
    return "".join(parts) if packages else ""


def install_pip_section(pylock: str, prefix: Path, offline: bool, log: Path) -> None:
    with temporary_directory() as temporary:
        file = temporary / "pylock.toml"
        file.write_text(pylock)
        command = ["pip", "install", "--python", str(prefix / "bin" / "python"), "--break-system-packages"]
        run_uv([*command, *(["--offline"] if offline else []), "-r", str(file)], log)


def _quote(value: str) -> str:
    return msgspec.json.encode(value).decode()
