"""The model registry of the embedded store."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from projrun.errors import TrackingError
from projrun.tracking.limits import check_alias, parse_version, quote_short
from projrun.tracking.models import (
    PROMPT_TAG,
    STAGES,
    VERSIONS_TAG,
    ModelVersion,
    RegisteredModel,
    parse_stage,
)
from projrun.tracking.sqlite import logged_models, model_sources, registered_model_rows, searches
from projrun.tracking.sqlite.database import Database, put_pairs
from projrun.tracking.sqlite.logged_models import SqliteLoggedModels
from projrun.tracking.sqlite.searches import SearchPage


class SqliteModels(NamedTuple):
    """The models of the embedded store."""

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
            registered_model_rows.insert_model(db, name, description, tags or {})
            return registered_model_rows.get_model(db, name)

    def get_model(self, name: str) -> RegisteredModel:
        with self._db.reading() as db:
            return registered_model_rows.get_model(db, name)

    def rename_model(self, name: str, new_name: str) -> RegisteredModel:
        with self._db.writing() as db:
            registered_model_rows.rename_model(db, name, new_name)
            return registered_model_rows.get_model(db, new_name)

    def describe_model(self, name: str, description: str) -> RegisteredModel:
        with self._db.writing() as db:
            registered_model_rows.describe_model(db, name, description)
            return registered_model_rows.get_model(db, name)

    def delete_model(self, name: str) -> None:
        with self._db.writing() as db:
            registered_model_rows.delete_model(db, name)

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
            registered_model_rows.set_model_tag(db, name, key, value)

    def delete_model_tag(self, name: str, key: str) -> None:
        with self._db.writing() as db:
            registered_model_rows.delete_model_tag(db, name, key)

    def latest_versions(self, name: str, stages: Sequence[str] = ()) -> list[ModelVersion]:
        known = [parse_stage(stage) for stage in stages] or STAGES
        with self._db.reading() as db:
            model = registered_model_rows.model_row_id(db, name)
            return registered_model_rows.latest_versions(db, model, known)

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
            registered_model_rows.model_row_id(db, name)
            if is_prompt:
                origin = model_sources.prompt_source()
            else:
                origin = model_sources.resolve_source(db, source, run_id, model_id, self._root_uri)
            version = registered_model_rows.insert_version(
                db, name, **origin._asdict(), run_link=run_link, description=description, tags=tags or {}
            )
            if origin.model_id:
                _note_registration(db, origin.model_id, name, version)
            return registered_model_rows.get_version(db, name, version)

    def get_version(self, name: str, version: str) -> ModelVersion:
        with self._db.reading() as db:
            return registered_model_rows.get_version(db, name, parse_version(version))

    def describe_version(self, name: str, version: str, description: str) -> ModelVersion:
        with self._db.writing() as db:
            registered_model_rows.describe_version(db, name, parse_version(version), description)
            return registered_model_rows.get_version(db, name, parse_version(version))

    def move_version(
        self, name: str, version: str, stage: str, *, archive_others: bool = False
    ) -> ModelVersion:
        with self._db.writing() as db:
            registered_model_rows.set_stage(db, name, parse_version(version), stage, archive_others)
            return registered_model_rows.get_version(db, name, parse_version(version))

    def delete_version(self, name: str, version: str) -> None:
        with self._db.writing() as db:
            registered_model_rows.delete_version(db, name, parse_version(version))

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
            registered_model_rows.set_version_tag(db, name, parse_version(version), key, value)

    def delete_version_tag(self, name: str, version: str, key: str) -> None:
        with self._db.writing() as db:
            registered_model_rows.delete_version_tag(db, name, parse_version(version), key)

    def location(self, name: str, version: str) -> str:
        with self._db.reading() as db:
            stored = registered_model_rows.get_version(db, name, parse_version(version))
            return model_sources.resolve_location(db, stored, self._root_uri)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        with self._db.writing() as db:
            registered_model_rows.set_alias(db, name, check_alias(alias, new=True), parse_version(version))

    def delete_alias(self, name: str, alias: str) -> None:
        with self._db.writing() as db:
            registered_model_rows.delete_alias(db, name, check_alias(alias))

    def version_of_alias(self, name: str, alias: str) -> ModelVersion:
        check_alias(alias)
        with self._db.reading() as db:
            if alias.lower() == "latest":
                version = registered_model_rows.find_newest(db, name)
            else:
                version = registered_model_rows.find_by_alias(db, name, alias)
        if version is None:
            # The codes that MLflow's clients know: an alias that is not there is a wrong parameter.
            code = "RESOURCE_DOES_NOT_EXIST" if alias.lower() == "latest" else "INVALID_PARAMETER_VALUE"
            raise TrackingError(
                f"the model {quote_short(name)} has no alias {quote_short(alias)}", error_code=code
            )
        return version


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
