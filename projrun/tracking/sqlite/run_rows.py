"""Runs in the database. Each function works inside the caller's transaction."""

from __future__ import annotations

import math
import os
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from projrun.errors import TrackingError
from projrun.processes.usage import now_ms
from projrun.tracking.entities import (
    LOGGED_MODELS_TAG,
    RUN_NAME_TAG,
    TERMINATED,
    DatasetInput,
    LifecycleStage,
    Metric,
    Run,
    RunStatus,
)
from projrun.tracking.limits import (
    check_batch,
    check_dataset,
    check_metrics,
    check_run_name,
    check_text,
    check_time,
    invalid_parameter,
    normalize_params,
    normalize_tags,
    not_found,
    quote_short,
)
from projrun.tracking.sqlite import experiment_rows
from projrun.tracking.sqlite.database import encode_nan, put_pairs

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
DATASET_COLUMNS = ("name", "digest", "source_type", "source", "schema", "profile", "tags")
DATASETS = (
    "SELECT run, name, digest, source_type, source, schema, profile, tags FROM datasets"
    " WHERE run IN (SELECT value FROM json_each(?)) ORDER BY rowid"
)


def load(db: sqlite3.Connection, rows: Sequence[Row], root_uri: str) -> list[Run]:
    """Return the runs of `rows`, which are those of `SELECT`, in their order."""
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
            metrics={metric[0]: to_metric(metric) for metric in metrics[number]},
            inputs=tuple(map(_dataset, datasets[number])),
            model_inputs=tuple(model_id for role, model_id, _ in models[number] if role == "input"),
            model_outputs={model_id: step for role, model_id, step in models[number] if role == "output"},
        )
        for number, run_id, experiment, name, user_id, status, start, end, stage, location in rows
    ]


def to_metric(row: tuple[str, float, int, int, int]) -> Metric:
    key, value, is_nan, timestamp, step = row
    return Metric(key, math.nan if is_nan else value, timestamp, step)


def _by_run(rows: sqlite3.Cursor) -> defaultdict[int, list[Any]]:
    rows_of_run: defaultdict[int, list[Any]] = defaultdict(list)
    for run, *rest in rows:
        rows_of_run[run].append(rest)
    return rows_of_run


def _dataset(row: Sequence[str]) -> DatasetInput:
    fields = dict(zip(DATASET_COLUMNS, row))
    return DatasetInput(**{**fields, "tags": msgspec.json.decode(row[-1], type=dict[str, str])})  # type: ignore[arg-type]


_ADJECTIVES = """
able airy amber ample avid azure bold brave breezy bright brisk bronze calm candid cheery clear
clever coral cosy crisp curious dapper daring deft dewy eager early earnest fair fancy fleet fond
frank fresh gentle giddy glad golden grand happy hardy hazel honest humble ivory jade jaunty jolly
keen kind lively loyal lucid lunar mellow merry mild mint misty modest neat nimble noble opal
patient plucky polite proud quick quiet rapid ready rosy ruby rustic sage serene sharp silent silver
sleek smooth snug solar solid spry stable steady stellar sunny swift tidy tranquil trusty upbeat
vivid warm wise witty zesty
"""
_NOUNS = """
acorn anchor aspen badger bamboo beacon beaver birch bison brook canyon cedar cliff clover comet
condor copper cove crane creek cricket delta dolphin dune eagle ember falcon fern finch fjord forest
fox gale geyser glacier glade granite grove gull harbor hare hawk hazel heron hill ibis iris island
jaguar juniper kestrel lagoon lake lark laurel lemur lichen lily lotus lynx magpie maple marmot
marsh meadow mesa moose moss moth newt oak ocean orchid oriole osprey otter owl panda pebble pelican
pine plover pond poplar puffin quail quartz rapids raven reed reef ridge river robin salmon sparrow
spruce stork stream summit swan thistle tiger trout tulip tundra valley walrus willow wolf wren yak
"""


def random_name() -> str:
    """Return a readable name such as brisk-heron-412."""
    adjectives, nouns = _ADJECTIVES.split(), _NOUNS.split()
    number = int.from_bytes(os.urandom(8), "big")
    number, digits = divmod(number, 1000)
    number, noun = divmod(number, len(nouns))
    return f"{adjectives[number % len(adjectives)]}-{nouns[noun]}-{digits}"


ROWS_AT_ONCE = 100
INSERT_METRIC = "INSERT OR IGNORE INTO metrics VALUES (?, ?, ?, ?, ?, ?)"
# A statement with many rows takes a third of the time of as many statements.
INSERT_MANY = INSERT_METRIC + ", (?, ?, ?, ?, ?, ?)" * (ROWS_AT_ONCE - 1)
STATUSES: tuple[RunStatus, ...] = ("SCHEDULED", "RUNNING", *TERMINATED)

MetricRow = tuple[int, str, int, int, float, int]  # run, key, step, timestamp, value, is_nan


def insert(
    db: sqlite3.Connection,
    experiment_id: str,
    run_name: str,
    user_id: str,
    start_time: int | None,
    tags: Mapping[str, str],
    status: RunStatus,
) -> str:
    number = experiment_rows.active_row_id(db, experiment_id)
    named = tags.get(RUN_NAME_TAG, "")
    if run_name and named and run_name != named:
        raise invalid_parameter(
            f"the run name {quote_short(run_name)} and the tag {RUN_NAME_TAG} {quote_short(named)} differ"
        )
    name = check_run_name(run_name or named or random_name())
    check_text("user", user_id)
    start = now_ms() if start_time is None else start_time
    check_time("start_time", start)
    run_id = os.urandom(16).hex()
    cursor = db.execute(
        "INSERT INTO runs (run_id, experiment_id, name, user_id, status, start_time)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (run_id, number, name, user_id, _checked_status(status), start),
    )
    _put_tags(db, int(cursor.lastrowid or 0), normalize_tags({**tags, RUN_NAME_TAG: name}))
    return run_id


def get(db: sqlite3.Connection, run_id: str, root_uri: str) -> Run:
    rows = db.execute(SELECT + " WHERE r.run_id = ?", (run_id,)).fetchall()
    if not rows:
        raise _missing(run_id)
    return load(db, rows, root_uri)[0]


def artifact_path(db: sqlite3.Connection, run_id: str) -> str:
    """Return the path of the run's artifacts below the root: <experiment id>/<run id>."""
    row = db.execute("SELECT experiment_id FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        raise _missing(run_id)
    return f"{row[0]}/{run_id}"


def update(
    db: sqlite3.Connection, run_id: str, status: RunStatus | None, end_time: int | None, run_name: str | None
) -> None:
    number = active_row_id(db, run_id)
    if status is not None:
        db.execute("UPDATE runs SET status = ? WHERE id = ?", (_checked_status(status), number))
    if end_time is not None:
        check_time("end_time", end_time)
        db.execute("UPDATE runs SET end_time = ? WHERE id = ?", (end_time, number))
    if run_name:
        _put_tags(db, number, {RUN_NAME_TAG: run_name})


def set_stage(db: sqlite3.Connection, run_id: str, stage: LifecycleStage) -> None:
    moved = db.execute("UPDATE runs SET lifecycle_stage = ? WHERE run_id = ?", (stage, run_id))
    if not moved.rowcount:
        raise _missing(run_id)


def move_to_experiment(db: sqlite3.Connection, run_id: str, experiment_id: str) -> None:
    experiment = experiment_rows.active_row_id(db, experiment_id)
    number = active_row_id(db, run_id)
    db.execute("UPDATE runs SET experiment_id = ? WHERE id = ?", (experiment, number))


def log_batch(
    db: sqlite3.Connection,
    run_id: str,
    metrics: Sequence[Metric],
    params: Mapping[str, str],
    tags: Mapping[str, str],
) -> None:
    check_batch(metrics, params, tags)
    check_metrics(metrics)
    number = active_row_id(db, run_id)
    _put_params(db, number, normalize_params(params))
    _put_metrics(db, number, metrics)
    _put_tags(db, number, normalize_tags(tags))


def delete_tag(db: sqlite3.Connection, run_id: str, key: str) -> None:
    number = active_row_id(db, run_id)
    if not db.execute("DELETE FROM tags WHERE run = ? AND key = ?", (number, key)).rowcount:
        raise not_found(f"the run {run_id} has no tag {quote_short(key)}")


def log_model(db: sqlite3.Connection, run_id: str, model: Mapping[str, object]) -> None:
    number = active_row_id(db, run_id)
    row = db.execute(
        "SELECT value FROM tags WHERE run = ? AND key = ?", (number, LOGGED_MODELS_TAG)
    ).fetchone()
    history = msgspec.json.decode(row[0], type=list[object]) if row else []
    value = msgspec.json.encode([*history, model]).decode()
    # Not cut to the limit of tags: half a JSON text is none.
    put_pairs(db, "tags", number, {LOGGED_MODELS_TAG: value})


def log_inputs(db: sqlite3.Connection, run_id: str, datasets: Sequence[DatasetInput]) -> None:
    number = active_row_id(db, run_id)
    for data in datasets:
        check_dataset(data)
        tags = msgspec.json.encode(data.tags).decode()
        db.execute(
            "INSERT OR REPLACE INTO datasets VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (number, data.name, data.digest, data.source_type, data.source, data.schema, data.profile, tags),
        )


def metric_history(
    db: sqlite3.Connection, run_id: str, key: str, max_results: int | None, offset: int
) -> list[Metric]:
    artifact_path(db, run_id)
    rows = db.execute(
        "SELECT key, value, is_nan, timestamp, step FROM metrics"
        " WHERE run = (SELECT id FROM runs WHERE run_id = ?) AND key = ?"
        " ORDER BY step, timestamp, value LIMIT ? OFFSET ?",
        (run_id, key, -1 if max_results is None else max_results, offset),
    )
    return [to_metric(row) for row in rows]


def _put_params(db: sqlite3.Connection, number: int, params: Mapping[str, str]) -> None:
    db.executemany(
        "INSERT OR IGNORE INTO params VALUES (?, ?, ?)", [(number, key, params[key]) for key in params]
    )
    for key, value in params.items():
        (stored,) = db.execute("SELECT value FROM params WHERE run = ? AND key = ?", (number, key)).fetchone()
        if stored != value:
            raise invalid_parameter(
                f"the parameter {quote_short(key)} is {quote_short(stored)}"
                f" and cannot change to {quote_short(value)}",
                "log it under another name, or in a nested run",
            )


def _put_metrics(db: sqlite3.Connection, number: int, metrics: Sequence[Metric]) -> None:
    rows = [
        (number, metric.key, metric.step, metric.timestamp, *encode_nan(metric.value)) for metric in metrics
    ]
    # A batch that a client sent twice, not knowing that it had arrived, is there once.
    full_rows = len(rows) - len(rows) % ROWS_AT_ONCE
    for start in range(0, full_rows, ROWS_AT_ONCE):
        db.execute(INSERT_MANY, [field for row in rows[start : start + ROWS_AT_ONCE] for field in row])
    db.executemany(INSERT_METRIC, rows[full_rows:])
    db.executemany(
        "INSERT INTO latest_metrics VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (run, key) DO UPDATE SET"
        " step = excluded.step, timestamp = excluded.timestamp,"
        " value = excluded.value, is_nan = excluded.is_nan"
        " WHERE (excluded.step, excluded.timestamp, NOT excluded.is_nan, excluded.value)"
        " > (step, timestamp, NOT is_nan, value)",
        _last_of_each_key(rows),
    )


def _last_of_each_key(rows: Sequence[MetricRow]) -> list[MetricRow]:
    """Return the last row of each key by step, timestamp and value; NaN is below every number."""
    last: dict[str, MetricRow] = {}
    for row in sorted(rows, key=lambda row: (row[2], row[3], -row[5], row[4])):
        last[row[1]] = row
    return list(last.values())


def _put_tags(db: sqlite3.Connection, number: int, tags: Mapping[str, str]) -> None:
    if name := tags.get(RUN_NAME_TAG):
        db.execute("UPDATE runs SET name = ? WHERE id = ?", (check_run_name(name), number))
    put_pairs(db, "tags", number, tags)


def active_row_id(db: sqlite3.Connection, run_id: str) -> int:
    row = db.execute("SELECT id, lifecycle_stage FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        raise _missing(run_id)
    if row[1] != "active":
        raise invalid_parameter(f"the run {run_id} is deleted", "restore it first")
    return int(row[0])


def _checked_status(status: RunStatus) -> RunStatus:
    if status not in STATUSES:
        raise invalid_parameter(
            f"{quote_short(str(status))} is not a status", f"use one of {', '.join(STATUSES)}"
        )
    return status


def _missing(run_id: str) -> TrackingError:
    return not_found(f"there is no run with the id {quote_short(run_id)}")
