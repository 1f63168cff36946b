"""The pylock.toml that `projrun lock` writes beside a descriptor, for every platform."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from projrun.console import warn
from projrun.documents import toml_file
from projrun.environments import LockRequest, ProjectLock
from projrun.environments.conda.pypi_names import add_conda_hint
from projrun.environments.interpreters import choice
from projrun.environments.requirement_access import access_of, with_paths
from projrun.environments.uv.resolution import (
    checked,
    compiled,
    descriptor_digest,
    keep_hashes,
    requirements_of,
    staleness,
    with_local,
    without_local,
)
from projrun.errors import BuildError, UsageError
from projrun.plan import Descriptor


def new_lock(request: LockRequest) -> ProjectLock:
    descriptor, directory, log = request.descriptor, request.directory, request.log
    _refuse_without_requirements(descriptor)
    path = directory / request.name
    requirements, notices = requirements_of(descriptor)
    for notice in notices:
        warn(notice)
    python, _ = choice.choose(descriptor.python, log)
    options = ["--universal", "--python", str(python.path)]
    options += ["--exclude-newer", request.as_of] if request.as_of else []
    options += [f"--upgrade-package={name}" for name in request.packages]
    before = path.read_text() if path.is_file() and not request.upgrade else ""
    access = access_of(descriptor, directory)
    try:
        document = compiled(requirements, descriptor.constraints, options, access, log, before)
    except BuildError as error:
        raise add_conda_hint(error, descriptor) from None
    keep_hashes(document, requirements)
    document, local = without_local(document, descriptor, directory)
    document = with_paths(with_local(document, local), lambda file: _relative(directory / file, path))
    document["tool"] = {"projrun": {"descriptor": descriptor_digest(descriptor), "file": descriptor.file}}
    summary = f"{request.name} locks {len(document['packages'])} packages of {descriptor.file}"
    return ProjectLock(files={request.name: toml_file.dump(document)}, summary=summary)


def unfit(request: LockRequest) -> str:
    _refuse_without_requirements(request.descriptor)
    name, path = request.name, request.directory / request.name
    if not path.is_file():
        return f"there is no {name}"
    descriptor = msgspec.structs.replace(request.descriptor, lock_file=name)
    return staleness(checked(toml_file.load(path, name), descriptor), descriptor)


def _refuse_without_requirements(descriptor: Descriptor) -> None:
    if descriptor.kind in ("none", "pylock"):
        raise UsageError("the project has nothing to lock", "write a python_env.yaml with its dependencies")


def _relative(file: Path, lock: Path) -> str:
    return os.path.relpath(os.path.abspath(file), os.path.abspath(lock.parent))
