"""The shelf of locks: the same descriptor resolves once, and the same from then on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from projrun.console import explain, say
from projrun.disk import Home
from projrun.disk.file_locks import hold_lock
from projrun.disk.file_operations import cache_key, sha256_file, sha256_text, write_atomically
from projrun.environments import EnvironmentManager, lock_in_project
from projrun.environments.local_requirements import at_hand, local_metadata
from projrun.environments.requirement_access import variable_digests, without_access
from projrun.errors import BuildError, ProjrunError
from projrun.net import without_secrets
from projrun.plan import Descriptor, Lock, PlannedEnvironment, Resolving
from projrun.record import Environment

_FILES_IN_VARIABLES = ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_BUILD_CONSTRAINT")
"""Their values are names of files, whose content counts."""

RESOLVE_ONCE = Resolving()
DIGESTS = "digests.json"
"""Beside a lock: of the files of its local requirements."""


def lock_once(
    manager: EnvironmentManager,
    name: str,
    descriptor: Descriptor,
    directory: Path,
    home: Home,
    log: Path,
    resolving: Resolving = RESOLVE_ONCE,
) -> Lock:
    """The lock of this descriptor: resolved the first time, the same from then on. Raises BuildError."""
    place = _place(name, descriptor, directory, resolving.as_of, home)
    in_project = lock_in_project(name, descriptor)
    if resolving.locked and in_project:
        refuse_stale(name, descriptor, directory)
    strict = descriptor.python if resolving.strict_python else ""
    if not resolving.upgrade and (lock := _read_lock(place, strict)):
        explain(f"the lock is known: {place}")
        return _at_hand(lock, place, directory, home)
    if resolving.locked and not in_project and has_requirements(descriptor):
        raise BuildError(
            "--locked: there is no lock, neither in the project nor from an earlier run",
            "write one with `projrun lock`, or leave --locked out",
        )
    with hold_lock(place.parent.with_name(f"{place.parent.name}.lock"), waiting=_waiting):
        lock = None if resolving.upgrade else _read_lock(place, strict)
        if lock is None:
            if strict:
                from projrun.environments.interpreters import choice

                choice.refuse_another(strict, choice.choose(strict, log)[0].version_text)
            verb = "reading the lock" if in_project else "resolving the environment"
            say(f"{verb} of {in_project or descriptor.file or 'the project'}")
            lock = manager.lock(descriptor, directory, log, resolving.as_of)
            if lock.kept:
                write_atomically(place, msgspec.json.encode(lock))
    return _at_hand(lock, place, directory, home)


def recorded_lock(
    environment: Environment, descriptor: Descriptor, conda: str, pylock: str, directory: Path
) -> Lock:
    """The lock that a record tells of. Raises ProjrunError where its Python or image cannot be had.

    directory: the project's, restored.
    """
    lock = Lock(
        manager=environment.manager,
        python=environment.python,
        interpreter="",
        pylock=pylock,
        local=environment.local,
        conda=conda,
        channels=descriptor.channels if conda else (),
        variables=descriptor.variables if conda else {},
        image=environment.image,
        platform=environment.platform,
    )
    if environment.image:
        from projrun.environments.docker import docker_manager
        from projrun.environments.docker.image_build import require_image

        require_image(lock, cache_key(docker_manager.key(lock)))
    of_its_own = conda or environment.image
    return at_hand(lock if of_its_own else _with_interpreter(lock), directory, in_place=False)


def _with_interpreter(lock: Lock) -> Lock:
    from projrun.environments.interpreters import choice

    interpreter, notice = choice.choose(lock.python)
    return msgspec.structs.replace(
        lock,
        python=interpreter.version_text,
        interpreter=str(interpreter.path),
        notices=(notice,) if notice else (),
    )


def refuse_stale(manager: str, descriptor: Descriptor, directory: Path) -> None:
    """Of uv's own locks, uv itself says whether they are stale."""
    if lock_in_project(manager, descriptor) == descriptor.conda_lock_file:
        from projrun.environments.conda.lock_stamp import explain_staleness as staleness_of_conda

        if problem := staleness_of_conda(descriptor, directory):
            raise BuildError(f"--locked: {problem}", "update it: projrun lock")
        return
    from projrun.documents import toml_file
    from projrun.environments.uv.resolution import staleness

    name = descriptor.lock_file
    if name.endswith(".lock"):
        return
    if problem := staleness(toml_file.load(directory / name, name), descriptor):
        raise BuildError(f"--locked: {problem}", "update it: projrun lock")


def has_requirements(descriptor: Descriptor) -> bool:
    return bool(descriptor.dependencies or descriptor.build_dependencies or descriptor.conda_dependencies)


def kept_lock(wanted: PlannedEnvironment, directory: Path, home: Home) -> Lock | None:
    """What this environment's descriptor was resolved to, if it was."""
    place = _place(wanted.manager, wanted.descriptor, directory, wanted.resolving.as_of, home)
    lock = _read_lock(place)
    return lock and _at_hand(lock, place, directory, home)


def _place(manager: str, descriptor: Descriptor, directory: Path, as_of: str, home: Home) -> Path:
    return home.locks / cache_key(_lock_facts(manager, descriptor, directory, as_of)) / "lock.json"


def _at_hand(lock: Lock, place: Path, directory: Path, home: Home) -> Lock:
    in_place = not directory.is_relative_to(home.cache)
    return at_hand(lock, directory, in_place, place.with_name(DIGESTS))


def _lock_facts(manager: str, descriptor: Descriptor, directory: Path, as_of: str) -> dict[str, object]:
    """All that a resolution depends on. Index settings count without the credentials in them."""
    descriptor = without_access(descriptor)
    by_conda = manager == "conda" or (manager == "docker" and descriptor.kind == "conda_env")
    return {
        "manager": manager,
        "descriptor": msgspec.to_builtins(msgspec.structs.replace(descriptor, file="", passed_over=())),
        "lock file": sha256_file(directory / descriptor.lock_file) if descriptor.lock_file else "",
        "local": local_metadata(descriptor, directory),
        "as of": as_of,
        "default python": "" if descriptor.python else list(sys.version_info[:2]),
        "platform": [sys.platform, os.uname().machine],
        "variables": variable_digests(descriptor),
        "index": {} if descriptor.kind == "docker_env" else _index_facts(),
        "project settings": {} if descriptor.kind == "docker_env" else _project_settings(directory),
        "conda": _conda_settings() if by_conda else {},
    }


def _conda_settings() -> dict[str, object]:
    from projrun.environments.conda.condarc import read_settings

    return read_settings().facts()


def _index_facts() -> dict[str, object]:
    """The settings of the user that uv resolves with, whoever they were written for."""
    from projrun.environments import pip_settings
    from projrun.environments.installer_settings import IN_KEY, variables_of
    from projrun.environments.uv.configuration import users_text

    settings = variables_of({**pip_settings.for_uv(), **os.environ}, IN_KEY)
    files = {
        path: sha256_file(Path(path))
        for name in _FILES_IN_VARIABLES
        for path in settings.get(name, "").split()
        if os.path.isfile(path)
    }
    return {
        **{name: without_secrets(value) for name, value in settings.items()},
        "files": files,
        "packages": pip_settings.packages_for_compile(),
        "uv.toml": sha256_text(users_text(IN_KEY)),
        "no index": pip_settings.no_index(),
    }


def _project_settings(directory: Path) -> dict[str, str]:
    """What the project itself tells uv, which looks into its directory when it resolves."""
    found: dict[str, str] = {}
    for name in ("uv.toml", "pyproject.toml"):
        try:
            text = (directory / name).read_text(errors="replace")
        except OSError:
            continue
        if name == "uv.toml":
            found[name] = sha256_text(without_secrets(text))
        elif "tool.uv" in text:
            found[name] = sha256_text(without_secrets(_table_of_uv(text, name)))
    return found


def _table_of_uv(text: str, name: str) -> str:
    """`[tool.uv]` alone: what else changes in the file is no matter of uv's."""
    from projrun.documents import toml_file

    try:
        tool = toml_file.parse(text, name).get("tool")
    except ProjrunError:  # uv does not read it either
        return ""
    return repr(tool.get("uv")) if isinstance(tool, dict) else ""


def _read_lock(place: Path, python: str = "") -> Lock | None:
    """The kept lock, unless there is none, it cannot be read, or its interpreter or image is gone.

    python: if it is an exact version, the lock must be for that one.
    """
    try:
        lock = msgspec.json.decode(place.read_bytes(), type=Lock)
    except (OSError, msgspec.MsgspecError):
        return None
    if lock.tag and not _still_means(lock.tag, lock.image):
        return None
    if not lock.interpreter:
        return lock
    if python.count(".") == 2 and python.replace(".", "").isdigit() and lock.python != python:
        return None
    return None if _another_python(lock, place) else lock


def _another_python(lock: Lock, place: Path) -> bool:
    """Whether the interpreter of a kept lock is gone, or was upgraded in its place since."""
    try:
        changed = os.stat(lock.interpreter).st_ctime_ns > place.stat().st_mtime_ns
    except OSError:
        return True
    if not changed:
        return False
    from projrun.environments.interpreters import version_at

    version = version_at(Path(lock.interpreter))
    if version in (lock.python, ""):
        return not version
    say(f"{lock.interpreter} was Python {lock.python} and is {version} now")
    return True


def _still_means(tag: str, image: str) -> bool:
    from projrun import engine

    facts = engine.inspect_image(tag)
    return facts is not None and str(facts["Id"]).endswith(image.removeprefix("sha256:"))


def _waiting() -> None:
    say("another projrun is resolving this environment; waiting for it")
