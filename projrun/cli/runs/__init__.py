"""projrun runs"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from importlib import import_module
from pathlib import PurePosixPath
from typing import Any

import click

from projrun.backends import reclaim_stored
from projrun.cli.verbs import VerbGroup, csv_option, json_option
from projrun.console import json_text, one_line, print_data
from projrun.console.tables import format_pairs, format_table
from projrun.disk import home_from
from projrun.errors import TrackingError, UsageError
from projrun.tracking import Store
from projrun.tracking.entities import (
    ENTRY_POINT_TAG,
    EXIT_CODE_TAG,
    PARENT_RUN_ID_TAG,
    PROJECT_TAG,
    SOURCE_NAME_TAG,
    Run,
)
from projrun.tracking.supervision import settled_store

# The module of each further command, in the order of the help. `NAME_` is the command in it: some names are
# keywords or builtins
MORE = {
    **dict.fromkeys(("tag", "delete", "restore"), "control"),
    **dict.fromkeys(("artifacts", "export"), "files"),
    **dict.fromkeys(("import", "sync", "check"), "upkeep"),
    **dict.fromkeys(("logs", "wait", "stop"), "control"),
    **dict.fromkeys(("source", "path"), "files"),
}


class _Runs(VerbGroup):
    def list_commands(self, context: click.Context) -> list[str]:
        return [*self.commands, *MORE]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in MORE:
            return super().get_command(context, name)
        command: click.Command = getattr(import_module(f"projrun.cli.runs.{MORE[name]}"), f"{name}_")
        return command


@click.group(cls=_Runs)
def runs() -> None:
    """List, show, search, compare, edit, import and export runs.

    The beginning of an id is enough to name a run.
    """


@contextmanager
def opened_store() -> Iterator[Store]:
    """Open the store of runs, and settle the runs of dead supervisors."""
    with closing(settled_store(home_from(), reclaim_stored)) as store:
        yield store


@contextmanager
def opened_run(run_id: str) -> Iterator[tuple[Store, Run]]:
    """Open the store and find the run whose id begins with `run_id`. Raises TrackingError."""
    from projrun.records.stored_runs import find_run

    with opened_store() as store:
        yield store, find_run(store, run_id)


@runs.command("list")
@click.option("--experiment-name", default="", metavar="NAME", help="Only runs of this experiment.")
@click.option("-n", "--max-results", default=100, show_default=True, help="How many, newest first.")
@json_option("Print a JSON array in MLflow's words.")
@csv_option()
def list_(experiment_name: str, max_results: int, as_json: bool, as_csv: bool) -> None:
    """List runs, newest first."""
    with opened_store() as store:
        matches, _ = store.search_runs(_experiment_ids(store, experiment_name), max_results=max_results)
        print_data(_format_runs(store, matches, as_json=as_json, as_csv=as_csv))


@runs.command()
@click.argument("run_id")
@json_option("Print a JSON object in MLflow's words, with the record.")
@csv_option()
def show(run_id: str, as_json: bool, as_csv: bool) -> None:
    """Show one run: its state, parameters, metrics, tags and artifacts."""
    with opened_run(run_id) as (store, run):
        if as_json:
            print_data(json_text({**as_dict(run), "record": record_of(store, run)}))
        elif as_csv:
            print_data(_format_runs(store, [run], as_json=False, as_csv=True))
        else:
            print_data(_description(store, run))


@runs.command("search")
@click.argument("filter_string", metavar="FILTER", default="")
@click.option("--experiment-name", default="", metavar="NAME", help="Only runs of this experiment.")
@click.option(
    "--order-by",
    multiple=True,
    metavar="NAME [ASC|DESC]",
    help="For example 'metrics.loss ASC'; may be given again. Without it, newest first.",
)
@click.option("-n", "--max-results", default=100, show_default=True, help="How many.")
@click.option("--deleted", is_flag=True, help="Search the deleted runs instead.")
@json_option("Print a JSON array in MLflow's words.")
@csv_option()
def search(
    filter_string: str,
    experiment_name: str,
    order_by: tuple[str, ...],
    max_results: int,
    deleted: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Find runs by MLflow's search language: `metrics.loss < 0.1 and params.depth = '3'`."""
    with opened_store() as store:
        matches, _ = store.search_runs(
            _experiment_ids(store, experiment_name),
            filter_string,
            order_by,
            max_results,
            run_view_type="DELETED_ONLY" if deleted else "ACTIVE_ONLY",
        )
        print_data(_format_runs(store, matches, as_json=as_json, as_csv=as_csv))


COMPARED = {"params": "parameter", "metrics": "metric", "tags": "tag"}


@runs.command("compare")
@click.argument("run_ids", nargs=-1, required=True, metavar="RUN_ID RUN_ID…")
@click.option("--all", "everything", is_flag=True, help="Show also what is the same in all of them.")
@json_option("Print a JSON object.")
@csv_option("Print CSV.")
def compare(run_ids: tuple[str, ...], everything: bool, as_json: bool, as_csv: bool) -> None:
    """Show where runs differ: parameters, metrics, tags, side by side."""
    from projrun.records.stored_runs import find_run

    if len(run_ids) < 2:
        raise UsageError("one run cannot be compared", "give two or more")
    with opened_store() as store:
        facts = [as_dict(find_run(store, run_id)) for run_id in run_ids]
    groups = {group: _compared_rows(facts, group, everything=everything) for group in COMPARED}
    if as_json:
        ids = [run["run_id"] for run in facts]
        print_data(json_text({"run_ids": ids, **{group: dict(rows) for group, rows in groups.items()}}))
        return
    lines = [
        (COMPARED[group], key, *("" if value is None else str(value) for value in values))
        for group, rows in groups.items()
        for key, values in rows
    ]
    names = [run["run_id"][:8] for run in facts]
    if as_csv:
        print_data(rows_as_csv([("", "NAME", *names), *lines]))
    else:
        print_data(format_table(("", "NAME", *names), [[one_line(cell) for cell in line] for line in lines]))


def _compared_rows(
    runs: Sequence[dict[str, Any]], group: str, *, everything: bool
) -> list[tuple[str, list[Any]]]:
    keys = sorted({key for run in runs for key in run[group]})
    rows = [(key, [run[group].get(key) for run in runs]) for key in keys]
    return [(key, values) for key, values in rows if everything or any(v != values[0] for v in values)]


def _experiment_ids(store: Store, name: str) -> list[str]:
    if not name:
        return []
    experiment = store.get_experiment_by_name(name)
    if experiment is None:
        raise TrackingError(f"there is no experiment '{name}'", "see `projrun runs list` without it")
    return [experiment.experiment_id]


def as_dict(run: Run) -> dict[str, Any]:
    """Return a run with MLflow's names; times are in milliseconds since the epoch."""
    from projrun.tracking.wire import encode_number

    exit_code = run.tags.get(EXIT_CODE_TAG, "")
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
        "metrics": {key: encode_number(metric.value) for key, metric in run.metrics.items()},
        "artifact_uri": run.artifact_uri,
    }


def record_of(store: Store, run: Run) -> Any:
    import json

    from projrun.record import RECORD_ARTIFACT

    try:
        with store.open_artifact(run.run_id, RECORD_ARTIFACT) as file:
            return json.load(file)
    except (TrackingError, ValueError):
        return None  # the run has not ended, or projrun did not make it


def _format_runs(store: Store, matches: list[Run], *, as_json: bool, as_csv: bool) -> str:
    if as_json:
        return json_text([as_dict(run) for run in matches])
    if as_csv:
        return _csv_of([as_dict(run) for run in matches])
    return _table_of(store, matches)


def _description(store: Store, run: Run) -> str:
    from projrun.history import describe_commit, describe_history
    from projrun.records.stored_runs import read_provenance
    from projrun.tracking.artifacts import walk_artifacts

    record = record_of(store, run) or {}
    provenance = read_provenance(store, run, home_from())
    facts = [
        ("run", run.run_id),
        ("name", run.run_name),
        ("experiment", store.get_experiment(run.experiment_id).name),
        ("status", run.status),
        ("started", _local_time(run.start_time)),
        ("seconds", _seconds(run)),
        *_usage(record),
        *([("commit", describe_commit(provenance.commit))] if provenance and provenance.commit else []),
        ("artifacts", run.artifact_uri),
    ]
    sections = {
        "": facts,
        "parameters": sorted(run.params.items()),
        "inputs": _inputs(record),
        "metrics": [(key, f"{metric.value:g}") for key, metric in sorted(run.metrics.items())],
        "tags": sorted(run.tags.items()),
        "artifacts": [
            (info.path, f"{info.file_size or 0} bytes") for info in walk_artifacts(store, run.run_id)
        ],
    }
    parts = []
    for title, rows in sections.items():
        if rows:
            body = format_pairs([(one_line(a), one_line(b)) for a, b in rows], "  " * bool(title))
            parts.append(f"{title}:\n{body}" if title else body)
    if provenance and provenance.previous and provenance.history:
        lines = (f"\n  {one_line(line)}" for line in describe_history(provenance.history))
        parts.append(f"commits since run {provenance.previous.run_id[:8]}:{''.join(lines)}")
    return "\n".join(parts)


def _usage(record: dict[str, Any]) -> list[tuple[str, str]]:
    usage = (record.get("outcome") or {}).get("usage")
    if not usage:
        return []
    together = usage.get("peak_memory_together_bytes")
    return [
        ("cpu seconds", f"{usage['cpu_s']:.1f}"),
        ("peak memory", f"{usage['peak_memory_bytes'] / 2**20:.0f} MiB"),
        *([("all together", f"{together / 2**20:.0f} MiB")] if together else []),
    ]


def _inputs(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (input_["parameter"], f"{input_['size']} bytes, sha256 {input_['sha256'][:16]}, {input_['value']}")
        for input_ in record.get("inputs", ())
    ]


HEADER = ("RUN", "STATUS", "EXIT", "STARTED", "SECONDS", "PROJECT", "ENTRY POINT", "NAME", "METRICS")
METRICS_SHOWN = 3
DEEPEST = 5  # number of levels of parent runs that are searched for the project of a run


def _table_of(store: Store, runs: Sequence[Run]) -> str:
    """Return a table with a row for each run; it has a column METRICS if a run has metrics."""
    projects = _projects(store, runs)
    columns = len(HEADER) - (not any(run.metrics for run in runs))
    rows = [
        (
            run.run_id[:8],
            run.status,
            run.tags.get(EXIT_CODE_TAG, ""),
            _local_time(run.start_time),
            _seconds(run),
            one_line(projects[run.run_id]),
            # For a run that a client made, the name of the file that made it
            one_line(run.tags.get(ENTRY_POINT_TAG) or PurePosixPath(run.tags.get(SOURCE_NAME_TAG, "")).name),
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
    for _ in range(DEEPEST):  # one search for each level, however many runs are listed
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
    # Clients may set the tag to anything, and the id goes into the filter of a search
    return parent if parent.isalnum() else ""


def _metrics(run: Run) -> str:
    """Return the first metrics by name; `runs show` has all."""
    shown = [f"{one_line(key, 30)}={run.metrics[key].value:g}" for key in sorted(run.metrics)]
    return " ".join([*shown[:METRICS_SHOWN], *["…"][: len(shown) > METRICS_SHOWN]])


def _local_time(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(milliseconds / 1000))


def _seconds(run: Run) -> str:
    return "" if run.end_time is None else f"{(run.end_time - run.start_time) / 1000:.1f}"


GROUPS = ("metrics", "params", "tags")


def _csv_of(runs: Sequence[dict[str, Any]]) -> str:
    """runs: in the shape that `as_dict` returns."""
    plain = [key for key in (runs[0] if runs else {"run_id": ""}) if key not in GROUPS]
    keys = {group: sorted({key for run in runs for key in run[group]}) for group in GROUPS}
    nested = [(group, key) for group in GROUPS for key in keys[group]]
    header = [*plain, *(f"{group}.{key}" for group, key in nested)]
    rows = [[*(run[key] for key in plain), *(run[group].get(key) for group, key in nested)] for run in runs]
    return rows_as_csv([header, *rows])


def rows_as_csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().rstrip("\n")
