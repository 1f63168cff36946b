"""Tree, lock, inputs and variables of a recorded run, found again where they are available."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from projrun.bundle_layout import PACKAGES
from projrun.disk import Home
from projrun.environments import lock_digest, manager_named
from projrun.environments.lock_store import recorded_lock
from projrun.errors import ProjrunError
from projrun.inputs import measure_input
from projrun.plan import Checkout, Lock, PlannedInput
from projrun.record import Environment, Input, Record
from projrun.records.bundle_reader import find_bundled_input
from projrun.records.stored_runs import StoredRun, restore_source


class Missing(NamedTuple):
    """A part of a recorded run that is not available now."""

    what: str
    help: str


def find_lock(found: StoredRun, directory: Path, missing: list[Missing]) -> Lock | None:
    """Return the recorded lock; None where the run used the caller's own environment."""
    environment = found.record.environment
    if environment is None or not manager_named(environment.manager).BUILDS:
        return None
    files = lock_files(found, environment)
    if environment.lock_sha256 and lock_digest(files) != environment.lock_sha256:
        state = "not what was recorded" if any(files.values()) else "gone"
        what = f"the lock of the environment is {state}"
        missing.append(Missing(what, f"restore {' and '.join(files)} among the artifacts of the run"))
        return None
    try:
        descriptor = found.record.plan.environment.descriptor
        lock = recorded_lock(environment, files, descriptor, directory)
        packages = found.bundle / PACKAGES if found.bundle else None
        return msgspec.structs.replace(lock, packages=str(packages)) if packages else lock
    except ProjrunError as error:
        missing.append(Missing(error.message, error.hint))
        return None


def lock_files(found: StoredRun, environment: Environment) -> dict[str, str]:
    """Return the texts of the recorded lock, by artifact; empty where one is gone."""
    files = ((name, found.artifacts.file(name)) for name in manager_named(environment.manager).LOCK_ARTIFACTS)
    return {name: file.read_text() if file else "" for name, file in files}


def find_source(found: StoredRun, home: Home, stack: ExitStack, missing: list[Missing]) -> Checkout | None:
    try:
        return restore_source(found, home, stack)
    except ProjrunError as error:
        missing.append(Missing(f"the source cannot be had: {error.message}", error.hint or "see above"))
        return None


def find_inputs(found: StoredRun, root: Path, missing: list[Missing]) -> dict[str, Path]:
    """Return parameter -> path of its file now: in the bundle, in the restored tree, or where it was."""
    record = found.record
    read = {measured.parameter: measured for measured in record.inputs}
    paths: dict[str, Path] = {}
    for planned in record.plan.inputs:
        before = read.get(planned.parameter)
        if before is None:
            continue
        carried = find_bundled_input(found.bundle, planned.parameter) if found.bundle else None
        if carried and is_unchanged(planned, carried, before):
            paths[planned.parameter] = carried
            continue
        if planned.remote:
            continue
        here = restored_path(Path(planned.path), record, root)
        candidates = [path for path in (here, Path(planned.path)) if path is not None]
        file = next((path for path in candidates if is_unchanged(planned, path, before)), None)
        if file is None:
            state = "not what it was" if any(path.exists() for path in candidates) else "gone"
            what = f"the input '{planned.parameter}' ({planned.value}) is {state}"
            digest = f" with sha256 {before.sha256[:16]}…" if before.sha256 else ""
            missing.append(Missing(what, f"put {planned.path} back{digest}"))
        else:
            paths[planned.parameter] = file
    return paths


def restored_path(path: Path, record: Record, root: Path) -> Path | None:
    """Return the path in the restored tree for one in the recorded tree; None for one outside of it."""
    if not record.root or not path.is_relative_to(record.root):
        return None
    return root / path.relative_to(record.root)


def is_unchanged(planned: PlannedInput, path: Path, before: Input) -> bool:
    if not path.exists():
        return False
    try:
        now = measure_input(msgspec.structs.replace(planned, path=str(path)))
    except ProjrunError:
        return False
    return (now.sha256, now.size, now.files) == (before.sha256, before.size, before.files)


def absent_variables(record: Record) -> list[Missing]:
    """List unset variables that the user gave for the run: no record has their values."""
    return [
        Missing(f"the variable {name} was given for the run, and no record has its value", f"set {name}")
        for name in dict.fromkeys((*record.plan.variables, *_copied(record)))
        if name not in os.environ
    ]


def _copied(record: Record) -> tuple[str, ...]:
    return record.plan.container.copied if record.plan.container else ()
