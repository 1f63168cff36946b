"""projrun runs"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from projrun.tracking import Store
    from projrun.tracking.entities import Run


@click.group()
def runs() -> None:
    """List and show runs and their output.

    A run may be named by the beginning of its id.
    """


@runs.command("list")
@click.option("--experiment-name", default="", metavar="NAME", help="Only runs of this experiment.")
@click.option("-n", "--max-results", default=100, show_default=True, help="How many, newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array in MLflow's words.")
def list_(experiment_name: str, max_results: int, as_json: bool) -> None:
    """List runs, newest first."""
    from projrun.output import data

    with _store() as store:
        found, _ = store.search_runs(_experiment_ids(store, experiment_name), max_results=max_results)
        if as_json:
            data(_json([_as_dict(run) for run in found]))
        else:
            data(_table(found))


@runs.command()
@click.argument("run_id")
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON object in MLflow's words, with the record."
)
def show(run_id: str, as_json: bool) -> None:
    """Show one run: its state, parameters, metrics, tags and artifacts."""
    from projrun.output import data

    with _store() as store:
        run = _find(store, run_id)
        if as_json:
            data(_json({**_as_dict(run), "record": _record(store, run)}))
        else:
            data(_description(store, run))


@runs.command()
@click.argument("run_id")
def logs(run_id: str) -> None:
    """Print what a run wrote to its stdout and stderr."""
    import shutil
    import sys

    from projrun.errors import TrackingError
    from projrun.record import ENVIRONMENT_LOG_ARTIFACT, OUTPUT_ARTIFACT

    with _store() as store:
        run = _find(store, run_id)
        for artifact in (OUTPUT_ARTIFACT, ENVIRONMENT_LOG_ARTIFACT):
            try:
                with store.open_artifact(run.run_id, artifact) as log:
                    shutil.copyfileobj(log, sys.stdout.buffer)
                return
            except TrackingError:
                continue  # it never started: what building its environment said is its output
    from projrun.output import say

    say(f"run {run.run_id} has written nothing")


@runs.command()
@click.argument("run_id")
def path(run_id: str) -> None:
    """Print the directory that a run's project is in: a local one, or a checkout kept with `run --keep`."""
    import os

    from projrun.errors import TrackingError
    from projrun.output import data
    from projrun.tracking.tags import DIRECTORY

    with _store() as store:
        run = _find(store, run_id)
    directory = run.tags.get(DIRECTORY, "")
    if not directory:
        raise TrackingError(f"run {run.run_id[:8]} has no project directory", "only runs of projrun have one")
    if not os.path.isdir(directory):
        raise TrackingError(
            f"{directory}, where run {run.run_id[:8]} found its project, is gone",
            "run it again, with --keep if its project is in Git",
        )
    data(directory)


@contextmanager
def _store() -> Iterator[Store]:
    """The store of runs, with the runs of dead supervisors settled."""
    from contextlib import closing

    from projrun.home import home_from
    from projrun.tracking.supervision import settled_store

    with closing(settled_store(home_from())) as store:
        yield store


def _experiment_ids(store: Store, name: str) -> list[str]:
    from projrun.errors import TrackingError

    if not name:
        return []
    experiment = store.get_experiment_by_name(name)
    if experiment is None:
        raise TrackingError(f"there is no experiment '{name}'", "see `projrun runs list` without it")
    return [experiment.experiment_id]


def _find(store: Store, run_id: str) -> Run:
    """The one run whose id begins with `run_id`."""
    import re

    from projrun.errors import TrackingError

    if not re.fullmatch(r"[0-9a-f]{1,32}", run_id):
        raise TrackingError(f"'{run_id}' is not a run id", "see `projrun runs list`")
    found, _ = store.search_runs([], f"attributes.run_id LIKE '{run_id}%'", max_results=2)
    if not found:
        raise TrackingError(f"there is no run '{run_id}'", "see `projrun runs list`")
    if len(found) > 1:
        raise TrackingError(f"more than one run begins with '{run_id}'", "give more of its id")
    return found[0]


def _as_dict(run: Run) -> dict[str, Any]:
    """A run in MLflow's words; times in milliseconds since the epoch."""
    from projrun.tracking.tags import EXIT_CODE

    exit_code = run.tags.get(EXIT_CODE, "")
    return {
        "run_id": run.run_id,
        "experiment_id": run.experiment_id,
        "run_name": run.run_name,
        "status": run.status,
        "start_time": run.start_time,
        "end_time": run.end_time,
        "exit_code": int(exit_code) if exit_code else None,
        "params": run.params,
        "tags": run.tags,
        "metrics": {key: _number(metric.value) for key, metric in run.metrics.items()},
        "artifact_uri": run.artifact_uri,
    }


def _number(value: float) -> float | str:
    """JSON has no NaN and no infinity: they travel as text, as in MLflow's REST API."""
    import math

    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


def _json(value: object) -> str:
    import json

    return json.dumps(value, indent=2, ensure_ascii=False)


def _record(store: Store, run: Run) -> Any:
    import json

    from projrun.errors import TrackingError
    from projrun.record import RECORD_ARTIFACT

    try:
        with store.open_artifact(run.run_id, RECORD_ARTIFACT) as file:
            return json.load(file)
    except (TrackingError, ValueError):
        return None  # it is still running, or no run of ours


def _table(found: list[Run]) -> str:
    from projrun.output import one_line, table
    from projrun.tracking.tags import EXIT_CODE

    header = ("RUN", "STATUS", "EXIT", "STARTED", "SECONDS", "PROJECT", "ENTRY POINT", "NAME")
    rows = [
        (
            run.run_id[:8],
            run.status,
            run.tags.get(EXIT_CODE, ""),
            _local_time(run.start_time),
            _seconds(run),
            one_line(run.tags.get("projrun.project", ""), 30),
            one_line(run.tags.get("mlflow.project.entryPoint", ""), 30),
            one_line(run.run_name, 30),
        )
        for run in found
    ]
    return table(header, rows)


def _description(store: Store, run: Run) -> str:
    """Everything about a run, for people."""
    from projrun.output import one_line, table

    facts = [
        ("run", run.run_id),
        ("name", run.run_name),
        ("experiment", store.get_experiment(run.experiment_id).name),
        ("status", run.status),
        ("started", _local_time(run.start_time)),
        ("seconds", _seconds(run)),
        ("artifacts", run.artifact_uri),
    ]
    sections = {
        "": facts,
        "parameters": sorted(run.params.items()),
        "inputs": _inputs(_record(store, run) or {}),
        "metrics": [(key, f"{metric.value:g}") for key, metric in sorted(run.metrics.items())],
        "tags": sorted(run.tags.items()),
        "artifacts": [(path, f"{size} bytes") for path, size in _files(store, run, "")],
    }
    parts = []
    for title, rows in sections.items():
        if rows:
            body = table(("", ""), [("  " * bool(title) + one_line(a), one_line(b)) for a, b in rows])
            parts.append(f"{title}:{body}" if title else body.lstrip("\n"))
    return "\n".join(parts)


def _inputs(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (one["parameter"], f"{one['size']} bytes, sha256 {one['sha256'][:16]}, {one['value']}")
        for one in record.get("inputs", ())
    ]


def _files(store: Store, run: Run, directory: str) -> Iterator[tuple[str, int]]:
    for info in store.list_artifacts(run.run_id, directory):
        if info.is_dir:
            yield from _files(store, run, info.path)
        else:
            yield info.path, info.file_size or 0


def _local_time(milliseconds: int) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(milliseconds / 1000))


def _seconds(run: Run) -> str:
    return "" if run.end_time is None else f"{(run.end_time - run.start_time) / 1000:.1f}"
