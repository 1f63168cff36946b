"""Experiments in the database. Each function works inside the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from projrun.errors import TrackingError
from projrun.processes.usage import now_ms
from projrun.tracking.entities import Experiment, LifecycleStage
from projrun.tracking.limits import (
    INT64,
    check_experiment_name,
    check_experiment_tag,
    invalid_parameter,
    not_found,
    quote_short,
)
from projrun.tracking.sqlite.database import put_pairs

SELECT = (
    "SELECT experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time"
    " FROM experiments e"
)

Row = tuple[int, str, str, LifecycleStage, int, int]


def insert(db: sqlite3.Connection, name: str, tags: Mapping[str, str], artifact_location: str) -> int:
    check_experiment_name(name)
    _check_free(db, name)
    now = now_ms()
    cursor = db.execute(
        "INSERT INTO experiments (name, artifact_location, creation_time, last_update_time)"
        " VALUES (?, ?, ?, ?)",
        (name, artifact_location, now, now),
    )
    number = int(cursor.lastrowid or 0)
    for key, value in tags.items():
        check_experiment_tag(key, value)
    put_pairs(db, "experiment_tags", number, tags)
    return number


def get(db: sqlite3.Connection, experiment_id: str, root_uri: str) -> Experiment:
    number = _number(experiment_id)
    rows = db.execute(SELECT + " WHERE experiment_id = ?", (number,))
    for experiment in load(db, rows.fetchall(), root_uri):
        return experiment
    raise _missing(experiment_id)


def get_by_name(db: sqlite3.Connection, name: str, root_uri: str) -> Experiment | None:
    rows = db.execute(SELECT + " WHERE name = ?", (name,)).fetchall()
    return next(iter(load(db, rows, root_uri)), None)


def load(db: sqlite3.Connection, rows: Sequence[Row], root_uri: str) -> list[Experiment]:
    return [
        Experiment(
            experiment_id=str(number),
            name=name,
            artifact_location=location or f"{root_uri}/{number}",
            lifecycle_stage=stage,
            creation_time=created,
            last_update_time=updated,
            tags=dict(
                db.execute("SELECT key, value FROM experiment_tags WHERE experiment_id = ?", (number,))
            ),
        )
        for number, name, location, stage, created, updated in rows
    ]


def active_row_id(db: sqlite3.Connection, experiment_id: str) -> int:
    """Return the number of an experiment that may be written to."""
    row = db.execute(
        "SELECT experiment_id, lifecycle_stage FROM experiments WHERE experiment_id = ?",
        (_number(experiment_id),),
    ).fetchone()
    if row is None:
        raise _missing(experiment_id)
    if row[1] != "active":
        raise invalid_parameter(f"the experiment {row[0]} is deleted", "restore it first")
    return int(row[0])


def rename(db: sqlite3.Connection, experiment_id: str, name: str) -> None:
    check_experiment_name(name)
    number = active_row_id(db, experiment_id)
    row = db.execute("SELECT experiment_id FROM experiments WHERE name = ?", (name,)).fetchone()
    if row is not None and row[0] != number:
        _check_free(db, name)
    db.execute(
        "UPDATE experiments SET name = ?, last_update_time = ? WHERE experiment_id = ?",
        (name, now_ms(), number),
    )


def delete(db: sqlite3.Connection, experiment_id: str) -> None:
    """Mark the experiment and its runs as deleted; nothing is removed."""
    _move(db, experiment_id, "active", "deleted")


def restore(db: sqlite3.Connection, experiment_id: str) -> None:
    _move(db, experiment_id, "deleted", "active")


def set_tag(db: sqlite3.Connection, experiment_id: str, key: str, value: str) -> None:
    number = active_row_id(db, experiment_id)
    check_experiment_tag(key, value)
    put_pairs(db, "experiment_tags", number, {key: value})


def delete_tag(db: sqlite3.Connection, experiment_id: str, key: str) -> None:
    number = active_row_id(db, experiment_id)
    gone = db.execute("DELETE FROM experiment_tags WHERE experiment_id = ? AND key = ?", (number, key))
    if not gone.rowcount:
        raise not_found(f"the experiment {number} has no tag {quote_short(key)}")


def _move(db: sqlite3.Connection, experiment_id: str, source: LifecycleStage, target: LifecycleStage) -> None:
    number = _number(experiment_id)
    moved = db.execute(
        "UPDATE experiments SET lifecycle_stage = ?, last_update_time = ?"
        " WHERE experiment_id = ? AND lifecycle_stage = ?",
        (target, now_ms(), number, source),
    )
    if not moved.rowcount:
        raise not_found(f"there is no {source} experiment with the id {quote_short(experiment_id)}")
    db.execute("UPDATE runs SET lifecycle_stage = ? WHERE experiment_id = ?", (target, number))


def _check_free(db: sqlite3.Connection, name: str) -> None:
    row = db.execute("SELECT lifecycle_stage FROM experiments WHERE name = ?", (name,)).fetchone()
    if row is not None:
        state = " and is deleted" if row[0] == "deleted" else ""
        hint = "restore it, or choose another name" if state else "choose another name"
        raise TrackingError(
            f"an experiment named {quote_short(name)} already exists{state}",
            hint,
            error_code="RESOURCE_ALREADY_EXISTS",
        )


def _number(experiment_id: str) -> int:
    number = _number_if_any(experiment_id)
    if number is None:
        raise invalid_parameter(
            f"{quote_short(experiment_id)} is not the id of an experiment", "ids are numbers"
        )
    return number


def _number_if_any(experiment_id: str) -> int | None:
    text = str(experiment_id)
    usable = text.isascii() and text.isdigit() and len(text) <= 19 and int(text) < INT64
    return int(text) if usable else None


def parse_ids(experiment_ids: Sequence[str]) -> list[int]:
    """Return the ids that are numbers; others belong to no experiment."""
    return [number for each in experiment_ids if (number := _number_if_any(each)) is not None]


def _missing(experiment_id: str) -> TrackingError:
    return not_found(f"there is no experiment with the id {quote_short(experiment_id)}")
