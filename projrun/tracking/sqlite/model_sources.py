"""Sources of versions of registered models: entries of this store, and nothing else.

Clients open what a version names. A file path or a stranger's URL would make them read, and hand on, what
was never logged.
"""

from __future__ import annotations

import re
import sqlite3
from typing import NamedTuple
from urllib.parse import unquote

from projrun.errors import TrackingError
from projrun.tracking.artifacts import split_artifact_path
from projrun.tracking.limits import (
    MAX_ARTIFACT_LOCATION,
    check_alias,
    check_text,
    check_text_length,
    invalid_parameter,
    not_found,
    parse_version,
    quote_short,
)
from projrun.tracking.models import PROMPT_SOURCE, STAGES, ModelVersion, parse_stage
from projrun.tracking.sqlite import logged_models, registered_model_rows, run_rows

MODEL_ID = re.compile(r"m-[0-9a-f]{32}")


class VersionSource(NamedTuple):
    source: str
    # The source resolved: models:/<model id>, runs:/<run id>/<path> or an artifact URI; '' for none.
    location: str
    run_id: str
    model_id: str


def resolve_source(
    db: sqlite3.Connection, source: str, run_id: str, model_id: str, root_uri: str
) -> VersionSource:
    """Resolve `source`. Raises INVALID_PARAMETER_VALUE if a version may not come from there."""
    check_text_length("source", source, MAX_ARTIFACT_LOCATION)
    check_text("run id", run_id)
    scheme, _, rest = source.partition(":")
    if any(char in rest for char in "?#\\\0") or re.search(r"[\x00-\x1f]", rest):
        raise _refused(source)
    given = VersionSource(source, source, run_id, model_id)
    if scheme in ("runs", "models", "mlflow-artifacts"):
        if not rest.startswith("/") or rest.startswith("//"):
            raise _refused(source)
        return _KINDS[scheme](db, given, rest[1:], root_uri)
    return _elsewhere(db, given, root_uri)


def resolve_location(db: sqlite3.Connection, version: ModelVersion, root_uri: str) -> str:
    """Return the URI of the version's files, checked again: the database may be older than the rules."""
    return resolve_source(db, version.location, version.run_id, version.model_id, root_uri).location


def prompt_source() -> VersionSource:
    # A prompt has no files: what a client names as its source is not kept.
    return VersionSource(PROMPT_SOURCE, "", "", "")


def _of_run(db: sqlite3.Connection, given: VersionSource, rest: str, root_uri: str) -> VersionSource:
    run_id, _, path = rest.partition("/")
    _check_path(given.source, path)
    _run_directory(db, given.source, run_id)
    return given._replace(run_id=_same(given, "run_id", run_id))


def _of_model(db: sqlite3.Connection, given: VersionSource, rest: str, root_uri: str) -> VersionSource:
    if MODEL_ID.fullmatch(rest):
        _same(given, "model_id", rest)
        model = logged_models.get(db, rest, root_uri)
        return given._replace(run_id=given.run_id or model.source_run_id, model_id=rest)
    version = _registered(db, given.source, rest)
    for field in ("run_id", "model_id"):
        if getattr(given, field):
            _same(given, field, getattr(version, field))
    source = f"models:/{version.name}/{version.version}"
    return VersionSource(source, version.location, version.run_id, version.model_id)


def _of_artifacts(db: sqlite3.Connection, given: VersionSource, rest: str, root_uri: str) -> VersionSource:
    # rest: <experiment>/<run>/artifacts/… or <experiment>/models/<model>/artifacts…
    experiment, _, rest = rest.partition("/")
    owner, _, rest = rest.partition("/")
    if owner == "models":
        model_id, _, rest = rest.partition("/")
        model = logged_models.get(db, model_id, root_uri)
        directory = f"{model.experiment_id}/models"
        result = given._replace(
            run_id=given.run_id or model.source_run_id, model_id=_same(given, "model_id", model_id)
        )
    else:
        directory = _run_directory(db, given.source, owner)
        result = given._replace(run_id=_same(given, "run_id", owner))
    fixed, _, path = rest.partition("/")
    if directory != f"{experiment}/{owner}" or fixed != "artifacts":
        raise _refused(given.source)
    if path or owner != "models":
        _check_path(given.source, path)
    return result


def _elsewhere(db: sqlite3.Connection, given: VersionSource, root_uri: str) -> VersionSource:
    """Accept a URI elsewhere if the experiment keeps the artifacts of just this run or model there."""
    if given.model_id:
        root = logged_models.get(db, given.model_id, root_uri).artifact_uri
    elif given.run_id:
        _run_directory(db, given.source, given.run_id)
        root = run_rows.get(db, given.run_id, root_uri).artifact_uri
    else:
        raise _refused(given.source)
    if root.startswith(f"{root_uri}/") or not f"{given.source}/".startswith(f"{root}/"):
        raise _refused(given.source)
    if path := given.source[len(root) + 1 :]:
        _check_path(given.source, path)
    return given


_KINDS = {"runs": _of_run, "models": _of_model, "mlflow-artifacts": _of_artifacts}


def _registered(db: sqlite3.Connection, source: str, rest: str) -> ModelVersion:
    # rest: <name>/<version, stage or latest> or <name>@<alias>
    name, at, alias = rest.rpartition("@")
    if at and "/" not in rest:
        version = registered_model_rows.find_by_alias(db, name, check_alias(alias))
    else:
        name, _, which = rest.rpartition("/")
        version = _chosen(db, name, which)
    if version is None:
        raise not_found(f"there is no model {quote_short(source)}")
    if not version.location:
        raise _refused(source)
    return version


def _chosen(db: sqlite3.Connection, name: str, which: str) -> ModelVersion | None:
    if which.lower() == "latest":
        return registered_model_rows.find_newest(db, name)
    if any(stage.lower() == which.lower() for stage in STAGES):
        model = registered_model_rows.model_row_id(db, name)
        versions = registered_model_rows.latest_versions(db, model, [parse_stage(which)])
        return versions[0] if versions else None
    return registered_model_rows.get_version(db, name, parse_version(which))


def _run_directory(db: sqlite3.Connection, source: str, run_id: str) -> str:
    try:
        return run_rows.artifact_path(db, run_id)
    except TrackingError:
        raise invalid_parameter(f"the source {quote_short(source)} names no run of this store") from None


def _same(given: VersionSource, field: str, value: str) -> str:
    if getattr(given, field) not in ("", value):
        raise invalid_parameter(
            f"the source {quote_short(given.source)} and the {field} {quote_short(value)} do not fit together"
        )
    return value


def _check_path(source: str, path: str) -> None:
    # A client may decode the path any number of times.
    try:
        while True:
            split_artifact_path(path)
            if "\\" in path:
                raise _refused(source)
            if (decoded := unquote(path)) == path:
                return
            path = decoded
    except TrackingError:
        raise _refused(source) from None


def _refused(source: str) -> TrackingError:
    return invalid_parameter(
        f"the source {quote_short(source)} is no place that a model version may come from",
        "use runs:/<run id>/<path>, models:/<model id>, models:/<name>/<version>"
        " or the artifact URI of a run or model of this server",
    )
