"""Runs as tables and CSV."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from projrun.console import one_line
from projrun.console.tables import format_table
from projrun.errors import TrackingError
from projrun.tracking import Store
from projrun.tracking.entities import (
    ENTRY_POINT_TAG,
    EXIT_CODE_TAG,
    PARENT_RUN_ID_TAG,
    PROJECT_TAG,
    SOURCE_NAME_TAG,
    Run,
)

if TYPE_CHECKING:
    from projrun.tracking import Store


HEADER = ("RUN", "STATUS", "EXIT", "STARTED", "SECONDS", "PROJECT", "ENTRY POINT", "NAME", "METRICS")
METRICS_SHOWN = 3
DEEPEST = 5  # number of levels of parent runs that are searched for the project of a run


def table_of(store: Store, runs: Sequence[Run]) -> str:
    """Return a table with a row for each run; it has a column METRICS if a run has metrics."""
    projects = _projects(store, runs)
    columns = len(HEADER) - (not any(run.metrics for run in runs))
    rows = [
        (
            run.run_id[:8],
            run.status,
            run.tags.get(EXIT_CODE_TAG, ""),
            local_time(run.start_time),
            seconds(run),
            one_line(projects[run.run_id]),
            one_line(_entry_point(run)),
            one_line(run.run_name),
            _metrics(run),
        )[:columns]
        for run in runs
    ]
    unbroken, dispensable = ("RUN", "STATUS", "STARTED"), ("EXIT", "ENTRY POINT", "METRICS")
    return format_table(HEADER[:columns], rows, states="STATUS", uncut=unbroken, optional=dispensable)


def _projects(store: Store, runs: Sequence[Run]) -> dict[str, str]:
    """Return the project of each run by its id. A nested run has its parent's project."""
    known = {run.run_id: run for run in runs}
    for _ in range(DEEPEST):
        above = {_parent(run) for run in known.values() if PROJECT_TAG not in run.tags}
        if not (missing := above - known.keys() - {""}):
            break
        ids = ", ".join(f"'{run_id}'" for run_id in sorted(missing))
        with suppress(TrackingError):  # old servers cannot search for ids
            parents, _ = store.search_runs([], f"attributes.run_id IN ({ids})", run_view_type="ALL")
            known |= {run.run_id: run for run in parents}
    return {run.run_id: _project(run, known) for run in runs}


def _project(run: Run, known: dict[str, Run]) -> str:
    for _ in range(DEEPEST):
        if PROJECT_TAG in run.tags or _parent(run) not in known:
            break
        run = known[_parent(run)]
    return run.tags.get(PROJECT_TAG, "")


def _parent(run: Run) -> str:
    parent = run.tags.get(PARENT_RUN_ID_TAG, "")
    return parent if parent.isalnum() else ""


def _entry_point(run: Run) -> str:
    """Return the entry point; for a run that a client made, the name of the file that made it."""
    return run.tags.get(ENTRY_POINT_TAG) or PurePosixPath(run.tags.get(SOURCE_NAME_TAG, "")).name


def _metrics(run: Run) -> str:
    """Return the first metrics by name; `runs show` has all."""
    shown = [f"{one_line(key, 30)}={run.metrics[key].value:g}" for key in sorted(run.metrics)]
    return " ".join([*shown[:METRICS_SHOWN], *["…"][: len(shown) > METRICS_SHOWN]])


def local_time(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(milliseconds / 1000))


def seconds(run: Run) -> str:
    return "" if run.end_time is None else f"{(run.end_time - run.start_time) / 1000:.1f}"


GROUPS = ("metrics", "params", "tags")


def csv_of(runs: Sequence[dict[str, Any]]) -> str:
    """Return the runs, in the shape of `runs list --json`, as CSV."""
    plain = [key for key in (runs[0] if runs else {"run_id": ""}) if key not in GROUPS]
    keys = {group: sorted({key for run in runs for key in run[group]}) for group in GROUPS}
    add_options = [(group, key) for group in GROUPS for key in keys[group]]
    head = [*plain, *(f"{group}.{key}" for group, key in add_options)]
    return rows_as_csv(
        [
            head,
            *(
                [*(run[key] for key in plain), *(run[group].get(key) for group, key in add_options)]
                for run in runs
            ),
        ]
    )


def rows_as_csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().rstrip("\n")


@contextmanager
def opened_store() -> Iterator[Store]:
    """Open the store of runs, and settle the runs of dead supervisors."""
    from contextlib import closing

    from projrun.backends import reclaim_stored
    from projrun.disk import home_from
    from projrun.tracking.supervision import settled_store

    with closing(settled_store(home_from(), reclaim_stored)) as store:
        yield store
