"""projrun runs compare"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from projrun.cli.finding import opened_store
from projrun.cli.runs import as_dict

Row = tuple[str, list[Any]]
GROUPS = {"params": "parameter", "metrics": "metric", "tags": "tag"}


@click.command("compare")
@click.argument("run_ids", nargs=-1, required=True, metavar="RUN_ID RUN_ID…")
@click.option("--all", "everything", is_flag=True, help="Show also what is the same in all of them.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def compare_(run_ids: tuple[str, ...], everything: bool, as_json: bool, as_csv: bool) -> None:
    """Show where runs differ: parameters, metrics, tags, side by side."""
    from projrun.errors import UsageError
    from projrun.output import data, json_text, one_line
    from projrun.tables import table

    if len(run_ids) < 2:
        raise UsageError("one run cannot be compared", "give two or more")
    from projrun.tracking.lookup import find_run

    with opened_store() as store:
        runs = [as_dict(find_run(store, run_id)) for run_id in run_ids]
    groups = {group: _rows(runs, group, everything=everything) for group in GROUPS}
    if as_json:
        ids = [run["run_id"] for run in runs]
        data(json_text({"run_ids": ids, **{group: dict(rows) for group, rows in groups.items()}}))
        return
    lines = [
        (GROUPS[group], key, *("" if value is None else str(value) for value in values))
        for group, rows in groups.items()
        for key, values in rows
    ]
    names = [run["run_id"][:8] for run in runs]
    if as_csv:
        from projrun.cli.runs_csv import rows_as_csv

        data(rows_as_csv([("", "NAME", *names), *lines]))
    else:
        data(table(("", "NAME", *names), [[one_line(cell) for cell in line] for line in lines]))


def _rows(runs: Sequence[dict[str, Any]], group: str, *, everything: bool) -> list[Row]:
    keys = sorted({key for run in runs for key in run[group]})
    rows = [(key, [run[group].get(key) for run in runs]) for key in keys]
    return [(key, values) for key, values in rows if everything or any(v != values[0] for v in values)]
