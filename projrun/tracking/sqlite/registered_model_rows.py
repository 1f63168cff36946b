"""Registered models in the database. Each function works inside the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from projrun.errors import TrackingError
from projrun.processes.usage import now_ms
from projrun.tracking.limits import (
    MAX_DESCRIPTION,
    MAX_REGISTRY_TAG_KEY,
    MAX_RUN_LINK,
    check_model_name,
    check_registry_tags,
    check_text_length,
    not_found,
    quote_short,
)
from projrun.tracking.models import STAGES, ModelVersion, RegisteredModel, Stage, parse_stage
from projrun.tracking.sqlite.database import put_pairs

SELECT_VERSION = (
    "SELECT v.id, v.model, m.name, v.version, v.stage, v.description, v.source, v.location, v.run_id,"
    " v.run_link, v.model_id, v.creation_time, v.last_updated_time"
    " FROM model_versions v JOIN registered_models m ON m.id = v.model"
)

VersionRow = tuple[int, int, str, int, Stage, str, str, str, str, str, str, int, int]


def insert_version(
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
    """Insert a version of the model `name`, and return its number."""
    check_text_length("description", description, MAX_DESCRIPTION)
    check_text_length("run link", run_link, MAX_RUN_LINK)
    model, now = model_row_id(db, name), now_ms()
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
    put_pairs(db, "model_version_tags", int(cursor.lastrowid or 0), check_registry_tags(tags))
    return int(version)


def get_version(db: sqlite3.Connection, name: str, version: int) -> ModelVersion:
    return load_versions(db, [_version_row(db, name, version)])[0]


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


def describe_version(db: sqlite3.Connection, name: str, version: int, description: str) -> None:
    number = _version_row(db, name, version)[0]
    check_text_length("description", description, MAX_DESCRIPTION)
    db.execute(
        "UPDATE model_versions SET description = ?, last_updated_time = ? WHERE id = ?",
        (description, now_ms(), number),
    )


def set_stage(db: sqlite3.Connection, name: str, version: int, stage: str, archive_others: bool) -> None:
    """Put a version into a stage. archive_others: move those that are in it to Archived."""
    target, now = parse_stage(stage, active=archive_others), now_ms()
    number, model = _version_row(db, name, version)[:2]
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


def delete_version(db: sqlite3.Connection, name: str, version: int) -> None:
    number, model = _version_row(db, name, version)[:2]
    db.execute("DELETE FROM model_aliases WHERE model = ? AND version = ?", (model, version))
    db.execute("DELETE FROM model_version_tags WHERE version_id = ?", (number,))
    db.execute("DELETE FROM model_versions WHERE id = ?", (number,))
    _touch(db, model, now_ms())


def set_version_tag(db: sqlite3.Connection, name: str, version: int, key: str, value: str) -> None:
    number = _version_row(db, name, version)[0]
    put_pairs(db, "model_version_tags", number, check_registry_tags({key: value}))


def delete_version_tag(db: sqlite3.Connection, name: str, version: int, key: str) -> None:
    # A missing one is no error, as in MLflow.
    number = _version_row(db, name, version)[0]
    check_text_length("tag name", key, MAX_REGISTRY_TAG_KEY)
    db.execute("DELETE FROM model_version_tags WHERE version_id = ? AND key = ?", (number, key))


def set_alias(db: sqlite3.Connection, name: str, alias: str, version: int) -> None:
    model = _version_row(db, name, version)[1]
    db.execute("INSERT OR REPLACE INTO model_aliases VALUES (?, ?, ?)", (model, alias, version))


def model_row_id(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT id FROM registered_models WHERE name = ?", (check_model_name(name),)).fetchone()
    if row is None:
        raise not_found(f"there is no registered model {quote_short(name)}")
    return int(row[0])


def _version_row(db: sqlite3.Connection, name: str, version: int) -> VersionRow:
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


def _touch(db: sqlite3.Connection, model: int, now: int) -> None:
    db.execute("UPDATE registered_models SET last_updated_time = ? WHERE id = ?", (now, model))


SELECT_MODEL = (
    "SELECT m.id, m.name, m.description, m.creation_time, m.last_updated_time FROM registered_models m"
)

ModelRow = tuple[int, str, str, int, int]


def insert_model(db: sqlite3.Connection, name: str, description: str, tags: Mapping[str, str]) -> None:
    _check_free(db, check_model_name(name))
    check_text_length("description", description, MAX_DESCRIPTION)
    now = now_ms()
    cursor = db.execute(
        "INSERT INTO registered_models (name, description, creation_time, last_updated_time)"
        " VALUES (?, ?, ?, ?)",
        (name, description, now, now),
    )
    put_pairs(db, "registered_model_tags", int(cursor.lastrowid or 0), check_registry_tags(tags))


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


def rename_model(db: sqlite3.Connection, name: str, new_name: str) -> None:
    number, now = model_row_id(db, name), now_ms()
    if check_model_name(new_name) != name:
        _check_free(db, new_name)
    db.execute(
        "UPDATE registered_models SET name = ?, last_updated_time = ? WHERE id = ?", (new_name, now, number)
    )
    db.execute("UPDATE model_versions SET last_updated_time = ? WHERE model = ?", (now, number))


def describe_model(db: sqlite3.Connection, name: str, description: str) -> None:
    check_text_length("description", description, MAX_DESCRIPTION)
    db.execute(
        "UPDATE registered_models SET description = ?, last_updated_time = ? WHERE id = ?",
        (description, now_ms(), model_row_id(db, name)),
    )


def delete_model(db: sqlite3.Connection, name: str) -> None:
    number = model_row_id(db, name)
    db.execute(
        "DELETE FROM model_version_tags WHERE version_id IN (SELECT id FROM model_versions WHERE model = ?)",
        (number,),
    )
    db.execute("DELETE FROM model_versions WHERE model = ?", (number,))
    db.execute("DELETE FROM model_aliases WHERE model = ?", (number,))
    db.execute("DELETE FROM registered_model_tags WHERE model = ?", (number,))
    db.execute("DELETE FROM registered_models WHERE id = ?", (number,))


def set_model_tag(db: sqlite3.Connection, name: str, key: str, value: str) -> None:
    put_pairs(db, "registered_model_tags", model_row_id(db, name), check_registry_tags({key: value}))


def delete_model_tag(db: sqlite3.Connection, name: str, key: str) -> None:
    # A missing one is no error, as in MLflow.
    number = model_row_id(db, name)
    check_text_length("tag name", key, MAX_REGISTRY_TAG_KEY)
    db.execute("DELETE FROM registered_model_tags WHERE model = ? AND key = ?", (number, key))


def delete_alias(db: sqlite3.Connection, name: str, alias: str) -> None:
    # A missing one is no error, as in MLflow.
    db.execute("DELETE FROM model_aliases WHERE model = ? AND alias = ?", (model_row_id(db, name), alias))


def _check_free(db: sqlite3.Connection, name: str) -> None:
    if db.execute("SELECT 1 FROM registered_models WHERE name = ?", (name,)).fetchone():
        raise TrackingError(
            f"a registered model named {quote_short(name)} already exists",
            "choose another name",
            error_code="RESOURCE_ALREADY_EXISTS",
        )
