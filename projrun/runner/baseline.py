"""A run in a file that later runs of the same project are compared with."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import msgspec

from projrun.errors import RecordError, UsageError
from projrun.files import write_atomically
from projrun.home import Home
from projrun.output import warn
from projrun.record import Record, to_json
from projrun.request import Request
from projrun.runner import run
from projrun.runner.bundling import Wanted, bundle
from projrun.runner.finding import Found, find


def make(file: Path, request: Request, home: Home, stack: ExitStack) -> Found:
    """Run the project and write its run to `file`. Raises RecordError for one that failed."""
    request = msgspec.structs.replace(request, entry_point=request.entry_point or "main")
    found = find(run(request, home).run_id, home, stack)
    outcome = found.record.outcome
    if outcome.status != "FINISHED":
        raise RecordError(
            f"the run {outcome.reason or outcome.status}: it is no baseline", "mend the project"
        )
    if file.suffix.lower() == ".zip":
        for line in bundle(found, file.absolute(), home, Wanted(source=False, inputs=False)):
            warn(line)
    else:
        try:
            write_atomically(file, to_json(found.record))
        except OSError as error:
            raise RecordError(f"{file} cannot be written: {error.strerror}", "name another place") from None
    warn(f"there was no baseline: keep {file}, or nothing is ever verified")
    return found


def against(file: Path, request: Request, home: Home, stack: ExitStack) -> tuple[Found, Found]:
    """The run in `file`, and a new one of the project as it is now. Raises UsageError before it runs."""
    first = find(str(file), home, stack)
    _check(first.record, request, file)
    request = msgspec.structs.replace(
        request, entry_point=request.entry_point or first.record.plan.entry_point
    )
    return first, find(run(request, home).run_id, home, stack)


def _check(record: Record, request: Request, file: Path) -> None:
    """Other questions have other answers. What a path names is compared by its digest, wherever it lies."""
    plan = record.plan
    asked = {"entry point": request.entry_point or plan.entry_point, **request.parameters}
    before = {"entry point": plan.entry_point, **plan.parameters}
    for name in asked.keys() - {one.parameter for one in plan.inputs}:
        if asked[name] != before.get(name):
            made = f"was made with {name} {before[name]}" if name in before else f"was made without {name}"
            raise UsageError(
                f"the baseline {file} {made}, not with {asked[name]}",
                "ask the same, or name another file for another baseline",
            )
