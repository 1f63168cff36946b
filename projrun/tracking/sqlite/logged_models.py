"""Logged models (MLflow 3) in the database, with their metrics and the runs that made or read them."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from projrun.errors import TrackingError
from projrun.processes.usage import now_ms
from projrun.tracking.artifacts import ArtifactDirectory
from projrun.tracking.entities import LifecycleStage, Metric
from projrun.tracking.limits import (
    MAX_DATASET_DIGEST,
    MAX_DATASET_NAME,
    MAX_MODEL_ID,
    MAX_MODEL_LINKS,
    MAX_MODEL_TYPE,
    MAX_RUN_ID,
    check_logged_model_name,
    check_text_length,
    invalid_parameter,
    normalize_params,
    normalize_tags,
    not_found,
    quote_short,
)
from projrun.tracking.models import (
    Dataset,
    LoggedModel,
    LoggedModelStatus,
    ModelMetric,
    ModelOrder,
    parse_model_status,
)
from projrun.tracking.sqlite import experiment_rows, run_rows, searches
from projrun.tracking.sqlite.database import Database, encode_nan, put_pairs
from projrun.tracking.sqlite.run_rows import random_name

SELECT = (
    "SELECT m.id, m.model_id, m.experiment_id, m.name, m.model_type, m.source_run_id, m.status,"
    " m.creation_time, m.last_updated_time, m.lifecycle_stage, e.artifact_location"
    " FROM logged_models m JOIN experiments e ON e.experiment_id = m.experiment_id"
)

Row = tuple[int, str, int, str, str, str, LoggedModelStatus, int, int, LifecycleStage, str]


class SqliteLoggedModels:
    def __init__(self, database: Database, artifacts: Path) -> None:
        self._db, self._artifacts = database, artifacts
        self._root_uri = artifacts.as_uri()

    def create(
        self,
        experiment_id: str,
        *,
        name: str = "",
        model_type: str = "",
        source_run_id: str = "",
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> LoggedModel:
        check_text_length("model type", model_type, MAX_MODEL_TYPE)
        check_text_length("run id", source_run_id, MAX_RUN_ID)
        name = check_logged_model_name(name) or random_name()
        with self._db.writing() as db:
            experiment = experiment_rows.active_row_id(db, experiment_id)
            model_id, now = f"m-{os.urandom(16).hex()}", now_ms()
            cursor = db.execute(
                "INSERT INTO logged_models (model_id, experiment_id, name, model_type, source_run_id, status,"
                " creation_time, last_updated_time) VALUES (?, ?, ?, ?, ?, 'PENDING', ?, ?)",
                (model_id, experiment, name, model_type, source_run_id, now, now),
            )
            number = int(cursor.lastrowid or 0)
            _put_params(db, number, params or {})
            put_tags(db, number, tags or {})
            return get(db, model_id, self._root_uri)

    def get(self, model_id: str, *, allow_deleted: bool = False) -> LoggedModel:
        with self._db.reading() as db:
            return get(db, model_id, self._root_uri, allow_deleted=allow_deleted)

    def finalize(self, model_id: str, status: str) -> LoggedModel:
        with self._db.writing() as db:
            number = active_row_id(db, model_id)
            db.execute(
                "UPDATE logged_models SET status = ?, last_updated_time = ? WHERE id = ?",
                (parse_model_status(status), now_ms(), number),
            )
            return get(db, model_id, self._root_uri)

    def delete(self, model_id: str) -> None:
        with self._db.writing() as db:
            db.execute(
                "UPDATE logged_models SET lifecycle_stage = 'deleted', last_updated_time = ? WHERE id = ?",
                (now_ms(), active_row_id(db, model_id)),
            )

    def set_tags(self, model_id: str, tags: Mapping[str, str]) -> LoggedModel:
        with self._db.writing() as db:
            put_tags(db, active_row_id(db, model_id), tags)
            return get(db, model_id, self._root_uri)

    def delete_tag(self, model_id: str, key: str) -> None:
        with self._db.writing() as db:
            number = active_row_id(db, model_id)
            gone = db.execute("DELETE FROM logged_model_tags WHERE model = ? AND key = ?", (number, key))
            if not gone.rowcount:
                raise not_found(f"the model {model_id} has no tag {quote_short(key)}")

    def log_params(self, model_id: str, params: Mapping[str, str]) -> None:
        with self._db.writing() as db:
            _put_params(db, active_row_id(db, model_id), params)

    def search(
        self,
        experiment_ids: Sequence[str],
        filter_string: str = "",
        datasets: Sequence[Dataset] = (),
        order_by: Sequence[ModelOrder] = (),
        max_results: int = 100,
        page_token: str = "",
    ) -> tuple[list[LoggedModel], str]:
        with self._db.reading() as db:
            rows, token = searches.search_logged_models(
                db, SELECT, experiment_ids, filter_string, datasets, order_by, max_results, page_token
            )
            return [_loaded(db, row, self._root_uri) for row in rows], token

    def log_inputs(self, run_id: str, model_ids: Sequence[str]) -> None:
        self._link(run_id, "input", dict.fromkeys(model_ids, 0))

    def log_outputs(self, run_id: str, steps: Mapping[str, int]) -> None:
        self._link(run_id, "output", steps)

    def artifacts(self, model_id: str) -> ArtifactDirectory:
        with self._db.connection() as db:
            row = db.execute("SELECT experiment_id FROM logged_models WHERE model_id = ?", (model_id,))
            number = row.fetchone()
        if number is None:
            raise _missing(model_id)
        return ArtifactDirectory(self._artifacts, f"{number[0]}/models/{model_id}")

    def _link(self, run_id: str, role: str, steps: Mapping[str, int]) -> None:
        if len(steps) > MAX_MODEL_LINKS:
            raise invalid_parameter(
                f"{len(steps)} models exceed the limit of {MAX_MODEL_LINKS}", "log them in parts"
            )
        with self._db.writing() as db:
            run = run_rows.active_row_id(db, run_id)
            for model_id in steps:  # it need not be a model of this store
                check_text_length("model id", model_id, MAX_MODEL_ID)
            rows = [(run, role, model_id, step) for model_id, step in steps.items()]
            db.executemany("INSERT OR REPLACE INTO run_models VALUES (?, ?, ?, ?)", rows)


def get(db: sqlite3.Connection, model_id: str, root_uri: str, *, allow_deleted: bool = False) -> LoggedModel:
    row = db.execute(SELECT + " WHERE m.model_id = ?", (model_id,)).fetchone()
    if row is None or (row[9] != "active" and not allow_deleted):
        raise _missing(model_id)
    return _loaded(db, row, root_uri)


def active_row_id(db: sqlite3.Connection, model_id: str) -> int:
    row = db.execute(
        "SELECT id FROM logged_models WHERE model_id = ? AND lifecycle_stage = 'active'", (model_id,)
    ).fetchone()
    if row is None:
        raise _missing(model_id)
    return int(row[0])


def put_tags(db: sqlite3.Connection, number: int, tags: Mapping[str, str]) -> None:
    put_pairs(db, "logged_model_tags", number, normalize_tags(tags))


def put_metrics(db: sqlite3.Connection, run_id: str, metrics: Sequence[Metric]) -> None:
    """Store the metrics that measure a model. They were checked and logged for the run before."""
    numbers: dict[str, int] = {}
    for metric in metrics:
        if not metric.model_id:
            continue
        if metric.model_id not in numbers:
            numbers[metric.model_id] = active_row_id(db, metric.model_id)
        check_text_length("dataset's", metric.dataset_name, MAX_DATASET_NAME)
        check_text_length("dataset's", metric.dataset_digest, MAX_DATASET_DIGEST)
        put_metric(db, numbers[metric.model_id], run_id, metric)


def put_metric(db: sqlite3.Connection, number: int, run_id: str, metric: Metric | ModelMetric) -> None:
    dataset = (metric.dataset_name, metric.dataset_digest)
    db.execute(
        "INSERT OR IGNORE INTO logged_model_metrics VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (number, metric.key, metric.step, metric.timestamp, *encode_nan(metric.value), run_id, *dataset),
    )


def _put_params(db: sqlite3.Connection, number: int, params: Mapping[str, str]) -> None:
    for key, value in normalize_params(params).items():
        db.execute("INSERT OR IGNORE INTO logged_model_params VALUES (?, ?, ?)", (number, key, value))
        (stored,) = db.execute(
            "SELECT value FROM logged_model_params WHERE model = ? AND key = ?", (number, key)
        ).fetchone()
        if stored != value:
            raise invalid_parameter(
                f"the model's parameter {quote_short(key)} is {quote_short(stored)} and cannot change"
            )


def _loaded(db: sqlite3.Connection, row: Row, root_uri: str) -> LoggedModel:
    number, model_id, experiment, name, model_type, run_id, status, created, updated, stage, location = row
    root = f"{location}/models/{model_id}/artifacts" if location else ""
    return LoggedModel(
        model_id=model_id,
        experiment_id=str(experiment),
        name=name,
        model_type=model_type,
        source_run_id=run_id,
        status=status,
        artifact_uri=root or f"{root_uri}/{experiment}/models/{model_id}",
        creation_time=created,
        last_updated_time=updated,
        lifecycle_stage=stage,
        params=dict(db.execute("SELECT key, value FROM logged_model_params WHERE model = ?", (number,))),
        tags=dict(db.execute("SELECT key, value FROM logged_model_tags WHERE model = ?", (number,))),
        metrics=_metrics(db, number, model_id),
    )


def _metrics(db: sqlite3.Connection, number: int, model_id: str) -> tuple[ModelMetric, ...]:
    rows = db.execute(
        "SELECT key, value, is_nan, timestamp, step, run_id, dataset_name, dataset_digest"
        " FROM logged_model_metrics WHERE model = ? ORDER BY timestamp, step, key",
        (number,),
    )
    return tuple(
        ModelMetric(
            key=key,
            value=math.nan if is_nan else value,
            timestamp=timestamp,
            step=step,
            model_id=model_id,
            run_id=run_id,
            dataset_name=dataset_name,
            dataset_digest=dataset_digest,
        )
        for key, value, is_nan, timestamp, step, run_id, dataset_name, dataset_digest in rows
    )


def _missing(model_id: str) -> TrackingError:
    return not_found(f"there is no logged model with the id {quote_short(model_id)}")
