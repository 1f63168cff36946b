"""projrun runs artifacts, export, source, path: read and copy the files of a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from projrun.cli.runs import as_dict, opened_run, record_of, rows_as_csv
from projrun.cli.verbs import csv_option, json_option
from projrun.console import json_text, one_line, print_data, say
from projrun.console.tables import format_table
from projrun.disk import home_from
from projrun.disk.file_operations import temporary_beside, write_atomically
from projrun.errors import TrackingError, UsageError
from projrun.processes import defer_signals
from projrun.tracking import Store
from projrun.tracking.artifacts import walk_artifacts
from projrun.tracking.entities import DIRECTORY_TAG, Run


@click.command("artifacts")
@click.argument("run_id")
@click.argument("path", default="")
@click.option("--download", "target", default="", metavar="DIR", help="Copy them to this directory.")
@json_option("Print a JSON array of path and size.")
@csv_option("Print CSV of path and size.")
def artifacts_(run_id: str, path: str, target: str, as_json: bool, as_csv: bool) -> None:
    """List or copy the artifacts of a run, all of them or those below PATH."""
    with opened_run(run_id) as (store, run):
        artifacts = _list_artifacts(store, run, path.strip("/"))
        if path and not artifacts:
            raise TrackingError(f"run {run.run_id} has no artifact '{path}'", "leave the path out to see all")
        if target:
            with _reported(Path(target), "name another directory with --download"):
                _copy_artifacts(store, run, [name for name, _ in artifacts], Path(target))
    if as_json:
        print_data(json_text([{"path": name, "file_size": size} for name, size in artifacts]))
    elif as_csv:
        print_data(rows_as_csv([("path", "file_size"), *artifacts]))
    else:
        print_data(format_table(("SIZE", "PATH"), [(str(size), one_line(name)) for name, size in artifacts]))


def _list_artifacts(store: Store, run: Run, path: str) -> list[tuple[str, int]]:
    """Return path and size of the file `path`, or of all files in the directory `path`."""
    entries = store.list_artifacts(run.run_id, path.rpartition("/")[0]) if path else []
    # The API lists directories alone: a file is found among the entries of its directory
    files = [(info.path, info.file_size or 0) for info in entries if info.path == path and not info.is_dir]
    return files or _walk(store, run, path)


def _walk(store: Store, run: Run, directory: str = "") -> list[tuple[str, int]]:
    return [(info.path, info.file_size or 0) for info in walk_artifacts(store, run.run_id, directory)]


@click.command("export")
@click.argument("run_id")
@click.argument("directory")
def export_(run_id: str, directory: str) -> None:
    """Write a run to a new DIRECTORY: `run.json` with record and histories of metrics, and `artifacts/`."""
    from projrun.tracking.wire import dataset_json, metric_json

    target = Path(directory)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{directory} is there already", "name a new directory")
    with opened_run(run_id) as (store, run), _reported(target, "name another directory"):
        content = {
            **as_dict(run),
            "experiment_name": store.get_experiment(run.experiment_id).name,
            "metric_history": {
                key: [metric_json(metric) for metric in store.get_metric_history(run.run_id, key)]
                for key in run.metrics
            },
            "inputs": [dataset_json(dataset) for dataset in run.inputs],
            "record": record_of(store, run),
        }
        with temporary_beside(target / "run.json") as export:  # an interrupted export leaves nothing behind
            (export / "artifacts").mkdir(parents=True)
            _copy_artifacts(store, run, [name for name, _ in _walk(store, run)], export / "artifacts")
            write_atomically(export / "run.json", json_text(content) + "\n")
            with defer_signals():  # an interrupt between the two would leave one without the other
                for name in ("artifacts", "run.json"):
                    os.replace(export / name, target / name)
    say(f"wrote run {run.run_id} to {directory}")


def _copy_artifacts(store: Store, run: Run, paths: Iterable[str], target: Path) -> None:
    for path in paths:
        destination = target / path
        # Renamed when it is whole: after an interrupted download no file is half there
        with temporary_beside(destination) as temporary:
            with store.open_artifact(run.run_id, path) as source, temporary.open("xb") as copy:
                shutil.copyfileobj(source, copy)
            os.replace(temporary, destination)


@contextmanager
def _reported(target: Path, hint: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrackingError(
            f"{error.filename or target}: {error.strerror or error}", f"make room, or {hint}"
        ) from None


@click.command()
@click.argument("run_id")
@click.option(
    "-o", "--output", required=True, metavar="DIR", help="Write the files to DIR, which must be new or empty."
)
def source_(run_id: str, output: str) -> None:
    """Restore the source of a run: the files that it started from, byte for byte.

    projrun fetches what the run does not hold itself from the Git remote that the record names.
    """
    from projrun.records.stored_runs import find_stored_run, restore_source

    target = Path(output).absolute()
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise click.UsageError(f"-o {output}: there is something already; name a new directory.")
    with ExitStack() as stack:
        stored_run = find_stored_run(run_id, home_from(), stack)
        files = _copy_tree(restore_source(stored_run, home_from(), stack).root, target)
    say(f"{files} files of run {stored_run.record.run_id[:8]} are in {output}")


def _copy_tree(root: Path, target: Path) -> int:
    """Copy the tree to `target`, all of it or nothing, and return the number of files."""
    with temporary_beside(target) as temporary:  # .git refers to objects in the cache, which may be removed
        shutil.copytree(root, temporary, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        os.replace(temporary, target)
    return sum(len(names) for _, _, names in os.walk(target))


@click.command()
@click.argument("run_id")
def path_(run_id: str) -> None:
    """Print the directory of a run's project: a local one, or a checkout kept with `run --keep`."""
    with opened_run(run_id) as (_, run):
        directory = run.tags.get(DIRECTORY_TAG, "")
    if not directory:
        raise TrackingError(f"run {run.run_id[:8]} has no project directory", "only runs of projrun have one")
    if not os.path.isdir(directory):
        raise TrackingError(
            f"{directory}, where run {run.run_id[:8]} found its project, is gone",
            "run it again, with --keep if its project is in Git",
        )
    print_data(directory)
