"""A descriptor resolved by uv to a pylock.toml with hashes, or the lock that the project brings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from projrun.console import warn
from projrun.disk.file_operations import cache_key, temporary_directory
from projrun.documents import toml_file
from projrun.environments import LockRequest, ProjectLock, interpreters
from projrun.environments.conda.pypi_names import add_conda_hint, translate_to_pypi
from projrun.environments.contents import normal
from projrun.environments.local_requirements import local_paths
from projrun.environments.package_files import files_of
from projrun.environments.requirement_access import (
    access_of,
    is_find_links,
    redact_document,
    with_paths,
    without_access,
    without_git_passwords,
)
from projrun.environments.user_settings import read_user_settings
from projrun.environments.uv.program import run_uv
from projrun.errors import BuildError, UsageError
from projrun.plan import PYLOCK_ARTIFACT, Access, Descriptor, LocalRequirement, Lock


def descriptor_digest(descriptor: Descriptor) -> str:
    """Return the digest of what a lock depends on in the descriptor: with another one it is stale."""
    descriptor = without_access(descriptor)
    inputs = [descriptor.python, descriptor.build_dependencies, descriptor.dependencies]
    return cache_key({"wanted": [*inputs, descriptor.constraints, descriptor.conda_dependencies]})


def staleness(document: dict[str, Any], descriptor: Descriptor) -> str:
    """Return why a lock does not fit its descriptor, in one line, or ''.

    projrun writes the digest of the descriptor into its locks; of others it compares the direct requirements.
    """
    if descriptor.kind == "pylock":
        return ""
    lock = descriptor.lock_file
    made_from = document.get("tool", {}).get("projrun", {}).get("descriptor")
    if made_from:
        return "" if made_from == descriptor_digest(descriptor) else f"{lock} is older than {descriptor.file}"
    faults = ", ".join(_list_differences(document, descriptor))
    return f"{lock} does not fit {descriptor.file}: {faults}" if faults else ""


def _list_differences(document: dict[str, Any], descriptor: Descriptor) -> Iterator[str]:
    from packaging.requirements import InvalidRequirement, Requirement

    locked: dict[str, set[str]] = {}
    for package in document.get("packages", ()):
        locked.setdefault(normal(package["name"]), set()).add(package.get("version", ""))
    try:
        conda = translate_to_pypi(descriptor).requirements
    except BuildError:
        conda = ()  # packages that no such lock can hold
    for line in (*descriptor.build_dependencies, *conda, *descriptor.dependencies):
        try:
            requirement = Requirement(line.partition(" --hash")[0])
        except InvalidRequirement:
            continue  # an option or a path: it has no name to look for
        if requirement.marker and not requirement.marker.evaluate():
            continue
        name, specifier = requirement.name, requirement.specifier
        versions = locked.get(normal(name))
        if versions is None:
            yield f"{name} is not in it"
        elif not any(not version or specifier.contains(version, prereleases=True) for version in versions):
            yield f"it has {name} {', '.join(sorted(versions))}, not {specifier}"


COMPILE = ["pip", "compile", "--no-header", "--no-annotate", "--format", "pylock.toml"]
_HASH = re.compile(r"--hash[= ]sha256:([0-9a-f]{64})")


def resolve(manager: str, descriptor: Descriptor, directory: Path, log: Path, as_of: str = "") -> Lock:
    """Return the lock of `descriptor` for one interpreter of this machine. Raises BuildError."""
    python, notice = interpreters.choose(descriptor.python, log)
    notices = [notice] if notice else []
    target = ["--python", str(python.path)]
    document = resolve_document(descriptor, directory, log, target, as_of, notices)
    document, local = without_local(document, descriptor, directory)
    return Lock(
        manager=manager,
        python=python.version_text,
        interpreter=str(python.path),
        files={PYLOCK_ARTIFACT: format_pylock(document)},
        local=local,
        notices=tuple(notices),
    )


def resolve_document(
    descriptor: Descriptor, directory: Path, log: Path, target: list[str], as_of: str, notices: list[str]
) -> dict[str, Any]:
    """Return the project's own lock, or what uv resolves, as a PEP 751 document with absolute local paths.

    target: options of uv for the interpreter or platform. notices: gets what the user must be told.
    """
    if descriptor.lock_file:
        return _read_project_lock(descriptor, directory, log, notices)
    requirements, conda_notices = collect_requirements(descriptor)
    notices += conda_notices
    if not requirements:
        notices.append("the project names no packages: its environment is empty")
        return {}
    options = [*target, *(["--exclude-newer", as_of] if as_of else [])]
    access = access_of(descriptor, directory)
    try:
        document = compile_pylock(requirements, descriptor.constraints, options, access, log)
    except BuildError as error:
        raise add_conda_hint(error, descriptor) from None
    keep_hashes(document, requirements)
    return document


def format_pylock(document: dict[str, Any]) -> str:
    """Return a pylock.toml without credentials; empty when there is nothing to install."""
    if not document.get("packages"):
        return ""
    return toml_file.dump(redact_document(document))


def collect_requirements(descriptor: Descriptor) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return all requirements to resolve, as pip writes them, and notices for the user."""
    conda = translate_to_pypi(descriptor)
    return (*descriptor.build_dependencies, *conda.requirements, *descriptor.dependencies), conda.notices


def compile_pylock(
    requirements: tuple[str, ...],
    constraints: tuple[str, ...],
    options: list[str],
    access: Access,
    log: Path,
    before: str = "",
) -> dict[str, Any]:
    """Resolve to a PEP 751 document, local paths absolute. before: a lock whose versions are kept."""
    user = read_user_settings()
    options = [*options, *user.compile_options(), *(["--no-index"] if user.no_index() else [])]
    with temporary_directory() as temporary:
        file, bounds = temporary / "requirements.txt", temporary / "constraints.txt"
        pylock = temporary / "pylock.toml"
        # Those of --find-links reach uv in a variable, with absolute paths.
        lines = (line for line in without_git_passwords(requirements) if not is_find_links(line))
        file.write_text("\n".join(lines) + "\n")
        if constraints:
            bounds.write_text("\n".join(without_git_passwords(constraints)) + "\n")
            options = [*options, "-c", str(bounds)]
        if before:
            pylock.write_text(before)
        run_uv(
            [*COMPILE, *options, "-o", str(pylock), str(file)],
            log,
            cwd=access.directory,
            access=access,
            purpose="resolve",
            user=user,
        )
        return _with_absolute_paths(redact_document(toml_file.load(pylock, "pylock.toml"), access), temporary)


def _with_absolute_paths(document: dict[str, Any], base: Path) -> dict[str, Any]:
    return with_paths(document, lambda path: os.path.normpath(base.resolve() / path))


def _with_relative_paths(document: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Make paths below the project's directory relative to it."""
    from urllib.parse import unquote

    here = directory.resolve()
    for package in document.get("packages", ()):
        for file in (*package.get("wheels", ()), *filter(None, [package.get("sdist")])):
            path = unquote(file.get("url", "").removeprefix("file://"))
            if path.startswith("/") and Path(path).is_relative_to(here):
                del file["url"]
                file["path"] = path

    def relative(path: str) -> str:
        return os.path.relpath(path, here) if Path(path).is_relative_to(here) else path

    return with_paths(document, relative)


def without_local(
    document: dict[str, Any], descriptor: Descriptor, directory: Path
) -> tuple[dict[str, Any], tuple[LocalRequirement, ...]]:
    """Return the document without the packages that lie on this machine, and these."""
    local, rest = [], []
    as_written = set(local_paths(descriptor))
    for package in document.get("packages", ()):
        source = package.get("directory") or package.get("archive") or {}
        if "path" not in source:
            rest.append(package)
            continue
        editable = bool(source.get("editable", False))
        path = source["path"]
        if os.path.isabs(path) and path not in as_written:
            path = os.path.relpath(path, directory.resolve())
        local.append(LocalRequirement(name=package["name"], path=path, editable=editable))
    return _with_relative_paths({**document, "packages": rest}, directory), tuple(local)


def with_local(document: dict[str, Any], local: tuple[LocalRequirement, ...]) -> dict[str, Any]:
    """Return the document with the project's local requirements. Raises BuildError for a wheel."""
    packages = list(document.get("packages", ()))
    for requirement in local:
        path = requirement.path
        if path.endswith(".whl"):
            raise BuildError(
                f"the wheel '{path}' cannot be in a lock for other machines", "name a released package"
            )
        directory = {"path": path, "editable": requirement.editable}
        packages.append({"name": requirement.name, "directory": directory})
    return {**document, "packages": packages}


def keep_hashes(document: dict[str, Any], requirements: tuple[str, ...]) -> None:
    """Drop the artifacts that hashes in the requirements exclude. Raises BuildError when none is left."""
    for line in requirements:
        allowed = set(_HASH.findall(line))
        name = normal(re.split(r"[^\w.-]", line)[0])
        for package in document["packages"] if allowed else ():
            if normal(package["name"]) == name:
                _keep_files(package, allowed)


def _keep_files(package: dict[str, Any], allowed: set[str]) -> None:
    wheels = [wheel for wheel in package.pop("wheels", ()) if wheel["hashes"].get("sha256") in allowed]
    if wheels:
        package["wheels"] = wheels
    if package.get("sdist", {}).get("hashes", {}).get("sha256") not in allowed:
        package.pop("sdist", None)
    if not wheels and "sdist" not in package:
        raise BuildError(
            f"no file of {package['name']} {package.get('version', '')} has a hash that is asked for",
            "the index offers other files than when they were written: compare, and write the hashes anew",
        )


def _read_project_lock(
    descriptor: Descriptor, directory: Path, log: Path, notices: list[str]
) -> dict[str, Any]:
    if descriptor.lock_file.endswith(".lock"):
        return _export_uv_lock(descriptor, directory, log)
    document = check_pylock(
        toml_file.load(directory / descriptor.lock_file, descriptor.lock_file), descriptor
    )
    if problem := staleness(document, descriptor):
        notices.append(f"{problem}; update it: projrun lock")
    # Paths in a lock are relative to it (PEP 751), and ours to the project's directory.
    base = os.path.dirname(descriptor.lock_file)
    return with_paths(document, lambda path: os.path.normpath(os.path.join(base, path)))


def _export_uv_lock(descriptor: Descriptor, directory: Path, log: Path) -> dict[str, Any]:
    """Export uv.lock. uv itself refuses one that no longer fits its descriptor."""
    script = ["--script", descriptor.file] if descriptor.kind == "script" else []
    # Projects are run from their sources, which change with every save, and are not installed.
    own = script or ["--no-emit-project"]
    with temporary_directory() as temporary:
        pylock = temporary / "pylock.toml"
        options = ["--quiet", "--locked", "--no-default-groups", "--no-header", *own]
        run_uv(
            ["export", *options, "--format", "pylock.toml", "-o", str(pylock)],
            log,
            cwd=directory,
            access=Access(directory=directory),
            purpose="export",
            hint=f"update {descriptor.lock_file} with `{' '.join(['uv lock', *script])}`, then run it again",
        )
        return _with_absolute_paths(toml_file.load(pylock, "pylock.toml"), temporary)


def check_pylock(document: dict[str, Any], descriptor: Descriptor) -> dict[str, Any]:
    """Return the document if it is a PEP 751 lock with a hash for every file. Raises BuildError."""
    file = descriptor.lock_file
    packages = document.get("packages", [])
    if not str(document.get("lock-version", "")).startswith("1.") or not isinstance(packages, list):
        raise BuildError(f"{file} is not a lock of PEP 751", "write one with `projrun lock`")
    for package in packages:
        if any(not file.get("hashes") for file in files_of(package) if "path" not in file):
            raise BuildError(
                f"{file}: a file of {package.get('name')} has no hash", "write the lock anew: projrun lock"
            )
    return document


def new_lock(request: LockRequest) -> ProjectLock:
    descriptor, directory, log = request.descriptor, request.directory, request.log
    _refuse_without_requirements(descriptor)
    path = directory / request.name
    requirements, notices = collect_requirements(descriptor)
    for notice in notices:
        warn(notice)
    python, _ = interpreters.choose(descriptor.python, log)
    options = ["--universal", "--python", str(python.path)]
    options += ["--exclude-newer", request.as_of] if request.as_of else []
    options += [f"--upgrade-package={name}" for name in request.packages]
    before = path.read_text() if path.is_file() and not request.upgrade else ""
    access = access_of(descriptor, directory)
    try:
        document = compile_pylock(requirements, descriptor.constraints, options, access, log, before)
    except BuildError as error:
        raise add_conda_hint(error, descriptor) from None
    keep_hashes(document, requirements)
    document, local = without_local(document, descriptor, directory)
    document = with_paths(
        with_local(document, local), lambda file: os.path.relpath(directory / file, path.parent)
    )
    document["tool"] = {"projrun": {"descriptor": descriptor_digest(descriptor), "file": descriptor.file}}
    summary = f"{request.name} locks {len(document['packages'])} packages of {descriptor.file}"
    return ProjectLock(files={request.name: toml_file.dump(document)}, summary=summary)


def unfit(request: LockRequest) -> str:
    _refuse_without_requirements(request.descriptor)
    name, path = request.name, request.directory / request.name
    if not path.is_file():
        return f"there is no {name}"
    descriptor = msgspec.structs.replace(request.descriptor, lock_file=name)
    return staleness(check_pylock(toml_file.load(path, name), descriptor), descriptor)


def _refuse_without_requirements(descriptor: Descriptor) -> None:
    if descriptor.kind in ("none", "pylock"):
        raise UsageError("the project has nothing to lock", "write a python_env.yaml with its dependencies")
