"""Do a run again from its record alone: its tree, its lock, its inputs, its values, its variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec

from projrun.backends import reclaim_stored
from projrun.console import print_error, warn
from projrun.console.masking import hide_values
from projrun.disk import Home
from projrun.disk.file_operations import write_atomically
from projrun.errors import ProjrunError, RecordError, UsageError
from projrun.inputs import storage_for
from projrun.plan import Checkout, Descriptor, Lock, Plan, PlannedContainer
from projrun.project import environment_of, read_project
from projrun.project.command import render_command
from projrun.project.mlproject import EntryPoint, Project
from projrun.record import Record, to_json
from projrun.records.availability import (
    Missing,
    absent_variables,
    find_inputs,
    find_lock,
    find_source,
    restored_path,
)
from projrun.records.bundle_writer import BundleOptions, write_bundle
from projrun.records.stored_runs import StoredRun, find_stored_run
from projrun.request import Request
from projrun.runner.observer import can_change_results
from projrun.runner.planner import Planned
from projrun.runner.run import perform, run
from projrun.sources.closure import Captured
from projrun.tracking.entities import REPRODUCES_TAG
from projrun.tracking.recorder import Recorder, RunIdentity, identify_record
from projrun.tracking.supervision import settled_store, supervising


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """The user's options for a run that is done again."""

    experiment_name: str = ""  # empty: the first run's
    run_name: str = ""
    variables: Mapping[str, str | None] = {}  # on top of the recorded ones
    elsewhere: bool = False  # in a directory of another name, deeper down, with blanks in it
    prefix: tuple[str, ...] = ()  # what the command is started by, such as `nice`
    tags: Mapping[str, str] = {}  # of the new run
    strict: bool = False  # the exact Python or nothing


def reproduce(
    found: StoredRun, home: Home, again: Again | None = None, staying: ExitStack | None = None
) -> Record:
    """Start a new run with all that determined the first one. The project of today is not looked at.

    staying: keeps the tree that it ran in, to look at what it made there; else that goes with the run.
    Raises RecordError before anything runs when something cannot be had, after saying what.
    """
    again = again or Again()
    with (
        closing(settled_store(home, reclaim_stored)) as store,
        supervising(home, store) as supervision,
        ExitStack() as own,
    ):
        planned = prepare(found, home, staying or own, again)
        run = Recorder(store, _identity(found, again), supervision.name).open(planned.plan)
        return perform(store, run, planned, home)


def prepare(found: StoredRun, home: Home, stack: ExitStack, again: Again) -> Planned:
    """Return the plan of the recorded run in a tree of its own, which goes with the stack."""
    record, missing = found.record, list[Missing]()
    checkout = find_source(found, home, stack, missing)
    if checkout and again.elsewhere:
        checkout = _moved_away(checkout)
    lock = find_lock(found, checkout.directory, missing) if checkout else None
    if lock and again.strict and record.environment and lock.python != record.environment.python:
        problem = f"Python {record.environment.python} is not on this machine"
        missing.append(Missing(problem, "install it, or leave --strict out"))
    places = find_inputs(found, checkout.root, missing) if checkout else {}
    missing += absent_variables(record)
    for lack in missing:
        print_error(f"{lack.what}; {lack.help}")
    if missing or checkout is None:
        raise RecordError(f"run {record.run_id} cannot be done again", "see above what would help")
    artifact = record.closure.artifact if record.closure else ""
    captured = Captured(record.closure, found.artifacts.file(artifact) if artifact else None)
    planned = _planned(record, checkout, places, lock, again.variables, home)
    return msgspec.structs.replace(planned, captured=captured, prefix=again.prefix)


def _identity(found: StoredRun, again: Again) -> RunIdentity:
    identity = identify_record(found.record)
    return msgspec.structs.replace(
        identity,
        name=again.run_name,
        experiment_name=again.experiment_name,
        experiment_id=found.run.experiment_id if found.run and not again.experiment_name else "",
        tags={**identity.tags, **again.tags, REPRODUCES_TAG: found.record.run_id},
    )


# the plan


def _moved_away(checkout: Checkout) -> Checkout:
    """Move the tree further down in the directory that goes with the run."""
    root = checkout.root.parent / "another place" / "deeper" / f"{checkout.root.name} again"
    root.parent.mkdir(parents=True)
    checkout.root.rename(root)
    directory = root / checkout.directory.relative_to(checkout.root)
    return msgspec.structs.replace(checkout, root=root, directory=directory)


def _planned(
    record: Record,
    checkout: Checkout,
    places: Mapping[str, Path],
    lock: Lock | None,
    variables: Mapping[str, str | None],
    home: Home,
) -> Planned:
    plan = record.plan
    project = read_project(checkout.directory)
    entry_point = project.entry_point(plan.entry_point)
    storage = storage_for("", home)
    caller = _caller(record, checkout)
    given = {
        name: str(places.get(name, value))
        for name, value in plan.parameters.items()
        if name in places
        or name not in entry_point.parameters
        or value != entry_point.parameters[name].default
    }
    rendered = render_command(entry_point, given, caller=caller, storage=storage.directory)
    values = {planned.parameter: planned.value for planned in plan.inputs}
    renewed = msgspec.structs.replace(
        plan,
        command=rendered.command,
        container=_container(record, checkout.root),
        inputs=tuple(
            msgspec.structs.replace(planned, value=values.get(planned.parameter, planned.value))
            for planned in rendered.inputs
        ),
    )
    return Planned(
        plan=renewed,
        checkout=checkout,
        storage=storage,
        caller=caller,
        descriptor=_descriptor(plan, project, entry_point),
        lock=lock,
        urls=rendered.urls,
        variables={**_variables(record), **variables},
        expected={measured.parameter: measured for measured in record.inputs},
    )


def _descriptor(plan: Plan, project: Project, entry_point: EntryPoint) -> Descriptor:
    """Return the recorded descriptor, with the credentials that its file holds now."""
    from projrun.environments.requirement_access import access_of, with_urls

    recorded = plan.environment.descriptor
    try:
        descriptor, _ = environment_of(project, entry_point)
    except ProjrunError:
        return recorded
    return with_urls(recorded, access_of(descriptor, project.directory))


def _container(record: Record, root: Path) -> PlannedContainer | None:
    """Return the recorded options, with the volumes of the recorded tree from the restored one."""
    container = record.plan.container
    if container is None:
        return None
    pairs = [volume.partition(":") for volume in container.volumes]
    volumes = (
        f"{restored_path(Path(source), record, root) or source}{colon}{rest}" for source, colon, rest in pairs
    )
    return msgspec.structs.replace(container, volumes=tuple(volumes))


def _caller(record: Record, checkout: Checkout) -> Path:
    """Return the caller's directory in the restored tree, or an empty one where it was outside the tree."""
    restored = restored_path(Path(record.caller), record, checkout.root)
    caller = restored or checkout.root.with_name("caller")
    caller.mkdir(parents=True, exist_ok=True)
    return caller


def _variables(record: Record) -> dict[str, str | None]:
    """Return the recorded variables, unset those of their kind that were not set, and add today's secrets."""
    present = {name: None for name in os.environ if can_change_results(name)}
    given = {name: os.environ[name] for name in record.plan.variables}
    hide_values(given.values())
    return {**present, **record.platform.variables, **given}


def make(file: Path, request: Request, home: Home, stack: ExitStack) -> StoredRun:
    """Run the project and write its run to `file`. Raises RecordError for one that failed."""
    request = msgspec.structs.replace(request, entry_point=request.entry_point or "main")
    repetition = find_stored_run(run(request, home).run_id, home, stack)
    outcome = repetition.record.outcome
    if outcome.status != "FINISHED":
        raise RecordError(
            f"the run {outcome.reason or outcome.status}: it is no baseline", "mend the project"
        )
    if file.suffix.lower() == ".zip":
        for line in write_bundle(
            repetition, file.absolute(), home, BundleOptions(source=False, inputs=False)
        ):
            warn(line)
    else:
        try:
            write_atomically(file, to_json(repetition.record))
        except OSError as error:
            raise RecordError(f"{file} cannot be written: {error.strerror}", "name another place") from None
    warn(f"there was no baseline: keep {file}, or nothing is ever verified")
    return repetition


def against(file: Path, request: Request, home: Home, stack: ExitStack) -> tuple[StoredRun, StoredRun]:
    """The run in `file`, and a new one of the project as it is now. Raises UsageError before it runs."""
    first = find_stored_run(str(file), home, stack)
    _check(first.record, request, file)
    request = msgspec.structs.replace(
        request, entry_point=request.entry_point or first.record.plan.entry_point
    )
    return first, find_stored_run(run(request, home).run_id, home, stack)


def _check(record: Record, request: Request, file: Path) -> None:
    """Other questions have other answers. What a path names is compared by its digest, wherever it lies."""
    plan = record.plan
    asked = {"entry point": request.entry_point or plan.entry_point, **request.parameters}
    before = {"entry point": plan.entry_point, **plan.parameters}
    for name in asked.keys() - {planned.parameter for planned in plan.inputs}:
        if asked[name] != before.get(name):
            made = f"was made with {name} {before[name]}" if name in before else f"was made without {name}"
            raise UsageError(
                f"the baseline {file} {made}, not with {asked[name]}",
                "ask the same, or name another file for another baseline",
            )
