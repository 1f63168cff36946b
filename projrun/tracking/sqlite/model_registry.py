"""The model registry of the embedded store."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from projrun.errors import TrackingError
from projrun.processes.usage import now_ms
from projrun.tracking.limits import (
    MAX_DESCRIPTION,
    MAX_REGISTRY_TAG_KEY,
    MAX_RUN_LINK,
    check_alias,
    check_model_name,
    check_registry_tags,
    check_text_length,
    parse_version,
    quote_short,
)
from projrun.tracking.models import (
    PROMPT_TAG,
    STAGES,
    VERSIONS_TAG,
    ModelVersion,
    RegisteredModel,
    parse_stage,
)
from projrun.tracking.sqlite import logged_models, model_sources, searches
from projrun.tracking.sqlite import registered_model_rows as rows
from projrun.tracking.sqlite.database import Database, put_pairs
from projrun.tracking.sqlite.logged_models import SqliteLoggedModels
from projrun.tracking.sqlite.model_sources import VersionSource
from projrun.tracking.sqlite.searches import SearchPage


class SqliteModels(NamedTuple):
    logged: SqliteLoggedModels
    registry: SqliteModelRegistry


def open_models(database: Database, artifacts: Path) -> SqliteModels:
    return SqliteModels(
        SqliteLoggedModels(database, artifacts), SqliteModelRegistry(database, artifacts.as_uri())
    )


class SqliteModelRegistry:
    def __init__(self, database: Database, root_uri: str) -> None:
        self._db, self._root_uri = database, root_uri

    def create_model(
        self, name: str, description: str = "", tags: Mapping[str, str] | None = None
    ) -> RegisteredModel:
        with self._db.writing() as db:
            _check_free(db, check_model_name(name))
            check_text_length("description", description, MAX_DESCRIPTION)
            now = now_ms()
            cursor = db.execute(
                "INSERT INTO registered_models (name, description, creation_time, last_updated_time)"
                " VALUES (?, ?, ?, ?)",
                (name, description, now, now),
            )
            number = int(cursor.lastrowid or 0)
            put_pairs(db, "registered_model_tags", number, check_registry_tags(tags or {}))
            return rows.get_model(db, name)

    def get_model(self, name: str) -> RegisteredModel:
        with self._db.reading() as db:
            return rows.get_model(db, name)

    def rename_model(self, name: str, new_name: str) -> RegisteredModel:
        with self._db.writing() as db:
            number, now = rows.model_row_id(db, name), now_ms()
            if check_model_name(new_name) != name:
                _check_free(db, new_name)
            db.execute(
                "UPDATE registered_models SET name = ?, last_updated_time = ? WHERE id = ?",
                (new_name, now, number),
            )
            db.execute("UPDATE model_versions SET last_updated_time = ? WHERE model = ?", (now, number))
            return rows.get_model(db, new_name)

    def describe_model(self, name: str, description: str) -> RegisteredModel:
        with self._db.writing() as db:
            check_text_length("description", description, MAX_DESCRIPTION)
            db.execute(
                "UPDATE registered_models SET description = ?, last_updated_time = ? WHERE id = ?",
                (description, now_ms(), rows.model_row_id(db, name)),
            )
            return rows.get_model(db, name)

    def delete_model(self, name: str) -> None:
        with self._db.writing() as db:
            number = rows.model_row_id(db, name)
            db.execute(
                "DELETE FROM model_version_tags"
                " WHERE version_id IN (SELECT id FROM model_versions WHERE model = ?)",
                (number,),
            )
            db.execute("DELETE FROM model_versions WHERE model = ?", (number,))
            db.execute("DELETE FROM model_aliases WHERE model = ?", (number,))
            db.execute("DELETE FROM registered_model_tags WHERE model = ?", (number,))
            db.execute("DELETE FROM registered_models WHERE id = ?", (number,))

    def search_models(
        self,
        filter_string: str = "",
        order_by: Sequence[str] = (),
        max_results: int = 100,
        page_token: str = "",
    ) -> tuple[list[RegisteredModel], str]:
        page = SearchPage(filter_string, order_by, max_results, page_token)
        with self._db.reading() as db:
            return searches.search_registered_models(db, page)

    def set_model_tag(self, name: str, key: str, value: str) -> None:
        with self._db.writing() as db:
            number = rows.model_row_id(db, name)
            put_pairs(db, "registered_model_tags", number, check_registry_tags({key: value}))

    def delete_model_tag(self, name: str, key: str) -> None:
        with self._db.writing() as db:
            number = rows.model_row_id(db, name)
            check_text_length("tag name", key, MAX_REGISTRY_TAG_KEY)
            # A missing one is no error, as in MLflow
            db.execute("DELETE FROM registered_model_tags WHERE model = ? AND key = ?", (number, key))

    def latest_versions(self, name: str, stages: Sequence[str] = ()) -> list[ModelVersion]:
        known = [parse_stage(stage) for stage in stages] or STAGES
        with self._db.reading() as db:
            model = rows.model_row_id(db, name)
            return rows.latest_versions(db, model, known)

    def create_version(
        self,
        name: str,
        source: str,
        *,
        run_id: str = "",
        model_id: str = "",
        run_link: str = "",
        description: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> ModelVersion:
        is_prompt = (tags or {}).get(PROMPT_TAG, "").lower() == "true"
        with self._db.writing() as db:
            rows.model_row_id(db, name)
            if is_prompt:
                origin = model_sources.prompt_source()
            else:
                origin = model_sources.resolve_source(db, source, run_id, model_id, self._root_uri)
            version = _insert_version(db, name, origin, run_link, description, tags or {})
            if origin.model_id:
                _note_registration(db, origin.model_id, name, version)
            return rows.get_version(db, name, version)

    def get_version(self, name: str, version: str) -> ModelVersion:
        with self._db.reading() as db:
            return rows.get_version(db, name, parse_version(version))

    def describe_version(self, name: str, version: str, description: str) -> ModelVersion:
        with self._db.writing() as db:
            number = rows.version_row(db, name, parse_version(version))[0]
            check_text_length("description", description, MAX_DESCRIPTION)
            db.execute(
                "UPDATE model_versions SET description = ?, last_updated_time = ? WHERE id = ?",
                (description, now_ms(), number),
            )
            return rows.get_version(db, name, parse_version(version))

    def move_version(
        self, name: str, version: str, stage: str, *, archive_others: bool = False
    ) -> ModelVersion:
        with self._db.writing() as db:
            target, now = parse_stage(stage, active=archive_others), now_ms()
            number, model = rows.version_row(db, name, parse_version(version))[:2]
            if archive_others:
                db.execute(
                    "UPDATE model_versions SET stage = 'Archived', last_updated_time = ?"
                    " WHERE model = ? AND stage = ? AND id != ?",
                    (now, model, target, number),
                )
            db.execute(
                "UPDATE model_versions SET stage = ?, last_updated_time = ? WHERE id = ?",
                (target, now, number),
            )
            _touch(db, model, now)
            return rows.get_version(db, name, parse_version(version))

    def delete_version(self, name: str, version: str) -> None:
        with self._db.writing() as db:
            number, model = rows.version_row(db, name, parse_version(version))[:2]
            aliased = (model, parse_version(version))
            db.execute("DELETE FROM model_aliases WHERE model = ? AND version = ?", aliased)
            db.execute("DELETE FROM model_version_tags WHERE version_id = ?", (number,))
            db.execute("DELETE FROM model_versions WHERE id = ?", (number,))
            _touch(db, model, now_ms())

    def search_versions(
        self,
        filter_string: str = "",
        order_by: Sequence[str] = (),
        max_results: int = 10_000,
        page_token: str = "",
    ) -> tuple[list[ModelVersion], str]:
        with self._db.reading() as db:
            return searches.search_versions(db, SearchPage(filter_string, order_by, max_results, page_token))

    def set_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        with self._db.writing() as db:
            number = rows.version_row(db, name, parse_version(version))[0]
            put_pairs(db, "model_version_tags", number, check_registry_tags({key: value}))

    def delete_version_tag(self, name: str, version: str, key: str) -> None:
        with self._db.writing() as db:
            number = rows.version_row(db, name, parse_version(version))[0]
            check_text_length("tag name", key, MAX_REGISTRY_TAG_KEY)
            # A missing one is no error, as in MLflow
            db.execute("DELETE FROM model_version_tags WHERE version_id = ? AND key = ?", (number, key))

    def location(self, name: str, version: str) -> str:
        with self._db.reading() as db:
            stored = rows.get_version(db, name, parse_version(version))
            return model_sources.resolve_location(db, stored, self._root_uri)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        with self._db.writing() as db:
            check_alias(alias, new=True)
            number = parse_version(version)
            model = rows.version_row(db, name, number)[1]
            db.execute("INSERT OR REPLACE INTO model_aliases VALUES (?, ?, ?)", (model, alias, number))

    def delete_alias(self, name: str, alias: str) -> None:
        with self._db.writing() as db:
            check_alias(alias)
            model = rows.model_row_id(db, name)
            # A missing one is no error, as in MLflow
            db.execute("DELETE FROM model_aliases WHERE model = ? AND alias = ?", (model, alias))

    def version_of_alias(self, name: str, alias: str) -> ModelVersion:
        check_alias(alias)
        with self._db.reading() as db:
            if alias.lower() == "latest":
                version = rows.find_newest(db, name)
            else:
                version = rows.find_by_alias(db, name, alias)
        if version is None:
            # The codes that MLflow's clients know: an alias that is not there is a wrong parameter.
            code = "RESOURCE_DOES_NOT_EXIST" if alias.lower() == "latest" else "INVALID_PARAMETER_VALUE"
            raise TrackingError(
                f"the model {quote_short(name)} has no alias {quote_short(alias)}", error_code=code
            )
        return version


def _insert_version(
    db: sqlite3.Connection,
    name: str,
    origin: VersionSource,
    run_link: str,
    description: str,
    tags: Mapping[str, str],
) -> int:
    """Insert a version of the model `name`, and return its number."""
    check_text_length("description", description, MAX_DESCRIPTION)
    check_text_length("run link", run_link, MAX_RUN_LINK)
    model, now = rows.model_row_id(db, name), now_ms()
    db.execute(
        "UPDATE registered_models SET last_version = last_version + 1, last_updated_time = ? WHERE id = ?",
        (now, model),
    )
    (version,) = db.execute("SELECT last_version FROM registered_models WHERE id = ?", (model,)).fetchone()
    cursor = db.execute(
        "INSERT INTO model_versions (model, version, stage, description, source, location, run_id, run_link,"
        " model_id, creation_time, last_updated_time) VALUES (?, ?, 'None', ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(model, version, description, origin.source, origin.location, origin.run_id),
            *(run_link, origin.model_id, now, now),
        ),
    )
    put_pairs(db, "model_version_tags", int(cursor.lastrowid or 0), check_registry_tags(tags))
    return int(version)


def _note_registration(db: sqlite3.Connection, model_id: str, name: str, version: int) -> None:
    number = logged_models.active_row_id(db, model_id)
    row = db.execute(
        "SELECT value FROM logged_model_tags WHERE model = ? AND key = ?", (number, VERSIONS_TAG)
    ).fetchone()
    try:
        known = msgspec.json.decode(row[0], type=list[object]) if row else []
    except msgspec.MsgspecError:  # a client may set the tag to anything
        known = []
    value = msgspec.json.encode([*known, {"name": name, "version": version}]).decode()
    # Not cut to the limit of tags: half a JSON text is none.
    put_pairs(db, "logged_model_tags", number, {VERSIONS_TAG: value})


def _touch(db: sqlite3.Connection, model: int, now: int) -> None:
    db.execute("UPDATE registered_models SET last_updated_time = ? WHERE id = ?", (now, model))


def _check_free(db: sqlite3.Connection, name: str) -> None:
    if db.execute("SELECT 1 FROM registered_models WHERE name = ?", (name,)).fetchone():
        raise TrackingError(
            f"a registered model named {quote_short(name)} already exists",
            "choose another name",
            error_code="RESOURCE_ALREADY_EXISTS",
        )
