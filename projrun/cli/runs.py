"""projrun runs"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pathlib import Path

    from projrun.tracking import Store
    from projrun.tracking.entities import Run


@click.group()
def runs() -> None:
    """List and show runs, their output and their source.

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
    from projrun.tracking.lookup import find_run

    with _store() as store:
        run = find_run(store, run_id)
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
    from projrun.tracking.lookup import find_run

    with _store() as store:
        run = find_run(store, run_id)
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
@click.option(
    "-o", "--output", required=True, metavar="DIR", help="Where to put it: a new or an empty directory."
)
def source(run_id: str, output: str) -> None:
    """Give the source of a run back: the files that it started from, byte for byte.

    What the run did not keep itself is fetched from the Git remote that the record names.
    """
    from contextlib import ExitStack
    from pathlib import Path

    from projrun.home import home_from
    from projrun.output import say
    from projrun.runner.finding import find, restored

    target = Path(output).absolute()
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise click.UsageError(f"-o {output}: there is something already; name a new directory.")
    with ExitStack() as stack:
        found = find(run_id, home_from(), stack)
        files = _give_back(restored(found, home_from(), stack).root, target)
    say(f"{files} files of run {found.record.run_id[:8]} are in {output}")


def _give_back(root: Path, target: Path) -> int:
    """Put the tree at `target`, whole or not at all; how many files it has."""
    import os
    import shutil

    from projrun.files import beside

    with beside(target) as temporary:  # Git's own part borrows its objects from the cache, which may go
        shutil.copytree(root, temporary, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        os.replace(temporary, target)
    return sum(len(names) for _, _, names in os.walk(target))


@runs.command()
@click.argument("run_id")
def path(run_id: str) -> None:
    """Print the directory that a run's project is in: a local one, or a checkout kept with `run --keep`."""
    import os

    from projrun.errors import TrackingError
    from projrun.output import data
    from projrun.tracking.lookup import find_run
    from projrun.tracking.tags import DIRECTORY

    with _store() as store:
        run = find_run(store, run_id)
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


def _as_dict(run: Run) -> dict[str, Any]:
    """A run in MLflow's words; times in milliseconds since the epoch."""
    from projrun.tracking.tags import EXIT_CODE
    from projrun.tracking.wire import number

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
        "metrics": {key: number(metric.value) for key, metric in run.metrics.items()},
        "artifact_uri": run.artifact_uri,
    }


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
    from projrun.tracking.walk import walked

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
        "artifacts": [(info.path, f"{info.file_size or 0} bytes") for info in walked(store, run.run_id)],
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


def _local_time(milliseconds: int) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(milliseconds / 1000))


def _seconds(run: Run) -> str:
    return "" if run.end_time is None else f"{(run.end_time - run.start_time) / 1000:.1f}"
