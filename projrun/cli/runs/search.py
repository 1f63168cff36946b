"""projrun runs search"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from projrun.cli.options import csv_option, json_option
from projrun.cli.runs import as_dict, experiment_ids, listing, opened_store, rows_as_csv


@click.command("search")
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
def search_(
    filter_string: str,
    experiment_name: str,
    order_by: tuple[str, ...],
    max_results: int,
    deleted: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Find runs by MLflow's search language: `metrics.loss < 0.1 and params.depth = '3'`."""
    from projrun.console import print_data

    with opened_store() as store:
        matches, _ = store.search_runs(
            experiment_ids(store, experiment_name),
            filter_string,
            order_by,
            max_results,
            run_view_type="DELETED_ONLY" if deleted else "ACTIVE_ONLY",
        )
        print_data(listing(store, matches, as_json=as_json, as_csv=as_csv))


Row = tuple[str, list[Any]]
GROUPS = {"params": "parameter", "metrics": "metric", "tags": "tag"}


@click.command("compare")
@click.argument("run_ids", nargs=-1, required=True, metavar="RUN_ID RUN_ID…")
@click.option("--all", "everything", is_flag=True, help="Show also what is the same in all of them.")
@json_option("Print a JSON object.")
@csv_option("Print CSV.")
def compare_(run_ids: tuple[str, ...], everything: bool, as_json: bool, as_csv: bool) -> None:
    """Show where runs differ: parameters, metrics, tags, side by side."""
    from projrun.console import json_text, one_line, print_data
    from projrun.console.tables import format_table
    from projrun.errors import UsageError

    if len(run_ids) < 2:
        raise UsageError("one run cannot be compared", "give two or more")
    from projrun.records.stored_runs import find_run

    with opened_store() as store:
        runs = [as_dict(find_run(store, run_id)) for run_id in run_ids]
    groups = {group: _rows(runs, group, everything=everything) for group in GROUPS}
    if as_json:
        ids = [run["run_id"] for run in runs]
        print_data(json_text({"run_ids": ids, **{group: dict(rows) for group, rows in groups.items()}}))
        return
    lines = [
        (GROUPS[group], key, *("" if value is None else str(value) for value in values))
        for group, rows in groups.items()
        for key, values in rows
    ]
    names = [run["run_id"][:8] for run in runs]
    if as_csv:
        print_data(rows_as_csv([("", "NAME", *names), *lines]))
    else:
        print_data(format_table(("", "NAME", *names), [[one_line(cell) for cell in line] for line in lines]))


def _rows(runs: Sequence[dict[str, Any]], group: str, *, everything: bool) -> list[Row]:
    keys = sorted({key for run in runs for key in run[group]})
    rows = [(key, [run[group].get(key) for run in runs]) for key in keys]
    return [(key, values) for key, values in rows if everything or any(v != values[0] for v in values)]
