"""Models of mlflow's own stores, written inside the caller's transaction."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

import msgspec

from projrun.errors import TrackingError
from projrun.net import without_credentials
from projrun.tracking.artifacts import LOCATION_SCHEMES
from projrun.tracking.entities import LOGGED_MODELS_TAG
from projrun.tracking.limits import normalize_params, normalize_tags
from projrun.tracking.mlflow_import.stores import MlflowLoggedModel, MlflowModelVersion, MlflowRegisteredModel
from projrun.tracking.model_limits import (
    MAX_DESCRIPTION,
    MAX_MODEL_TYPE,
    MAX_RUN_LINK,
    check_alias,
    check_logged_model_name,
    check_model_name,
    check_registry_tags,
    check_text_length,
    parse_stage,
)
from projrun.tracking.models import PROMPT_SOURCE, PROMPT_TAG, VERSIONS_TAG
from projrun.tracking.sqlite import model_sources
from projrun.tracking.sqlite.model_sources import MODEL_ID, VersionSource

JSON_TAGS = (LOGGED_MODELS_TAG, VERSIONS_TAG)
"""Not cut to the limit of tags: half a JSON text is none."""
OF_RUN = re.compile(r"/([0-9a-f]{32})/artifacts/(.+)")
OF_LOGGED = re.compile(r"/models/(m-[0-9a-f]{32})/artifacts")


class Registered(msgspec.Struct):
    """The result for one registered model: how many versions came, and which did not, or only in part."""

    versions: int = 0
    others: list[str] = []
    unfounded: list[str] = []


def tags_of(tags: Mapping[str, str]) -> dict[str, str]:
    whole = {key: value for key, value in tags.items() if key in JSON_TAGS}
    return {**normalize_tags(tags), **whole}


def insert_logged(db: sqlite3.Connection, experiment: int, model: MlflowLoggedModel) -> None:
    cursor = db.execute(
        "INSERT OR IGNORE INTO logged_models (model_id, experiment_id, name, model_type, source_run_id,"
        " status, creation_time, last_updated_time, lifecycle_stage) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            model.model_id,
            experiment,
            check_logged_model_name(model.name),
            check_text_length("model type", model.model_type, MAX_MODEL_TYPE),
            model.source_run_id,
            model.status,
            model.creation_time,
            model.last_updated_time,
            model.lifecycle_stage,
        ),
    )
    if not cursor.rowcount:
        return  # another import was faster
    number = int(cursor.lastrowid or 0)
    params = [(number, key, value) for key, value in normalize_params(model.params).items()]
    db.executemany("INSERT INTO logged_model_params VALUES (?, ?, ?)", params)
    tags = [(number, key, value) for key, value in tags_of(model.tags).items()]
    db.executemany("INSERT INTO logged_model_tags VALUES (?, ?, ?)", tags)
    for metric in model.metrics:
        is_nan = math.isnan(metric.value)
        value = (0.0 if is_nan else metric.value, int(is_nan))
        of = (metric.run_id, metric.dataset_name, metric.dataset_digest)
        db.execute(
            "INSERT OR IGNORE INTO logged_model_metrics VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, metric.key, metric.step, metric.timestamp, *value, *of),
        )


def register(db: sqlite3.Connection, model: MlflowRegisteredModel, root_uri: str) -> Registered:
    """A model that is there keeps its description, tags and aliases, and gets the versions that it lacks."""
    name, came = check_model_name(model.name), Registered()
    number = _model(db, name, model)
    for version in model.versions:
        known = db.execute(
            "SELECT creation_time FROM model_versions WHERE model = ? AND version = ?",
            (number, version.version),
        ).fetchone()
        if known is None:
            if not _insert_version(db, number, version, root_uri):
                came.unfounded.append(f"{name}/{version.version}")
            came.versions += 1
            _put_aliases(db, number, version.version, model.aliases)
        elif known != (version.creation_time,):
            came.others.append(f"{name}/{version.version}")
    return came


def _model(db: sqlite3.Connection, name: str, model: MlflowRegisteredModel) -> int:
    row = db.execute("SELECT id FROM registered_models WHERE name = ?", (name,)).fetchone()
    if row is not None:
        return int(row[0])
    cursor = db.execute(
        "INSERT INTO registered_models (name, description, creation_time, last_updated_time)"
        " VALUES (?, ?, ?, ?)",
        (
            name,
            check_text_length("description", model.description, MAX_DESCRIPTION),
            model.creation_time,
            model.last_updated_time,
        ),
    )
    number = int(cursor.lastrowid or 0)
    tags = [(number, key, value) for key, value in check_registry_tags(model.tags).items()]
    db.executemany("INSERT INTO registered_model_tags VALUES (?, ?, ?)", tags)
    return number


def _insert_version(db: sqlite3.Connection, number: int, version: MlflowModelVersion, root_uri: str) -> bool:
    """Insert a version; return True if it names a source that clients may open."""
    origin = _origin(db, version, root_uri)
    cursor = db.execute(
        "INSERT INTO model_versions (model, version, stage, description, source, location, run_id, run_link,"
        " model_id, creation_time, last_updated_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number,
            version.version,
            parse_stage(version.stage),
            check_text_length("description", version.description, MAX_DESCRIPTION),
            origin.source,
            origin.location,
            origin.run_id,
            check_text_length("run link", version.run_link, MAX_RUN_LINK),
            origin.model_id,
            version.creation_time,
            version.last_updated_time,
        ),
    )
    row = int(cursor.lastrowid or 0)
    tags = [(row, key, value) for key, value in check_registry_tags(version.tags).items()]
    db.executemany("INSERT INTO model_version_tags VALUES (?, ?, ?)", tags)
    db.execute(
        "UPDATE registered_models SET last_version = max(last_version, ?) WHERE id = ?",
        (version.version, number),
    )
    return bool(origin.location) or origin.source == PROMPT_SOURCE


def _origin(db: sqlite3.Connection, version: MlflowModelVersion, root_uri: str) -> VersionSource:
    """Return the source that clients may open instead of the old place, perhaps without a location."""
    if version.tags.get(PROMPT_TAG, "").lower() == "true":
        return model_sources.prompt_source()
    for source in _sources(version):
        try:
            return model_sources.resolve_source(db, source, version.run_id, "", root_uri)
        except TrackingError:
            continue
    is_elsewhere = urlsplit(version.source).scheme in LOCATION_SCHEMES and not version.source.startswith(
        "file:"
    )
    source = without_credentials(version.source) if is_elsewhere else ""
    return VersionSource(source, "", version.run_id, "")


def _sources(version: MlflowModelVersion) -> Iterator[str]:
    """Yield the version's possible sources here: its files came with its logged model or its run."""
    places = [version.location, version.source]
    model_ids = [version.model_id, version.source.removeprefix("models:/")]
    model_ids += [found[1] for place in places if (found := OF_LOGGED.search(place))]
    yield from (f"models:/{model_id}" for model_id in model_ids if MODEL_ID.fullmatch(model_id))
    for place in places:
        if found := OF_RUN.search(place):
            yield f"runs:/{found[1]}/{unquote(found[2])}"
    yield from filter(None, places)


def _put_aliases(db: sqlite3.Connection, number: int, version: int, aliases: Mapping[str, int]) -> None:
    """One that has been given to another version since stays there."""
    names = [check_alias(alias) for alias, of in aliases.items() if of == version]
    rows = [(number, alias, version) for alias in names]
    db.executemany("INSERT OR IGNORE INTO model_aliases VALUES (?, ?, ?)", rows)
