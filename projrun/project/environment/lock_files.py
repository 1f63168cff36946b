"""Find the lock in the project that belongs to a descriptor; read requirements.txt if there is no descriptor.

`pylock.toml` beside a descriptor of one of the usual names is its lock; that of `NAME.yaml` or a script
`NAME.py` is `pylock.NAME.toml`. A lock that says it was made from another file does not count.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import msgspec

from projrun.plan import Descriptor
from projrun.project.environment.requirements import Requirements
from projrun.project.mlproject import Project

PYPROJECT = "pyproject.toml"
REQUIREMENTS = "requirements.txt"
PYLOCK = "pylock.toml"
UV_LOCK = "uv.lock"

_OTHER_LOCKS = ("poetry.lock", "pdm.lock")
_IN_ORDER = ("python_env.yaml", "conda.yaml", PYPROJECT, REQUIREMENTS, PYLOCK, UV_LOCK)
_USUAL = ("python_env", "conda", "pyproject", "requirements", "pylock", "")
_MADE_FROM = re.compile(rb'^(?:projrun = \{[^}]*|)file = "([^"\n]+)"', re.MULTILINE)


def add_locks(project: Project) -> Project:
    """Add the requirements file or lock of the project to its descriptor. Raises ProjectError."""
    directory, descriptor, warnings = project.directory, project.descriptor, project.warnings
    if descriptor.kind == "docker_env" or project.environment_fault:
        return project
    if descriptor.kind == "none" and (directory / REQUIREMENTS).is_file():
        requirements = Requirements(directory)
        requirements.add([f"-r {REQUIREMENTS}"], directory, REQUIREMENTS)
        descriptor = Descriptor(
            kind="requirements",
            file=REQUIREMENTS,
            dependencies=tuple(requirements.lines),
            constraints=tuple(requirements.constraints),
        )
    if descriptor.kind == "none" and (directory / PYLOCK).is_file():
        descriptor = Descriptor(kind="pylock", file=PYLOCK, lock_file=PYLOCK)
    else:
        lock, foreign = find_lock_file(descriptor, directory)
        descriptor = msgspec.structs.replace(descriptor, lock_file=lock)
        warnings += foreign
    if descriptor.kind == "pyproject" and not descriptor.lock_file:
        warnings += tuple(
            f"{other} is not read: projrun resolves {PYPROJECT} itself"
            for other in _OTHER_LOCKS
            if (directory / other).is_file()
        )
    used = (descriptor.file, descriptor.lock_file)
    passed_over = tuple(
        file
        for file in _IN_ORDER
        if file not in used and (directory / file).is_file() and not _includes(directory, descriptor, file)
    )
    descriptor = msgspec.structs.replace(descriptor, passed_over=passed_over)
    return msgspec.structs.replace(project, descriptor=descriptor, warnings=warnings)


def lock_name(descriptor: Descriptor) -> str:
    """Return the path of the descriptor's lock, beside it and relative to the project's directory."""
    file = PurePosixPath(descriptor.file)
    stem = file.stem.replace(".", "-")
    return str(file.with_name(PYLOCK if stem in _USUAL else f"pylock.{stem}.toml"))


def find_lock_file(descriptor: Descriptor, directory: Path) -> tuple[str, tuple[str, ...]]:
    """Return the descriptor's lock, relative to `directory`, or ''; and warnings."""
    if not descriptor.file:
        return "", ()
    own, warnings = lock_name(descriptor), []
    candidates = dict.fromkeys((own, str(PurePosixPath(own).with_name(PYLOCK)), PYLOCK))
    for lock in candidates if descriptor.kind != "script" else (own,):
        if not (directory / lock).is_file():
            continue
        made_from = _made_from(directory / lock)
        beside = PurePosixPath(lock).parent == PurePosixPath(own).parent
        if made_from == descriptor.file or (beside and not made_from):
            return lock, ()
        warnings.append(f"{lock} does not count: it was made from {made_from or 'something else'}")
    uv_lock = f"{descriptor.file}.lock" if descriptor.kind == "script" else UV_LOCK
    if descriptor.kind in ("script", "pyproject") and (directory / uv_lock).is_file():
        return uv_lock, ()
    return "", tuple(warnings)


def _made_from(lock: Path) -> str:
    """Return the descriptor that a lock of projrun names, or ''."""
    # The lock is searched as text: parsing a large one takes longer than a warm start
    match = _MADE_FROM.search(lock.read_bytes())
    return match[1].decode(errors="replace") if match else ""


def _includes(directory: Path, descriptor: Descriptor, file: str) -> bool:
    """Return True if the descriptor's file names the other one, as `-r requirements.txt` does."""
    if not descriptor.file or file != REQUIREMENTS:
        return False
    return file in (directory / descriptor.file).read_text(encoding="utf-8", errors="replace")
