"""The manager of conda environments: rattler solves and installs them, uv their pip section."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from projrun import environments
from projrun.disk.file_operations import remove_tree, temporary_target, write_atomically
from projrun.environments.conda import activation, pip_section
from projrun.environments.conda.condarc import Settings, read_settings
from projrun.environments.conda.lock_stamp import (
    explain_staleness,
    former_texts,
    project_lock,
    read_pip_lock,
    unfit_conda_lock,
)
from projrun.environments.conda.pypi_names import needs_conda
from projrun.environments.conda.rattler import Channels, CondaPackage, RattlerAnswer, run_rattler
from projrun.environments.contents import normal, origin
from projrun.environments.local_requirements import install_local, local_facts
from projrun.environments.uv.configuration import resolution_settings
from projrun.errors import BuildError
from projrun.plan import (
    CONDA_LOCK_ARTIFACT,
    PYLOCK_ARTIFACT,
    Descriptor,
    Launch,
    LocalRequirement,
    Lock,
)
from projrun.record import Environment, Package

BUILDS = True
IN_CONTAINERS = False
LOCK_ARTIFACTS: tuple[str, ...] = (CONDA_LOCK_ARTIFACT, PYLOCK_ARTIFACT)
PYLOCK_IS_COMPLETE = False
LOCKS_ONE_PLATFORM = True
holds = environments.holds_always
container_images = environments.no_container_images
staleness = explain_staleness
unfit = unfit_conda_lock
record = environments.record
download_packages = environments.refuse_download

LINK_SCRIPTS_VARIABLE = "PROJRUN_CONDA_LINK_SCRIPTS"
NO_DEFAULTS = "nodefaults"
PIP_OPTIONS = ("--break-system-packages",)
"""Conda marks its Python as externally managed (PEP 668), but the project's own pip section is intended."""
STATE_FILE = "conda-meta/state"
"""The file in which conda keeps the variables of an environment."""


class PreviousLock(msgspec.Struct, frozen=True):
    """An earlier lock, whose versions are kept where they still fit."""

    conda: str = ""
    pylock: str = ""
    change: tuple[str, ...] = ()
    """Names of packages that may change."""


NO_PREVIOUS_LOCK = PreviousLock()


class TargetPlatform(msgspec.Struct, frozen=True):
    """The platform to solve for, if it is not this machine's."""

    subdir: str = ""
    """Conda's name of the platform, such as `linux-64`; empty for the user's."""
    glibc: str = ""
    """Version of glibc; empty for this machine's."""
    platform: str = ""
    """uv's name of the platform; empty for this machine's."""


THIS_PLATFORM = TargetPlatform()


def suits(descriptor: Descriptor) -> bool:
    return descriptor.kind == "conda_env" and needs_conda(descriptor)


def find_lock(descriptor: Descriptor, directory: Path) -> str:
    return descriptor.conda_lock_file


def settings(descriptor: Descriptor, directory: Path) -> dict[str, object]:
    return {**resolution_settings(directory), "conda": read_settings().facts()}


def new_lock(request: environments.LockRequest) -> environments.ProjectLock:
    former = former_texts(request)
    before = NO_PREVIOUS_LOCK if request.upgrade else PreviousLock(*former, request.packages)
    descriptor = msgspec.structs.replace(request.descriptor, conda_lock_file="", conda_lock_sha256="")
    return project_lock(request, lock(descriptor, request.directory, request.log, request.as_of, before))


def lock(
    descriptor: Descriptor,
    directory: Path,
    log: Path,
    as_of: str = "",
    before: PreviousLock = NO_PREVIOUS_LOCK,
    target: TargetPlatform = THIS_PLATFORM,
) -> Lock:
    """Solve the descriptor. as_of: date or RFC 3339 time; packages published later are ignored."""
    current = read_settings()
    if target.subdir:
        current = msgspec.structs.replace(current, subdir=target.subdir)
    channels = _channels(descriptor.channels, current, directory)
    specs = [channels.spec(spec) for spec in _match_specs(descriptor)]
    if descriptor.conda_lock_file:
        answer = _read_project_lock(descriptor, specs, channels, current, directory, log)
    else:
        more = {"lock": before.conda, "change": before.change, "glibc": target.glibc}
        answer = run_rattler("solve", channels, current, log, specs=specs, as_of=as_of, **more)
    python = next((package.version for package in answer.packages if package.name == "python"), "")
    notices: tuple[str, ...] = ()
    local: tuple[LocalRequirement, ...] = ()
    pylock = pip_section.pylock_of_packages(answer.pypi)
    if descriptor.conda_lock_file and (problem := explain_staleness(descriptor, directory)):
        notices = (f"{problem}; update it: projrun lock",)
    if (document := read_pip_lock(descriptor, directory)) is not None:
        pylock, local = pip_section.split_local(document, descriptor, directory)
    elif not pylock and python:
        wish = pip_section.PipOptions(as_of, before.pylock, before.change, target.platform)
        pylock, local, pip_notices = pip_section.lock_pip_section(
            descriptor, answer.packages, python, directory, log, wish
        )
        notices += pip_notices
    return Lock(
        manager="conda",
        files={CONDA_LOCK_ARTIFACT: answer.lock, PYLOCK_ARTIFACT: pylock},
        facts={"channels": [*descriptor.channels], "variables": descriptor.variables},
        python=python,
        local=local,
        notices=notices,
    )


def from_record(environment: Environment, files: environments.LockFiles, descriptor: Descriptor) -> Lock:
    return Lock(
        manager=environment.manager,
        files={name: files.get(name, "") for name in LOCK_ARTIFACTS},
        facts={"channels": [*descriptor.channels], "variables": descriptor.variables},
        python=environment.python,
        local=environment.local,
    )


def key(lock: Lock) -> dict[str, object]:
    return {
        "conda": lock.conda,
        "pylock": lock.pylock,
        "local": local_facts(lock),
        "variables": lock.facts["variables"],
        "platform": [sys.platform, os.uname().machine],
    }


def build(lock: Lock, dest: Path, log: Path) -> None:
    # Conda's programs, uv and byte code all write the prefix into files, and not all accept another one: the
    # environment is built at its final path, then renamed to the directory that the shelf asked for.
    final = temporary_target(dest)
    current = read_settings()
    try:
        _install(lock, final, current, log)
        if lock.pylock:
            pip_section.install_pip_section(lock.pylock, final, current.offline, log)
        install_local(lock, final / "bin" / "python", log, PIP_OPTIONS)
        state = {"version": 1, "env_vars": lock.facts["variables"]}
        write_atomically(final / STATE_FILE, msgspec.json.encode(state))
        final.rename(dest)
    finally:
        remove_tree(final)


def unhealthy(dest: Path) -> str | None:
    meta = dest / "conda-meta"
    if not meta.is_dir():
        return f"{meta} is gone"
    python = dest / "bin" / "python"
    has_python = any(re.match(r"python-\d", name) for name in os.listdir(meta))
    return f"its interpreter {python} is gone" if has_python and not python.exists() else None


class _Installed(msgspec.Struct):
    """The fields of a file in conda-meta that are read."""

    name: str
    version: str


def contents(dest: Path) -> tuple[Package, ...]:
    """Return the packages that conda and uv installed."""
    packages = {}
    for file in (dest / "conda-meta").glob("*.json"):
        package = msgspec.json.decode(file.read_bytes(), type=_Installed)
        packages[package.name] = Package(package.name, package.version)
    for info in dest.glob("lib/python*/site-packages/*.dist-info"):
        installer = info / "INSTALLER"
        if (
            installer.is_file() and installer.read_text().strip() == "uv"
        ):  # replaces conda's package of that name
            name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
            name = normal(name)
            packages[name] = Package(name, version, origin(info / "direct_url.json"))
    return tuple(package for _, package in sorted(packages.items()))


class _State(msgspec.Struct):
    env_vars: dict[str, str] = {}


def launch(dest: Path) -> Launch:
    """Return the launch. Runs the activation scripts: it is called once, and the result is kept."""
    state = msgspec.json.decode((dest / STATE_FILE).read_bytes(), type=_State)
    return activation.make_launch(dest, state.env_vars)


def _channels(written: Sequence[str], current: Settings, directory: Path) -> Channels:
    """Return the project's channels, then the user's unless the project says `nodefaults`, as conda does."""
    names = [name for name in written if name != NO_DEFAULTS]
    if NO_DEFAULTS not in written:
        names += current.channels
    return Channels(names, current, directory)


def _match_specs(descriptor: Descriptor) -> list[str]:
    """Return the match specs to solve; Python is added if pip packages or the default environment need it."""
    specs = list(descriptor.conda_specs)
    named = any(re.match(r"(\S+::)?python(?![\w.-])", spec) for spec in specs)
    if named or descriptor.conda_lock_file:
        return specs
    if descriptor.kind == "conda_env" and specs and not descriptor.dependencies:
        return specs
    python = descriptor.python or ("" if specs else f"{sys.version_info[0]}.{sys.version_info[1]}")
    if re.fullmatch(r"\d+(\.\d+)?", python):
        python = f"={python}"
    elif python[:1].isdigit():
        python = f"=={python}"
    return [*specs, f"python{python.replace(' ', '')}"]


def _read_project_lock(
    descriptor: Descriptor,
    specs: list[str],
    channels: Channels,
    current: Settings,
    directory: Path,
    log: Path,
) -> RattlerAnswer:
    file = directory / descriptor.conda_lock_file
    try:
        return run_rattler("read", channels, current, log, specs=specs, file=str(file))
    except BuildError as error:
        raise BuildError(f"{descriptor.conda_lock_file}: {error.message}", error.hint) from None


def _install(lock: Lock, prefix: Path, current: Settings, log: Path) -> None:
    channels = _channels(lock.facts["channels"], current, prefix)
    if program := activation.chosen_program():
        activation.create_with_program(
            program, _describe_packages(lock, channels, current, log), prefix, current.offline, log
        )
        return
    allowed = os.environ.get(LINK_SCRIPTS_VARIABLE, "") not in ("", "0")
    answer = run_rattler(
        "install", channels, current, log, lock=lock.conda, prefix=str(prefix), link_scripts=allowed
    )
    if answer.link_scripts:
        refuse_link_scripts(answer.link_scripts, f"do without it, or trust it: {LINK_SCRIPTS_VARIABLE}=1")


def install_for_image(lock: Lock, prefix: Path, final: str, subdir: str, log: Path) -> None:
    """Install conda's packages at `prefix` for use at the path `final` of an image."""
    current = msgspec.structs.replace(read_settings(), subdir=subdir)
    channels = _channels(lock.facts["channels"], current, prefix)
    answer = run_rattler("install", channels, current, log, lock=lock.conda, prefix=str(prefix), final=final)
    if answer.link_scripts:
        refuse_link_scripts(answer.link_scripts, "do without it, or use --env-manager conda")


def list_packages(lock: Lock, subdir: str, log: Path) -> tuple[CondaPackage, ...]:
    """Return the conda packages of `lock`."""
    current = msgspec.structs.replace(read_settings(), subdir=subdir)
    return _describe_packages(lock, _channels(lock.facts["channels"], current, Path.cwd()), current, log)


def refuse_link_scripts(names: Sequence[str], hint: str) -> NoReturn:
    problem = "wants to run a script of its own at installation, which can be any program"
    raise BuildError(f"{', '.join(names)}: {problem}", hint)


def _describe_packages(
    lock: Lock, channels: Channels, current: Settings, log: Path
) -> tuple[CondaPackage, ...]:
    return run_rattler("describe", channels, current, log, lock=lock.conda).packages
