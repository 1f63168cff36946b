"""Whether the database is whole and fits the files beside it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

MAX_FAULTS = 20
OF_RUNS = ("params", "tags", "metrics", "latest_metrics", "datasets", "run_models")


def faults(db: sqlite3.Connection, artifacts: Path) -> list[str]:
    found = [str(line) for (line,) in db.execute(f"PRAGMA integrity_check({MAX_FAULTS:d})") if line != "ok"]
    for table in OF_RUNS:
        # The names are ours; a table's name cannot be bound.
        query = f"SELECT count(*) FROM {table} WHERE run NOT IN (SELECT id FROM runs)"  # noqa: S608
        (lost,) = db.execute(query).fetchone()
        if lost:
            found.append(f"{table}: {lost} rows belong to no run")
    (lost,) = db.execute(
        "SELECT count(*) FROM runs WHERE experiment_id NOT IN (SELECT experiment_id FROM experiments)"
    ).fetchone()
    if lost:
        found.append(f"runs: {lost} belong to no experiment")
    return found + _unowned(db, artifacts)


def _unowned(db: sqlite3.Connection, artifacts: Path) -> list[str]:
    known = {(str(number), run_id) for number, run_id in db.execute("SELECT experiment_id, run_id FROM runs")}
    lines = []
    for experiment in _directories(artifacts):
        for run in _directories(artifacts / experiment):
            if run != "models" and (experiment, run) not in known:
                lines.append(f"{artifacts / experiment / run}: artifacts of no run")
    return lines


def _directories(place: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(place) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
