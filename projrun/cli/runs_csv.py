"""CSV; of runs with the columns of a table of runs that mlflow.search_runs gives."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

GROUPS = ("metrics", "params", "tags")


def csv_of(runs: Sequence[dict[str, Any]]) -> str:
    """runs: as `runs list --json` has them."""
    plain = [key for key in (runs[0] if runs else {"run_id": ""}) if key not in GROUPS]
    keys = {group: sorted({key for run in runs for key in run[group]}) for group in GROUPS}
    grouped = [(group, key) for group in GROUPS for key in keys[group]]
    head = [*plain, *(f"{group}.{key}" for group, key in grouped)]
    return rows_as_csv(
        [
            head,
            *(
                [*(run[key] for key in plain), *(run[group].get(key) for group, key in grouped)]
                for run in runs
            ),
        ]
    )


def rows_as_csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().rstrip("\n")
