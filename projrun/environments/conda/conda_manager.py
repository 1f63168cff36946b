"""The manager of conda environments: rattler solves and installs them, uv their pip section."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from projrun import environments
from projrun.console import one_line
from projrun.disk.file_operations import remove_tree, temporary_directory, temporary_target, write_atomically
from projrun.environments import interpreters
from projrun.environments.conda.condarc import Settings, read_settings
from projrun.environments.conda.lock_stamp import (
    explain_staleness,
    former_texts,
    project_lock,
    read_pip_lock,
    unfit_conda_lock,
)
from projrun.environments.conda.pypi_names import needs_conda
from projrun.environments.conda.rattler import (
    Channels,
    CondaPackage,
    pylock_of_packages,
    read_project_lock,
    run_rattler,
)
from projrun.environments.contents import normal, origin
from projrun.environments.local_requirements import install_local, local_facts
from projrun.environments.requirement_access import access_of
from projrun.environments.uv.configuration import resolution_settings
from projrun.environments.uv.program import run_uv
from projrun.environments.uv.resolution import compile_pylock, format_pylock, without_local
from projrun.errors import BuildError
from projrun.plan import (
    CONDA_LOCK_ARTIFACT,
    PYLOCK_ARTIFACT,
    Descriptor,
    Launch,
    LocalRequirement,
    Lock,
)
from projrun.processes.child import HELPER_VARIABLE
from projrun.processes.programs import run_program, run_with_progress
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
# Conda marks its Python as externally managed (PEP 668), but the project's own pip section is intended
PIP_OPTIONS = ("--break-system-packages",)
STATE_FILE = "conda-meta/state"  # the file in which conda keeps the variables of an environment
# Variable that names a program like conda, which installs instead of rattler
PROGRAM_VARIABLE = "PROJRUN_CONDA_EXE"
SCRIPTS_DIRECTORY = "etc/conda/activate.d"
SHELL_VARIABLES = {"_", "PWD", "OLDPWD", "SHLVL", "PATH", HELPER_VARIABLE}
_RUN = f'for script in "$CONDA_PREFIX"/{SCRIPTS_DIRECTORY}/*.sh; do . "$script"; done >&2; exec env -0'


class PreviousLock(msgspec.Struct, frozen=True):
    """An earlier lock, whose versions are kept where they still fit."""

    conda: str = ""
    pylock: str = ""
    change: tuple[str, ...] = ()  # names of packages that may change


NO_PREVIOUS_LOCK = PreviousLock()


class TargetPlatform(msgspec.Struct, frozen=True):
    """The platform to solve for, if it is not this machine's."""

    subdir: str = ""  # Conda's name of the platform, such as `linux-64`; empty for the user's
    glibc: str = ""  # version of glibc; empty for this machine's
    platform: str = ""  # uv's name of the platform; empty for this machine's


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
        answer = read_project_lock(descriptor.conda_lock_file, directory, specs, channels, current, log)
    else:
        more = {"lock": before.conda, "change": before.change, "glibc": target.glibc}
        answer = run_rattler("solve", channels, current, log, specs=specs, as_of=as_of, **more)
    python = next((package.version for package in answer.packages if package.name == "python"), "")
    notices: tuple[str, ...] = ()
    local: tuple[LocalRequirement, ...] = ()
    pylock = pylock_of_packages(answer.pypi)
    if descriptor.conda_lock_file and (problem := explain_staleness(descriptor, directory)):
        notices = (f"{problem}; update it: projrun lock",)
    if (document := read_pip_lock(descriptor, directory)) is not None:
        pylock, local = _split_local(document, descriptor, directory)
    elif not pylock and python:
        options = ["--python-version", python]
        options += ["--python-platform", target.platform] if target.platform else []
        options += ["--exclude-newer", as_of] if as_of else []
        options += [f"--upgrade-package={name}" for name in before.change]
        pylock, local, pip_notices = _lock_pip_section(
            descriptor, answer.packages, directory, log, options, before.pylock
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


def _lock_pip_section(
    descriptor: Descriptor,
    packages: Sequence[CondaPackage],
    directory: Path,
    log: Path,
    options: list[str],
    before: str,
) -> tuple[str, tuple[LocalRequirement, ...], tuple[str, ...]]:
    """Return the pylock.toml of the pip section ('' without one), its local requirements, and notices.

    uv resolves it before its Python exists: `options` name the version. The versions that conda installs are
    kept unless the pip section demands others, which replace them. before: an earlier pylock.toml.
    """
    lines = descriptor.dependencies
    if descriptor.kind != "conda_env":
        lines = (*descriptor.build_dependencies, *lines)
    if not lines:
        return "", (), ()
    running, _ = interpreters.choose("")
    options = ["--python", str(running.path), *options]
    installed = [f"{package.name}=={package.version}" for package in packages if _constrains_pip(package)]
    notices: tuple[str, ...] = ()
    access = access_of(descriptor, directory)
    try:
        document = compile_pylock(lines, (*descriptor.constraints, *installed), options, access, log, before)
    except BuildError:
        if not installed:
            raise
        document = compile_pylock(lines, descriptor.constraints, options, access, log, before)
        notices = ("the pip section does not fit the conda packages and replaces some of them",)
    return *_split_local(document, descriptor, directory), notices


def _split_local(
    document: dict[str, Any], descriptor: Descriptor, directory: Path
) -> tuple[str, tuple[LocalRequirement, ...]]:
    """Return the document as pylock.toml without its local requirements, and those."""
    document, local = without_local(document, descriptor, directory)
    return format_pylock(document), local


def _constrains_pip(package: CondaPackage) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        Version(package.version)
    except InvalidVersion:
        return False
    return package.python


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
            _install_pip_section(lock.pylock, final, current.offline, log)
        install_local(lock, final / "bin" / "python", log, PIP_OPTIONS)
        state = {"version": 1, "env_vars": lock.facts["variables"]}
        write_atomically(final / STATE_FILE, msgspec.json.encode(state))
        final.rename(dest)
    finally:
        remove_tree(final)


def _install_pip_section(pylock: str, prefix: Path, offline: bool, log: Path) -> None:
    with temporary_directory() as temporary:
        file = temporary / "pylock.toml"
        file.write_text(pylock)
        command = ["pip", "install", "--python", str(prefix / "bin" / "python"), *PIP_OPTIONS]
        run_uv([*command, *(["--offline"] if offline else []), "-r", str(file)], log)


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
        # A package of uv replaces conda's package of that name.
        if installer.is_file() and installer.read_text().strip() == "uv":
            name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
            packages[normal(name)] = Package(normal(name), version, origin(info / "direct_url.json"))
    return tuple(package for _, package in sorted(packages.items()))


class _State(msgspec.Struct):
    env_vars: dict[str, str] = {}


def launch(dest: Path) -> Launch:
    # The scripts of activate.d run once, when the environment is built, and the ready mark keeps what they
    # changed. So a warm start needs no shell, and gets none of the builder's own variables.
    state = msgspec.json.decode((dest / STATE_FILE).read_bytes(), type=_State)
    changes: dict[str, str | None] = {
        "CONDA_PREFIX": str(dest),
        "CONDA_DEFAULT_ENV": str(dest),
        "CONDA_SHLVL": "1",
        "CONDA_PROMPT_MODIFIER": None,
        "VIRTUAL_ENV": None,
        "PYTHONHOME": None,
        "__PYVENV_LAUNCHER__": None,
        **state.env_vars,
    }
    path = (str(dest / "bin"),)
    scripts = dest / SCRIPTS_DIRECTORY
    if not scripts.is_dir() or not any(scripts.glob("*.sh")):
        return Launch(variables=changes, path_entries=path)
    # The scripts see a plain environment, not the user's: the result is stored with the environment.
    before = {name: value for name, value in changes.items() if value is not None}
    before["PATH"] = os.pathsep.join((*path, os.defpath))
    for name in ("HOME", "LANG"):
        if name in os.environ:
            before[name] = os.environ[name]
    after = _run_scripts(before)
    changes |= dict.fromkeys(before.keys() - after.keys())
    for name, value in after.items():
        if before.get(name) != value and name not in SHELL_VARIABLES:
            changes[name] = value
    usual = {"", *os.defpath.split(os.pathsep)}
    added = dict.fromkeys(entry for entry in after.get("PATH", "").split(os.pathsep) if entry not in usual)
    return Launch(variables=changes, path_entries=tuple(added) or path)


def _run_scripts(before: dict[str, str]) -> dict[str, str]:
    """Return the variables after the scripts ran. A failing command in a script is ignored, as conda does."""
    answer = run_program(["bash", "--norc", "--noprofile", "-c", _RUN], environ=before)
    if not answer.ok:
        raise activation_error(answer.stderr)
    return parse_variables(answer.stdout)


def activation_error(stderr: str) -> BuildError:
    return BuildError(
        f"the activation scripts of the environment failed: {one_line(stderr)}",
        "leave out the package that they come from",
    )


def parse_variables(text: str) -> dict[str, str]:
    """Parse the output of `env -0`."""
    pairs = (entry.partition("=") for entry in text.split("\0") if "=" in entry)
    return {name: value for name, _, value in pairs}


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


def _install(lock: Lock, prefix: Path, current: Settings, log: Path) -> None:
    channels = _channels(lock.facts["channels"], current, prefix)
    if program := os.environ.get(PROGRAM_VARIABLE, ""):
        packages = _describe_packages(lock, channels, current, log)
        _create_with_program(program, packages, prefix, current.offline, log)
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
    current = msgspec.structs.replace(read_settings(), subdir=subdir)
    return _describe_packages(lock, _channels(lock.facts["channels"], current, Path.cwd()), current, log)


def refuse_link_scripts(names: Sequence[str], hint: str) -> NoReturn:
    problem = "wants to run a script of its own at installation, which can be any program"
    raise BuildError(f"{', '.join(names)}: {problem}", hint)


def _describe_packages(
    lock: Lock, channels: Channels, current: Settings, log: Path
) -> tuple[CondaPackage, ...]:
    return run_rattler("describe", channels, current, log, lock=lock.conda).packages


def _create_with_program(
    program: str, packages: Sequence[CondaPackage], prefix: Path, offline: bool, log: Path
) -> None:
    """Install exactly `packages` at `prefix`: an explicit list leaves the program nothing to solve."""
    with temporary_directory() as temporary:
        explicit = temporary / "explicit.txt"
        lines = ["@EXPLICIT", *(f"{package.url}#sha256:{package.sha256}" for package in packages)]
        explicit.write_text("\n".join(lines) + "\n")
        argv = [program, "create", "--yes", "--prefix", str(prefix), "--file", str(explicit)]
        code = run_with_progress([*argv, "--offline"] if offline else argv, log=log, cwd=temporary)
    if code != 0 or not (prefix / "conda-meta").is_dir():
        ended = f"exited with code {code}" if code else "made no environment"
        raise BuildError(
            f"{program} ({PROGRAM_VARIABLE}) {ended}",
            f"look at what it said in {log}, or unset {PROGRAM_VARIABLE}",
        )
