"""The stored locks: a descriptor is resolved once, and has the same lock from then on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from projrun.console import explain, say
from projrun.disk import Home
from projrun.disk.file_locks import hold_lock
from projrun.disk.file_operations import cache_key, sha256_file, write_atomically
from projrun.environments import EnvironmentManager, LockFiles, manager_named
from projrun.environments.local_requirements import local_metadata, locate_local
from projrun.environments.requirement_access import variable_digests, without_access
from projrun.errors import BuildError
from projrun.plan import (
    CONDA_LOCK_ARTIFACT,
    PYLOCK_ARTIFACT,
    Descriptor,
    Lock,
    PlannedEnvironment,
    Resolving,
)
from projrun.record import Environment

DIGESTS = "digests.json"  # file beside a stored lock with the digests of its local requirements' files


def lock_once(
    name: str,
    descriptor: Descriptor,
    directory: Path,
    home: Home,
    log: Path,
    resolving: Resolving = Resolving(),  # noqa: B008 - frozen
) -> Lock:
    """Return the descriptor's lock, resolved the first time and stored. Raises BuildError.

    name: of the environment manager. directory: the project's. log: gets what resolving prints.
    """
    manager = manager_named(name)
    path = _path(name, descriptor, directory, resolving.as_of, home)
    in_project = manager.find_lock(descriptor, directory)
    if resolving.locked and in_project and (problem := manager.staleness(descriptor, directory)):
        raise BuildError(f"--locked: {problem}", "update it: projrun lock")
    strict = descriptor.python if resolving.strict_python else ""
    if not resolving.upgrade and (lock := _read_lock(manager, path, strict)):
        explain(f"the lock is known: {path}")
        return _with_local(lock, path, directory, home)
    if resolving.locked and not in_project and _has_requirements(descriptor):
        raise BuildError(
            "--locked: there is no lock, neither in the project nor from an earlier run",
            "write one with `projrun lock`, or leave --locked out",
        )
    with hold_lock(path.parent.with_name(f"{path.parent.name}.lock"), waiting=_say_waiting):
        lock = None if resolving.upgrade else _read_lock(manager, path, strict)
        if lock is None:
            if strict:
                from projrun.environments import interpreters

                interpreters.refuse_another(strict, interpreters.choose(strict, log)[0].version_text)
            verb = "reading the lock" if in_project else "resolving the environment"
            say(f"{verb} of {in_project or descriptor.file or 'the project'}")
            lock = manager.lock(descriptor, directory, log, resolving.as_of)
            write_atomically(path, msgspec.json.encode(lock))
    return _with_local(lock, path, directory, home)


def stored_lock(environment: PlannedEnvironment, directory: Path, home: Home) -> Lock | None:
    """Return what the environment's descriptor was resolved to earlier; None when it was not."""
    name, as_of = environment.manager, environment.resolving.as_of
    path = _path(name, environment.descriptor, directory, as_of, home)
    lock = _read_lock(manager_named(name), path)
    return lock and _with_local(lock, path, directory, home)


def recorded_lock(
    environment: Environment, files: LockFiles, descriptor: Descriptor, directory: Path
) -> Lock:
    """Return the lock of a record. Raises ProjrunError when its Python or image cannot be had.

    directory: the project's, restored, which its local requirements lie in.
    """
    lock = manager_named(environment.manager).from_record(environment, files, descriptor)
    return locate_local(lock, directory, in_place=False)


def _has_requirements(descriptor: Descriptor) -> bool:
    return bool(descriptor.dependencies or descriptor.build_dependencies or descriptor.conda_dependencies)


def _path(name: str, descriptor: Descriptor, directory: Path, as_of: str, home: Home) -> Path:
    return home.locks / cache_key(_facts(name, descriptor, directory, as_of)) / "lock.json"


def _with_local(lock: Lock, path: Path, directory: Path, home: Home) -> Lock:
    in_place = not directory.is_relative_to(home.cache)
    return locate_local(lock, directory, in_place, path.with_name(DIGESTS))


def _facts(name: str, descriptor: Descriptor, directory: Path, as_of: str) -> dict[str, object]:
    """Return all that a resolution depends on."""
    descriptor = without_access(descriptor)
    return {
        "manager": name,
        "descriptor": msgspec.to_builtins(msgspec.structs.replace(descriptor, file="", passed_over=())),
        "lock file": sha256_file(directory / descriptor.lock_file) if descriptor.lock_file else "",
        "local": local_metadata(descriptor, directory),
        "as of": as_of,
        "default python": "" if descriptor.python else list(sys.version_info[:2]),
        "platform": [sys.platform, os.uname().machine],
        "variables": variable_digests(descriptor),
        # Managers without such settings have these too: a lock that was stored before keeps its name.
        "index": {},
        "project settings": {},
        "conda": {},
        **manager_named(name).settings(descriptor, directory),
    }


def decode_lock(text: bytes) -> Lock:
    """Read a stored lock of this version or the one before. Raises msgspec.MsgspecError."""
    try:
        return msgspec.json.decode(text, type=Lock)
    except msgspec.ValidationError:
        # projrun 0.1.0 stored locks with a field for everything that any manager needed.
        former = msgspec.json.decode(text, type=dict[str, Any])
    files, facts = {PYLOCK_ARTIFACT: former.get("pylock")}, {}
    if former.get("conda"):
        files[CONDA_LOCK_ARTIFACT] = former["conda"]
        facts = {"channels": former.get("channels", []), "variables": former.get("variables", {})}
    if former.get("image"):
        facts |= {name: former.get(name, "") for name in ("image", "platform", "tag")}
    return msgspec.convert({**former, "files": files, "facts": facts}, Lock)


def _read_lock(manager: EnvironmentManager, path: Path, python: str = "") -> Lock | None:
    """Return the stored lock; None when there is none, it cannot be read, or it does not hold any more.

    python: if it is an exact version, the lock must be for that one.
    """
    try:
        lock = decode_lock(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None
    is_exact = python.count(".") == 2 and python.replace(".", "").isdigit()
    if lock.interpreter and is_exact and lock.python != python:
        return None
    return lock if manager.holds(lock, path) else None


def _say_waiting() -> None:
    say("another projrun is resolving this environment; waiting for it")
