"""Runs as they are read from the database: all that belongs to a page of them, in a few queries."""

from __future__ import annotations

import math
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from projrun.tracking.entities import DatasetInput, LifecycleStage, Metric, Run, RunStatus

SELECT = (
    "SELECT r.id, r.run_id, r.experiment_id, r.name, r.user_id, r.status, r.start_time, r.end_time,"
    " r.lifecycle_stage, e.artifact_location"
    " FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id"
)

Row = tuple[int, str, int, str, str, RunStatus, int, "int | None", LifecycleStage, str]

METRICS = (
    "SELECT run, key, value, is_nan, timestamp, step FROM latest_metrics"
    " WHERE run IN (SELECT value FROM json_each(?))"
)
PARAMS = "SELECT run, key, value FROM params WHERE run IN (SELECT value FROM json_each(?))"
TAGS = "SELECT run, key, value FROM tags WHERE run IN (SELECT value FROM json_each(?))"
MODELS = "SELECT run, role, model_id, step FROM run_models WHERE run IN (SELECT value FROM json_each(?))"
DATASETS = (
    "SELECT run, name, digest, source_type, source, schema, profile, tags FROM datasets"
    " WHERE run IN (SELECT value FROM json_each(?)) ORDER BY rowid"
)


def loaded(db: sqlite3.Connection, rows: Sequence[Row], root_uri: str) -> list[Run]:
    """The runs of `rows`, which `SELECT` found, in their order."""
    numbers = msgspec.json.encode([row[0] for row in rows]).decode()
    metrics, params, tags, models, datasets = (
        _by_run(db.execute(query, (numbers,))) for query in (METRICS, PARAMS, TAGS, MODELS, DATASETS)
    )
    return [
        Run(
            run_id=run_id,
            experiment_id=str(experiment),
            run_name=name,
            user_id=user_id,
            status=status,
            start_time=start,
            end_time=end,
            artifact_uri=f"{location}/{run_id}/artifacts"
            if location
            else f"{root_uri}/{experiment}/{run_id}",
            lifecycle_stage=stage,
            params=dict(params[number]),
            tags=dict(tags[number]),
            metrics={metric[0]: metric_of(metric) for metric in metrics[number]},
            inputs=tuple(_dataset(*dataset) for dataset in datasets[number]),
            model_inputs=tuple(model_id for role, model_id, _ in models[number] if role == "input"),
            model_outputs={model_id: step for role, model_id, step in models[number] if role == "output"},
        )
        for number, run_id, experiment, name, user_id, status, start, end, stage, location in rows
    ]


def metric_of(row: tuple[str, float, int, int, int]) -> Metric:
    """row: key, value, is_nan, timestamp, step"""
    key, value, is_nan, timestamp, step = row
    return Metric(key, math.nan if is_nan else value, timestamp, step)


def _by_run(rows: sqlite3.Cursor) -> defaultdict[int, list[Any]]:
    found: defaultdict[int, list[Any]] = defaultdict(list)
    for run, *rest in rows:
        found[run].append(rest)
    return found


def _dataset(
    name: str, digest: str, source_type: str, source: str, schema: str, profile: str, tags: str
) -> DatasetInput:
    return DatasetInput(
        name=name,
        digest=digest,
        source_type=source_type,
        source=source,
        schema=schema,
        profile=profile,
        tags=msgspec.json.decode(tags, type=dict[str, str]),
    )
