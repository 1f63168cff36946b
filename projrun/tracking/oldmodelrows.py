"""The models in mlflow's SQLite database: logged ones since mlflow 3, registered ones since 1.4."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from projrun.tracking.modelentities import STATUSES, ModelMetric
from projrun.tracking.oldstores import OldExperiment, OldLoggedModel, OldRegisteredModel, OldVersion

LARGEST = 1.7976931348623157e308
METRICS = """
    SELECT *, metric_value IS NULL OR EXISTS (
        SELECT 1 FROM metrics r WHERE r.run_uuid = m.run_id AND r.key = m.metric_name
        AND r.timestamp = m.metric_timestamp_ms AND r.step = m.metric_step AND r.is_nan
    ) AS is_nan FROM logged_model_metrics m WHERE model_id = ?
"""
"""For NaN the models' table has 0, and only the run's tells the difference."""


def logged_models(
    db: sqlite3.Connection, experiments: Mapping[int, OldExperiment]
) -> Iterator[OldLoggedModel]:
    if "logged_models" not in tables_of(db):
        return
    for row in db.execute("SELECT * FROM logged_models ORDER BY creation_timestamp_ms, model_id"):
        model_id = row["model_id"]
        metrics = db.execute(METRICS, (model_id,))
        yield OldLoggedModel(
            model_id=model_id,
            experiment=experiments[row["experiment_id"]],
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
            metrics=tuple(_metric(metric) for metric in metrics.fetchall()),
            artifact_uri=row["artifact_location"],
        )


def registered_models(db: sqlite3.Connection) -> Iterator[OldRegisteredModel]:
    tables = tables_of(db)
    if not {"registered_models", "model_versions"} <= tables:
        return
    aliases = "SELECT alias, version FROM registered_model_aliases WHERE name = ?"
    for row in db.execute("SELECT * FROM registered_models ORDER BY name"):
        name = row["name"]
        versions = db.execute("SELECT * FROM model_versions WHERE name = ? ORDER BY version", (name,))
        yield OldRegisteredModel(
            name=name,
            description=row["description"] or "",
            creation_time=row["creation_time"] or 0,
            last_updated_time=row["last_updated_time"] or 0,
            tags=_pairs(db, "SELECT key, value FROM registered_model_tags WHERE name = ?", name),
            aliases=dict(db.execute(aliases, (name,)).fetchall())
            if "registered_model_aliases" in tables
            else {},
            versions=tuple(_version(db, dict(version)) for version in versions.fetchall()),
        )


def tables_of(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def unclipped(value: float) -> float:
    """mlflow's databases hold the largest number for infinity."""
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else value


def _version(db: sqlite3.Connection, row: Mapping[str, Any]) -> OldVersion:
    tags = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?"
    return OldVersion(
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


def _metric(row: sqlite3.Row) -> ModelMetric:
    return ModelMetric(
        key=row["metric_name"],
        value=math.nan if row["is_nan"] else unclipped(float(row["metric_value"])),
        timestamp=row["metric_timestamp_ms"],
        step=row["metric_step"],
        model_id=row["model_id"],
        run_id=row["run_id"],
        dataset_name=row["dataset_name"] or "",
        dataset_digest=row["dataset_digest"] or "",
    )


def _pairs(db: sqlite3.Connection, query: str, *values: object) -> dict[str, str]:
    return {key: value or "" for key, value in db.execute(query, values)}
