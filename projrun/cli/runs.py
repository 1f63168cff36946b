"""projrun runs"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from projrun.cli.finding import find, opened_store
from projrun.cli.runcontrol import logs, stop, wait

if TYPE_CHECKING:
    from projrun.tracking import Store
    from projrun.tracking.entities import Run


@click.group()
def runs() -> None:
    """List and show runs and their output, wait for them and stop them.

    A run may be named by the beginning of its id.
    """


for command in (logs, wait, stop):
    runs.add_command(command)


@runs.command("list")
@click.option("--experiment-name", default="", metavar="NAME", help="Only runs of this experiment.")
@click.option("-n", "--max-results", default=100, show_default=True, help="How many, newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array in MLflow's words.")
def list_(experiment_name: str, max_results: int, as_json: bool) -> None:
    """List runs, newest first."""
    from projrun.output import data

    with opened_store() as store:
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

    with opened_store() as store:
        run = find(store, run_id)
        if as_json:
            data(_json({**_as_dict(run), "record": _record(store, run)}))
        else:
            data(_description(store, run))


def _experiment_ids(store: Store, name: str) -> list[str]:
    from projrun.errors import TrackingError

    if not name:
        return []
    experiment = store.get_experiment_by_name(name)
    if experiment is None:
        raise TrackingError(f"there is no experiment '{name}'", "see `projrun runs list` without it")
    return [experiment.experiment_id]


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

    record = _record(store, run) or {}
    facts = [
        ("run", run.run_id),
        ("name", run.run_name),
        ("experiment", store.get_experiment(run.experiment_id).name),
        ("status", run.status),
        ("started", _local_time(run.start_time)),
        ("seconds", _seconds(run)),
        *_usage(record),
        ("artifacts", run.artifact_uri),
    ]
    sections = {
        "": facts,
        "parameters": sorted(run.params.items()),
        "inputs": _inputs(record),
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


def _usage(record: dict[str, Any]) -> list[tuple[str, str]]:
    usage = (record.get("outcome") or {}).get("usage")
    if not usage:
        return []
    return [
        ("cpu seconds", f"{usage['cpu_s']:.1f}"),
        ("peak memory", f"{usage['peak_memory_bytes'] / 2**20:.0f} MiB"),
    ]


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
