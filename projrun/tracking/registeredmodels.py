"""Registered models in the database. Each function works inside the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from projrun.errors import TrackingError
from projrun.tracking import modelversions
from projrun.tracking.limits import shown
from projrun.tracking.modelentities import STAGES, RegisteredModel
from projrun.tracking.modellimits import (
    MAX_DESCRIPTION,
    MAX_TAG_KEY,
    checked_length,
    checked_name,
    checked_registry_tags,
)
from projrun.tracking.modelversions import model_number
from projrun.usage import now_ms

SELECT = "SELECT m.id, m.name, m.description, m.creation_time, m.last_updated_time FROM registered_models m"

Row = tuple[int, str, str, int, int]


def insert(db: sqlite3.Connection, name: str, description: str, tags: Mapping[str, str]) -> None:
    _check_free(db, checked_name(name))
    checked_length("description", description, MAX_DESCRIPTION)
    now = now_ms()
    cursor = db.execute(
        "INSERT INTO registered_models (name, description, creation_time, last_updated_time)"
        " VALUES (?, ?, ?, ?)",
        (name, description, now, now),
    )
    _put_tags(db, int(cursor.lastrowid or 0), tags)


def get(db: sqlite3.Connection, name: str) -> RegisteredModel:
    rows = db.execute(SELECT + " WHERE m.id = ?", (model_number(db, name),)).fetchall()
    return loaded(db, rows)[0]


def loaded(db: sqlite3.Connection, rows: Sequence[Row]) -> list[RegisteredModel]:
    return [
        RegisteredModel(
            name=name,
            description=description,
            creation_time=created,
            last_updated_time=updated,
            tags=dict(db.execute("SELECT key, value FROM registered_model_tags WHERE model = ?", (number,))),
            aliases=dict(db.execute("SELECT alias, version FROM model_aliases WHERE model = ?", (number,))),
            latest_versions=tuple(modelversions.latest(db, number, STAGES)),
        )
        for number, name, description, created, updated in rows
    ]


def rename(db: sqlite3.Connection, name: str, new_name: str) -> None:
    number, now = model_number(db, name), now_ms()
    if checked_name(new_name) != name:
        _check_free(db, new_name)
    db.execute(
        "UPDATE registered_models SET name = ?, last_updated_time = ? WHERE id = ?", (new_name, now, number)
    )
    db.execute("UPDATE model_versions SET last_updated_time = ? WHERE model = ?", (now, number))


def describe(db: sqlite3.Connection, name: str, description: str) -> None:
    checked_length("description", description, MAX_DESCRIPTION)
    db.execute(
        "UPDATE registered_models SET description = ?, last_updated_time = ? WHERE id = ?",
        (description, now_ms(), model_number(db, name)),
    )


def delete(db: sqlite3.Connection, name: str) -> None:
    number = model_number(db, name)
    db.execute(
        "DELETE FROM model_version_tags WHERE version_id IN (SELECT id FROM model_versions WHERE model = ?)",
        (number,),
    )
    db.execute("DELETE FROM model_versions WHERE model = ?", (number,))
    db.execute("DELETE FROM model_aliases WHERE model = ?", (number,))
    db.execute("DELETE FROM registered_model_tags WHERE model = ?", (number,))
    db.execute("DELETE FROM registered_models WHERE id = ?", (number,))


def set_tag(db: sqlite3.Connection, name: str, key: str, value: str) -> None:
    _put_tags(db, model_number(db, name), {key: value})


def delete_tag(db: sqlite3.Connection, name: str, key: str) -> None:
    """One that is not there is no error, as in MLflow."""
    number = model_number(db, name)
    checked_length("tag name", key, MAX_TAG_KEY)
    db.execute("DELETE FROM registered_model_tags WHERE model = ? AND key = ?", (number, key))


def delete_alias(db: sqlite3.Connection, name: str, alias: str) -> None:
    """One that is not there is no error, as in MLflow."""
    db.execute("DELETE FROM model_aliases WHERE model = ? AND alias = ?", (model_number(db, name), alias))


def _put_tags(db: sqlite3.Connection, number: int, tags: Mapping[str, str]) -> None:
    rows = [(number, key, value) for key, value in checked_registry_tags(tags).items()]
    db.executemany("INSERT OR REPLACE INTO registered_model_tags VALUES (?, ?, ?)", rows)


def _check_free(db: sqlite3.Connection, name: str) -> None:
    if db.execute("SELECT 1 FROM registered_models WHERE name = ?", (name,)).fetchone():
        raise TrackingError(
            f"a registered model named {shown(name)} already exists",
            "choose another name",
            error_code="RESOURCE_ALREADY_EXISTS",
        )
