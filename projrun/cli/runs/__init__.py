"""projrun runs"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from projrun.cli.runs.table import opened_store
from projrun.cli.verb import VerbGroup

if TYPE_CHECKING:
    from projrun.tracking import Store
    from projrun.tracking.entities import Run


# Map each command to its module, where the function has this name and a trailing underscore
MORE = {
    "search": "projrun.cli.runs.search",
    "compare": "projrun.cli.runs.search",
    "tag": "projrun.cli.runs.edit",
    "delete": "projrun.cli.runs.edit",
    "restore": "projrun.cli.runs.edit",
    "artifacts": "projrun.cli.runs.files",
    "export": "projrun.cli.runs.files",
    "import": "projrun.cli.runs.upkeep",
    "sync": "projrun.cli.runs.upkeep",
    "check": "projrun.cli.runs.upkeep",
    "logs": "projrun.cli.runs.control",
    "wait": "projrun.cli.runs.control",
    "stop": "projrun.cli.runs.control",
    "source": "projrun.cli.runs.files",
    "path": "projrun.cli.runs.files",
}


class _Runs(VerbGroup):
    def list_commands(self, context: click.Context) -> list[str]:
        return [*self.commands, *MORE]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in MORE:
            return super().get_command(context, name)
        command: click.Command = getattr(import_module(MORE[name]), f"{name}_")
        return command


@click.group(cls=_Runs)
def runs() -> None:
    """List, show, search, compare, edit, import and export runs.

    The beginning of an id is enough to name a run.
    """


@runs.command("list")
@click.option("--experiment-name", default="", metavar="NAME", help="Only runs of this experiment.")
@click.option("-n", "--max-results", default=100, show_default=True, help="How many, newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array in MLflow's words.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a column per parameter, metric and tag.")
def list_(experiment_name: str, max_results: int, as_json: bool, as_csv: bool) -> None:
    """List runs, newest first."""
    from projrun.console import print_data

    with opened_store() as store:
        matches, _ = store.search_runs(experiment_ids(store, experiment_name), max_results=max_results)
        print_data(listing(store, matches, as_json=as_json, as_csv=as_csv))


@runs.command()
@click.argument("run_id")
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON object in MLflow's words, with the record."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a column per parameter, metric and tag.")
def show(run_id: str, as_json: bool, as_csv: bool) -> None:
    """Show one run: its state, parameters, metrics, tags and artifacts."""
    from projrun.console import json_text, print_data
    from projrun.records.stored_runs import find_run

    with opened_store() as store:
        run = find_run(store, run_id)
        if as_json:
            print_data(json_text({**as_dict(run), "record": record_of(store, run)}))
        elif as_csv:
            print_data(listing(store, [run], as_json=False, as_csv=True))
        else:
            print_data(_description(store, run))


def experiment_ids(store: Store, name: str) -> list[str]:
    from projrun.errors import TrackingError

    if not name:
        return []
    experiment = store.get_experiment_by_name(name)
    if experiment is None:
        raise TrackingError(f"there is no experiment '{name}'", "see `projrun runs list` without it")
    return [experiment.experiment_id]


def as_dict(run: Run) -> dict[str, Any]:
    """Return a run with MLflow's names; times are in milliseconds since the epoch."""
    from projrun.tracking.entities import EXIT_CODE_TAG
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

    from projrun.errors import TrackingError
    from projrun.record import RECORD_ARTIFACT

    try:
        with store.open_artifact(run.run_id, RECORD_ARTIFACT) as file:
            return json.load(file)
    except (TrackingError, ValueError):
        return None  # the run has not ended, or projrun did not make it


def listing(store: Store, matches: list[Run], *, as_json: bool, as_csv: bool) -> str:
    if as_json:
        from projrun.console import json_text

        return json_text([as_dict(run) for run in matches])
    if as_csv:
        from projrun.cli.runs.table import csv_of

        return csv_of([as_dict(run) for run in matches])
    from projrun.cli.runs.table import table_of

    return table_of(store, matches)


def _description(store: Store, run: Run) -> str:
    from projrun.cli.runs.table import local_time, seconds
    from projrun.console import one_line
    from projrun.console.tables import format_pairs
    from projrun.disk import home_from
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
        ("started", local_time(run.start_time)),
        ("seconds", seconds(run)),
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
