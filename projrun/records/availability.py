"""Find the tree, the lock, the inputs and the variables of a recorded run, and tell which are missing."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from projrun.disk import Home
from projrun.environments import lock_digest, manager_named
from projrun.environments.lock_store import recorded_lock
from projrun.errors import ProjrunError
from projrun.inputs import measure_input
from projrun.plan import Checkout, Lock, PlannedInput
from projrun.record import Environment, Input, Record
from projrun.records.bundle_reader import PACKAGES, find_bundled_input
from projrun.records.stored_runs import StoredRun, restore_source


class Missing(NamedTuple):
    problem: str
    hint: str


def find_lock(stored_run: StoredRun, directory: Path, missing: list[Missing]) -> Lock | None:
    """Return the recorded lock; None where the run used the caller's own environment."""
    environment = stored_run.record.environment
    if environment is None or not manager_named(environment.manager).BUILDS:
        return None
    files = lock_files(stored_run, environment)
    if environment.lock_sha256 and lock_digest(files) != environment.lock_sha256:
        state = "not what was recorded" if any(files.values()) else "gone"
        problem = f"the lock of the environment is {state}"
        missing.append(Missing(problem, f"restore {' and '.join(files)} among the artifacts of the run"))
        return None
    try:
        descriptor = stored_run.record.plan.environment.descriptor
        lock = recorded_lock(environment, files, descriptor, directory)
        packages = stored_run.bundle / PACKAGES if stored_run.bundle else None
        return msgspec.structs.replace(lock, packages=str(packages)) if packages else lock
    except ProjrunError as error:
        missing.append(Missing(error.message, error.hint))
        return None


def lock_files(stored_run: StoredRun, environment: Environment) -> dict[str, str]:
    """Return the texts of the recorded lock by artifact; the text of a missing artifact is empty."""
    names = manager_named(environment.manager).LOCK_ARTIFACTS
    files = {name: stored_run.artifacts.file(name) for name in names}
    return {name: file.read_text() if file else "" for name, file in files.items()}


def find_source(
    stored_run: StoredRun, home: Home, stack: ExitStack, missing: list[Missing]
) -> Checkout | None:
    try:
        return restore_source(stored_run, home, stack)
    except ProjrunError as error:
        missing.append(Missing(f"the source cannot be had: {error.message}", error.hint or "see above"))
        return None


def find_inputs(stored_run: StoredRun, root: Path, missing: list[Missing]) -> dict[str, Path]:
    """Return the unchanged inputs by parameter: from the bundle, the restored tree, or their old place."""
    record = stored_run.record
    recorded = {measured.parameter: measured for measured in record.inputs}
    paths: dict[str, Path] = {}
    for planned in record.plan.inputs:
        before = recorded.get(planned.parameter)
        if before is None:
            continue
        bundled = find_bundled_input(stored_run.bundle, planned.parameter) if stored_run.bundle else None
        if bundled and is_unchanged(planned, bundled, before):
            paths[planned.parameter] = bundled
            continue
        if planned.remote:
            continue  # it will be downloaded again, and its digest checked
        restored = restored_path(Path(planned.path), record, root)
        candidates = [path for path in (restored, Path(planned.path)) if path is not None]
        file = next((path for path in candidates if is_unchanged(planned, path, before)), None)
        if file is None:
            state = "not what it was" if any(path.exists() for path in candidates) else "gone"
            problem = f"the input '{planned.parameter}' ({planned.value}) is {state}"
            digest = f" with sha256 {before.sha256[:16]}…" if before.sha256 else ""
            missing.append(Missing(problem, f"put {planned.path} back{digest}"))
        else:
            paths[planned.parameter] = file
    return paths


def restored_path(path: Path, record: Record, root: Path) -> Path | None:
    """Return where a path of the recorded tree is in the restored tree `root`; None if it was outside."""
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


def list_unset_variables(record: Record) -> list[Missing]:
    """List the variables that the user gave for the run and has not set now."""
    copied = record.plan.container.copied if record.plan.container else ()
    return [
        Missing(f"the variable {name} was given for the run, and no record has its value", f"set {name}")
        for name in dict.fromkeys((*record.plan.variables, *copied))
        if name not in os.environ
    ]
