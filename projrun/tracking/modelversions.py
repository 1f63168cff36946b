"""Versions of registered models in the database. Each function works inside the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from projrun.errors import TrackingError
from projrun.tracking.limits import shown
from projrun.tracking.modelentities import ModelVersion, Stage
from projrun.tracking.modellimits import (
    MAX_DESCRIPTION,
    MAX_RUN_LINK,
    MAX_TAG_KEY,
    checked_length,
    checked_name,
    checked_registry_tags,
    checked_stage,
)
from projrun.usage import now_ms

SELECT = (
    "SELECT v.id, v.model, m.name, v.version, v.stage, v.description, v.source, v.location, v.run_id,"
    " v.run_link, v.model_id, v.creation_time, v.last_updated_time"
    " FROM model_versions v JOIN registered_models m ON m.id = v.model"
)

Row = tuple[int, int, str, int, Stage, str, str, str, str, str, str, int, int]


def insert(
    db: sqlite3.Connection,
    name: str,
    *,
    source: str,
    location: str,
    run_id: str,
    model_id: str,
    run_link: str,
    description: str,
    tags: Mapping[str, str],
) -> int:
    """The number of the new version."""
    checked_length("description", description, MAX_DESCRIPTION)
    checked_length("run link", run_link, MAX_RUN_LINK)
    model, now = model_number(db, name), now_ms()
    db.execute(
        "UPDATE registered_models SET last_version = last_version + 1, last_updated_time = ? WHERE id = ?",
        (now, model),
    )
    (version,) = db.execute("SELECT last_version FROM registered_models WHERE id = ?", (model,)).fetchone()
    cursor = db.execute(
        "INSERT INTO model_versions (model, version, stage, description, source, location, run_id, run_link,"
        " model_id, creation_time, last_updated_time) VALUES (?, ?, 'None', ?, ?, ?, ?, ?, ?, ?, ?)",
        (model, version, description, source, location, run_id, run_link, model_id, now, now),
    )
    _put_tags(db, int(cursor.lastrowid or 0), tags)
    return int(version)


def get(db: sqlite3.Connection, name: str, version: int) -> ModelVersion:
    return loaded(db, [_row(db, name, version)])[0]


def by_alias(db: sqlite3.Connection, name: str, alias: str) -> ModelVersion | None:
    row = db.execute(
        "SELECT version FROM model_aliases WHERE model = ? AND alias = ?", (model_number(db, name), alias)
    ).fetchone()
    return get(db, name, row[0]) if row else None


def newest(db: sqlite3.Connection, name: str) -> ModelVersion | None:
    row = db.execute(
        "SELECT max(version) FROM model_versions WHERE model = ?", (model_number(db, name),)
    ).fetchone()
    return get(db, name, row[0]) if row[0] is not None else None


def latest(db: sqlite3.Connection, model: int, stages: Sequence[Stage]) -> list[ModelVersion]:
    """The newest of each of `stages` that has one."""
    marks = ", ".join("?" * len(stages))
    rows = db.execute(
        " ".join(
            [
                SELECT,
                "WHERE v.model = ? AND v.version IN (SELECT max(version) FROM model_versions",
                f"WHERE model = ? AND stage IN ({marks}) GROUP BY stage) ORDER BY v.version",
            ]
        ),
        (model, model, *stages),
    )
    return loaded(db, rows.fetchall())


def loaded(db: sqlite3.Connection, rows: Sequence[Row]) -> list[ModelVersion]:
    return [_version(db, row) for row in rows]


def describe(db: sqlite3.Connection, name: str, version: int, description: str) -> None:
    number = _row(db, name, version)[0]
    checked_length("description", description, MAX_DESCRIPTION)
    db.execute(
        "UPDATE model_versions SET description = ?, last_updated_time = ? WHERE id = ?",
        (description, now_ms(), number),
    )


def move(db: sqlite3.Connection, name: str, version: int, stage: str, archive_others: bool) -> None:
    """archive_others: what is in `stage` already goes to Archived."""
    target, now = checked_stage(stage, active=archive_others), now_ms()
    number, model = _row(db, name, version)[:2]
    if archive_others:
        db.execute(
            "UPDATE model_versions SET stage = 'Archived', last_updated_time = ?"
            " WHERE model = ? AND stage = ? AND id != ?",
            (now, model, target, number),
        )
    db.execute(
        "UPDATE model_versions SET stage = ?, last_updated_time = ? WHERE id = ?", (target, now, number)
    )
    _touch(db, model, now)


def delete(db: sqlite3.Connection, name: str, version: int) -> None:
    number, model = _row(db, name, version)[:2]
    db.execute("DELETE FROM model_aliases WHERE model = ? AND version = ?", (model, version))
    db.execute("DELETE FROM model_version_tags WHERE version_id = ?", (number,))
    db.execute("DELETE FROM model_versions WHERE id = ?", (number,))
    _touch(db, model, now_ms())


def set_tag(db: sqlite3.Connection, name: str, version: int, key: str, value: str) -> None:
    _put_tags(db, _row(db, name, version)[0], {key: value})


def delete_tag(db: sqlite3.Connection, name: str, version: int, key: str) -> None:
    """One that is not there is no error, as in MLflow."""
    number = _row(db, name, version)[0]
    checked_length("tag name", key, MAX_TAG_KEY)
    db.execute("DELETE FROM model_version_tags WHERE version_id = ? AND key = ?", (number, key))


def set_alias(db: sqlite3.Connection, name: str, alias: str, version: int) -> None:
    model = _row(db, name, version)[1]
    db.execute("INSERT OR REPLACE INTO model_aliases VALUES (?, ?, ?)", (model, alias, version))


def model_number(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT id FROM registered_models WHERE name = ?", (checked_name(name),)).fetchone()
    if row is None:
        raise TrackingError(
            f"there is no registered model {shown(name)}", error_code="RESOURCE_DOES_NOT_EXIST"
        )
    return int(row[0])


def _row(db: sqlite3.Connection, name: str, version: int) -> Row:
    model = model_number(db, name)
    row: Row | None = db.execute(SELECT + " WHERE v.model = ? AND v.version = ?", (model, version)).fetchone()
    if row is None:
        raise TrackingError(
            f"the registered model {shown(name)} has no version {version}",
            error_code="RESOURCE_DOES_NOT_EXIST",
        )
    return row


def _version(db: sqlite3.Connection, row: Row) -> ModelVersion:
    number, model, name, version = row[:4]
    tags = db.execute("SELECT key, value FROM model_version_tags WHERE version_id = ?", (number,))
    aliases = db.execute("SELECT alias FROM model_aliases WHERE model = ? AND version = ?", (model, version))
    return ModelVersion(
        name=name,
        version=version,
        stage=row[4],
        description=row[5],
        source=row[6],
        location=row[7],
        run_id=row[8],
        run_link=row[9],
        model_id=row[10],
        creation_time=row[11],
        last_updated_time=row[12],
        tags=dict(tags),
        aliases=tuple(alias for (alias,) in aliases),
    )


def _put_tags(db: sqlite3.Connection, number: int, tags: Mapping[str, str]) -> None:
    rows = [(number, key, value) for key, value in checked_registry_tags(tags).items()]
    db.executemany("INSERT OR REPLACE INTO model_version_tags VALUES (?, ?, ?)", rows)


def _touch(db: sqlite3.Connection, model: int, now: int) -> None:
    db.execute("UPDATE registered_models SET last_updated_time = ? WHERE id = ?", (now, model))
