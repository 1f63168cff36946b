"""Repeat a run from its record alone: with its tree, lock, inputs, values and variables."""

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
    find_inputs,
    find_lock,
    find_source,
    list_unset_variables,
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


class RepeatOptions(msgspec.Struct, frozen=True, kw_only=True):
    experiment_name: str = ""  # empty: the first run's
    run_name: str = ""
    variables: Mapping[str, str | None] = {}  # set on top of the recorded ones; None removes one
    elsewhere: bool = False  # use a directory of another name, deeper down, with blanks in it
    prefix: tuple[str, ...] = ()  # the words that start the command, such as `nice`
    tags: Mapping[str, str] = {}  # of the new run
    strict: bool = False  # refuse another patch version of Python


def reproduce(
    first: StoredRun, home: Home, options: RepeatOptions | None = None, tree_stack: ExitStack | None = None
) -> Record:
    """Start a new run with all that determined the first one. The project of today is not read.

    tree_stack: removes the tree of the new run, which otherwise ends with the run.
    Raises RecordError before anything runs if a part of the first run is missing, after naming each.
    """
    options = options or RepeatOptions()
    with (
        closing(settled_store(home, reclaim_stored)) as store,
        supervising(home, store) as supervision,
        ExitStack() as own,
    ):
        planned = _plan_again(first, home, tree_stack or own, options)
        run = Recorder(store, _identity(first, options), supervision.name).open(planned.plan)
        return perform(store, run, planned, home)


def _plan_again(first: StoredRun, home: Home, stack: ExitStack, options: RepeatOptions) -> Planned:
    """Return the plan of the recorded run in a tree of its own, which is removed with the stack."""
    record, missing = first.record, list[Missing]()
    checkout = find_source(first, home, stack, missing)
    if checkout and options.elsewhere:
        checkout = _move_away(checkout)
    lock = find_lock(first, checkout.directory, missing) if checkout else None
    if lock and options.strict and record.environment and lock.python != record.environment.python:
        problem = f"Python {record.environment.python} is not on this machine"
        missing.append(Missing(problem, "install it, or leave --strict out"))
    paths = find_inputs(first, checkout.root, missing) if checkout else {}
    missing += list_unset_variables(record)
    for part in missing:
        print_error(f"{part.problem}; {part.hint}")
    if missing or checkout is None:
        raise RecordError(f"run {record.run_id} cannot be done again", "see above what would help")
    artifact = record.closure.artifact if record.closure else ""
    captured = Captured(record.closure, first.artifacts.file(artifact) if artifact else None)
    planned = _planned(record, checkout, paths, lock, options.variables, home)
    return msgspec.structs.replace(planned, captured=captured, prefix=options.prefix)


def _identity(first: StoredRun, options: RepeatOptions) -> RunIdentity:
    identity = identify_record(first.record)
    return msgspec.structs.replace(
        identity,
        name=options.run_name,
        experiment_name=options.experiment_name,
        experiment_id=first.run.experiment_id if first.run and not options.experiment_name else "",
        tags={**identity.tags, **options.tags, REPRODUCES_TAG: first.record.run_id},
    )


def _move_away(checkout: Checkout) -> Checkout:
    """Move the tree deeper into the directory that is removed with the run."""
    root = checkout.root.parent / "another place" / "deeper" / f"{checkout.root.name} again"
    root.parent.mkdir(parents=True)
    checkout.root.rename(root)
    directory = root / checkout.directory.relative_to(checkout.root)
    return msgspec.structs.replace(checkout, root=root, directory=directory)


def _planned(
    record: Record,
    checkout: Checkout,
    paths: Mapping[str, Path],
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
        name: str(paths.get(name, value))
        for name, value in plan.parameters.items()
        if name in paths
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
    """Return the recorded options; volumes of the recorded tree are those of the restored tree."""
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


def make_baseline(file: Path, request: Request, home: Home, stack: ExitStack) -> StoredRun:
    """Run the project and write the run to `file`. Raises RecordError if the run failed."""
    request = msgspec.structs.replace(request, entry_point=request.entry_point or "main")
    stored_run = find_stored_run(run(request, home).run_id, home, stack)
    outcome = stored_run.record.outcome
    if outcome.status != "FINISHED":
        raise RecordError(
            f"the run {outcome.reason or outcome.status}: it is no baseline", "mend the project"
        )
    if file.suffix.lower() == ".zip":
        options = BundleOptions(source=False, inputs=False)  # a baseline is compared with, never run again
        for line in write_bundle(stored_run, file.absolute(), home, options):
            warn(line)
    else:
        try:
            write_atomically(file, to_json(stored_run.record))
        except OSError as error:
            raise RecordError(f"{file} cannot be written: {error.strerror}", "name another place") from None
    warn(f"there was no baseline: keep {file}, or nothing is ever verified")
    return stored_run


def run_against_baseline(
    file: Path, request: Request, home: Home, stack: ExitStack
) -> tuple[StoredRun, StoredRun]:
    """Return the run in `file`, and a new run of the project as it is now.

    Raises UsageError, before anything runs, if the request differs from that of the baseline.
    """
    first = find_stored_run(str(file), home, stack)
    _check_request(first.record, request, file)
    request = msgspec.structs.replace(
        request, entry_point=request.entry_point or first.record.plan.entry_point
    )
    return first, find_stored_run(run(request, home).run_id, home, stack)


def _check_request(record: Record, request: Request, file: Path) -> None:
    plan = record.plan
    requested = {"entry point": request.entry_point or plan.entry_point, **request.parameters}
    before = {"entry point": plan.entry_point, **plan.parameters}
    # A parameter of type path may name another file: inputs are compared by their digests
    for name in requested.keys() - {planned.parameter for planned in plan.inputs}:
        if requested[name] != before.get(name):
            made = f"was made with {name} {before[name]}" if name in before else f"was made without {name}"
            raise UsageError(
                f"the baseline {file} {made}, not with {requested[name]}",
                "ask the same, or name another file for another baseline",
            )
