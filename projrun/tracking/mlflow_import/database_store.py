"""Reader of the SQLite database of mlflow 1.10 and later. Nothing is written to it."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from projrun.errors import UsageError
from projrun.tracking.entities import RUN_NAME_TAG, DatasetInput, Experiment, Metric, Run
from projrun.tracking.mlflow_import import MlflowLoggedModel, MlflowRegisteredModel, MlflowRun
from projrun.tracking.models import STATUSES, LoggedModel, ModelMetric, ModelVersion, RegisteredModel

LARGEST = 1.7976931348623157e308
# For NaN the models' table has 0, and only the run's tells the difference.
METRICS = """
    SELECT *, metric_value IS NULL OR EXISTS (
        SELECT 1 FROM metrics r WHERE r.run_uuid = m.run_id AND r.key = m.metric_name
        AND r.timestamp = m.metric_timestamp_ms AND r.step = m.metric_step AND r.is_nan
    ) AS is_nan FROM logged_model_metrics m WHERE model_id = ?
"""


def _read_logged_models(db: sqlite3.Connection) -> Iterator[MlflowLoggedModel]:
    if "logged_models" not in _tables(db):
        return
    experiments = _experiments(db)
    for row in db.execute("SELECT * FROM logged_models ORDER BY creation_timestamp_ms, model_id"):
        model_id = row["model_id"]
        metrics = db.execute(METRICS, (model_id,))
        model = LoggedModel(
            model_id=model_id,
            experiment_id=str(row["experiment_id"]),
            name=row["name"],
            model_type=row["model_type"] or "",
            source_run_id=row["source_run_id"] or "",
            status=STATUSES[row["status"] - 1] if row["status"] else "PENDING",  # 0: not specified
            creation_time=row["creation_timestamp_ms"],
            last_updated_time=row["last_updated_timestamp_ms"],
            lifecycle_stage="deleted" if row["lifecycle_stage"] == "deleted" else "active",
            params=_pairs(
                db, "SELECT param_key, param_value FROM logged_model_params WHERE model_id = ?", model_id
            ),
            tags=_pairs(db, "SELECT tag_key, tag_value FROM logged_model_tags WHERE model_id = ?", model_id),
            metrics=tuple(_model_metric(metric) for metric in metrics.fetchall()),
            artifact_uri=row["artifact_location"],
        )
        yield MlflowLoggedModel(experiments[row["experiment_id"]], model)


def _read_registered_models(db: sqlite3.Connection) -> Iterator[MlflowRegisteredModel]:
    tables = _tables(db)
    if not {"registered_models", "model_versions"} <= tables:
        return
    aliases = "SELECT alias, version FROM registered_model_aliases WHERE name = ?"
    for row in db.execute("SELECT * FROM registered_models ORDER BY name"):
        name = row["name"]
        versions = db.execute("SELECT * FROM model_versions WHERE name = ? ORDER BY version", (name,))
        model = RegisteredModel(
            name=name,
            description=row["description"] or "",
            creation_time=row["creation_time"] or 0,
            last_updated_time=row["last_updated_time"] or 0,
            tags=_pairs(db, "SELECT key, value FROM registered_model_tags WHERE name = ?", name),
            aliases=dict(db.execute(aliases, (name,)).fetchall())
            if "registered_model_aliases" in tables
            else {},
        )
        yield MlflowRegisteredModel(model, tuple(_version(db, dict(version)) for version in versions))


def _tables(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _restore_number(value: float, is_nan: bool) -> float:
    if is_nan:
        return math.nan
    # mlflow's databases hold the largest number for infinity.
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else value


def _version(db: sqlite3.Connection, row: Mapping[str, Any]) -> ModelVersion:
    tags = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?"
    return ModelVersion(
        name=row["name"],
        version=row["version"],
        stage=row["current_stage"] or "None",
        description=row["description"] or "",
        source=row["source"] or "",
        location=row.get("storage_location") or "",
        run_id=row["run_id"] or "",
        run_link=row.get("run_link") or "",
        model_id="",
        creation_time=row["creation_time"] or 0,
        last_updated_time=row["last_updated_time"] or 0,
        tags=_pairs(db, tags, row["name"], row["version"]),
    )


def _model_metric(row: sqlite3.Row) -> ModelMetric:
    return ModelMetric(
        key=row["metric_name"],
        value=_restore_number(float(row["metric_value"] or 0), row["is_nan"]),
        timestamp=row["metric_timestamp_ms"],
        step=row["metric_step"],
        model_id=row["model_id"],
        run_id=row["run_id"],
        dataset_name=row["dataset_name"] or "",
        dataset_digest=row["dataset_digest"] or "",
    )


def _pairs(db: sqlite3.Connection, query: str, *values: object) -> dict[str, str]:
    return {key: value or "" for key, value in db.execute(query, values)}


DATASET_TEXTS = ("name", "digest", "source_type", "source", "schema", "profile")
INPUTS = """
    SELECT i.input_uuid, d.name, d.digest, d.dataset_source_type AS source_type, d.dataset_source AS source,
        d.dataset_schema AS schema, d.dataset_profile AS profile
    FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id
    WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id = ?
"""


def runs(path: Path) -> Iterator[MlflowRun]:
    with _open_database(path) as db:
        yield from _read_runs(db, has_inputs="inputs" in _tables(db))


def logged_models(path: Path) -> Iterator[MlflowLoggedModel]:
    with _open_database(path) as db:
        yield from _read_logged_models(db)


def registered_models(path: Path) -> Iterator[MlflowRegisteredModel]:
    with _open_database(path) as db:
        yield from _read_registered_models(db)


@contextmanager
def _open_database(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            if not {"experiments", "runs", "metrics", "params", "tags", "alembic_version"} <= _tables(db):
                raise UsageError(f"{path} is not a tracking database of mlflow", "name its mlflow.db")
            yield db
    except sqlite3.Error as error:
        hint = "name mlflow's own (mlflow.db)" if "not a database" in str(error) else "look at its rights"
        raise UsageError(f"{path} cannot be read: {error}", hint) from None


def _read_runs(db: sqlite3.Connection, *, has_inputs: bool) -> Iterator[MlflowRun]:
    experiments = _experiments(db)
    for row in db.execute("SELECT * FROM runs ORDER BY start_time, run_uuid"):
        run = dict(row)
        run_id = run["run_uuid"]
        tags = _pairs(db, "SELECT key, value FROM tags WHERE run_uuid = ?", run_id)
        metrics = db.execute("SELECT * FROM metrics WHERE run_uuid = ?", (run_id,))
        entity = Run(
            run_id=run_id,
            experiment_id=str(run["experiment_id"]),
            run_name=run.get("name") or tags.get(RUN_NAME_TAG, ""),
            user_id=run.get("user_id") or "",
            status=run["status"] or "FINISHED",
            start_time=run["start_time"] or 0,
            end_time=run["end_time"],
            lifecycle_stage=run["lifecycle_stage"] or "active",
            params=_pairs(db, "SELECT key, value FROM params WHERE run_uuid = ?", run_id),
            tags=tags,
            inputs=tuple(_inputs(db, run_id)) if has_inputs else (),
            artifact_uri=run["artifact_uri"] or "",
            model_inputs=tuple(_links(db, "RUN_INPUT", run_id)) if has_inputs else (),
            model_outputs=_links(db, "RUN_OUTPUT", run_id) if has_inputs else {},
        )
        yield MlflowRun(experiments[run["experiment_id"]], entity, tuple(map(_metric, metrics.fetchall())))


def _links(db: sqlite3.Connection, kind: str, run_id: str) -> dict[str, int]:
    """Return the models that a run read or made, and at which step. Before mlflow 3 there are none."""
    rows = db.execute("SELECT * FROM inputs WHERE source_type = ? AND source_id = ?", (kind, run_id))
    return {row["destination_id"]: row["step"] for row in rows}


def _experiments(db: sqlite3.Connection) -> dict[int, Experiment]:
    return {row["experiment_id"]: _experiment(db, row) for row in db.execute("SELECT * FROM experiments")}


def _experiment(db: sqlite3.Connection, row: sqlite3.Row) -> Experiment:
    experiment = dict(row)
    tags = "SELECT key, value FROM experiment_tags WHERE experiment_id = ?"
    return Experiment(
        experiment_id=str(experiment["experiment_id"]),
        name=experiment["name"],
        artifact_location=experiment["artifact_location"] or "",
        lifecycle_stage=experiment["lifecycle_stage"] or "active",
        creation_time=experiment.get("creation_time") or 0,
        last_update_time=experiment.get("last_update_time") or 0,
        tags=_pairs(db, tags, experiment["experiment_id"]),
    )


def _metric(row: sqlite3.Row) -> Metric:
    return Metric(
        row["key"],
        _restore_number(float(row["value"]), row["is_nan"]),
        int(row["timestamp"]),
        int(row["step"]),
    )


def _inputs(db: sqlite3.Connection, run_id: str) -> Iterator[DatasetInput]:
    for row in db.execute(INPUTS, (run_id,)):
        tags = db.execute("SELECT name, value FROM input_tags WHERE input_uuid = ?", (row["input_uuid"],))
        texts = {name: row[name] or "" for name in DATASET_TEXTS}
        yield DatasetInput(**texts, tags=dict(tags.fetchall()))
