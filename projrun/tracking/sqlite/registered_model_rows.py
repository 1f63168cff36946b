"""Registered models and their versions, read from the database inside the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from projrun.tracking.limits import check_model_name, not_found, quote_short
from projrun.tracking.models import STAGES, ModelVersion, RegisteredModel, Stage

SELECT_VERSION = (
    "SELECT v.id, v.model, m.name, v.version, v.stage, v.description, v.source, v.location, v.run_id,"
    " v.run_link, v.model_id, v.creation_time, v.last_updated_time"
    " FROM model_versions v JOIN registered_models m ON m.id = v.model"
)

VersionRow = tuple[int, int, str, int, Stage, str, str, str, str, str, str, int, int]


def get_version(db: sqlite3.Connection, name: str, version: int) -> ModelVersion:
    return load_versions(db, [version_row(db, name, version)])[0]


def find_by_alias(db: sqlite3.Connection, name: str, alias: str) -> ModelVersion | None:
    row = db.execute(
        "SELECT version FROM model_aliases WHERE model = ? AND alias = ?", (model_row_id(db, name), alias)
    ).fetchone()
    return get_version(db, name, row[0]) if row else None


def find_newest(db: sqlite3.Connection, name: str) -> ModelVersion | None:
    row = db.execute(
        "SELECT max(version) FROM model_versions WHERE model = ?", (model_row_id(db, name),)
    ).fetchone()
    return get_version(db, name, row[0]) if row[0] is not None else None


def latest_versions(db: sqlite3.Connection, model: int, stages: Sequence[Stage]) -> list[ModelVersion]:
    """Return the newest version of each of `stages` that has one."""
    marks = ", ".join("?" * len(stages))
    rows = db.execute(
        " ".join(
            [
                SELECT_VERSION,
                "WHERE v.model = ? AND v.version IN (SELECT max(version) FROM model_versions",
                f"WHERE model = ? AND stage IN ({marks}) GROUP BY stage) ORDER BY v.version",
            ]
        ),
        (model, model, *stages),
    )
    return load_versions(db, rows.fetchall())


def load_versions(db: sqlite3.Connection, rows: Sequence[VersionRow]) -> list[ModelVersion]:
    return [_version(db, row) for row in rows]


def model_row_id(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT id FROM registered_models WHERE name = ?", (check_model_name(name),)).fetchone()
    if row is None:
        raise not_found(f"there is no registered model {quote_short(name)}")
    return int(row[0])


def version_row(db: sqlite3.Connection, name: str, version: int) -> VersionRow:
    model = model_row_id(db, name)
    row: VersionRow | None = db.execute(
        SELECT_VERSION + " WHERE v.model = ? AND v.version = ?", (model, version)
    ).fetchone()
    if row is None:
        raise not_found(f"the registered model {quote_short(name)} has no version {version}")
    return row


def _version(db: sqlite3.Connection, row: VersionRow) -> ModelVersion:
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


SELECT_MODEL = (
    "SELECT m.id, m.name, m.description, m.creation_time, m.last_updated_time FROM registered_models m"
)

ModelRow = tuple[int, str, str, int, int]


def get_model(db: sqlite3.Connection, name: str) -> RegisteredModel:
    rows = db.execute(SELECT_MODEL + " WHERE m.id = ?", (model_row_id(db, name),)).fetchall()
    return load_models(db, rows)[0]


def load_models(db: sqlite3.Connection, rows: Sequence[ModelRow]) -> list[RegisteredModel]:
    return [
        RegisteredModel(
            name=name,
            description=description,
            creation_time=created,
            last_updated_time=updated,
            tags=dict(db.execute("SELECT key, value FROM registered_model_tags WHERE model = ?", (number,))),
            aliases=dict(db.execute("SELECT alias, version FROM model_aliases WHERE model = ?", (number,))),
            latest_versions=tuple(latest_versions(db, number, STAGES)),
        )
        for number, name, description, created, updated in rows
    ]
