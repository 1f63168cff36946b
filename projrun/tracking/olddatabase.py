"""mlflow's SQLite database, of mlflow 1.10 and later. It is only read."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from projrun.errors import UsageError
from projrun.tracking import oldmodelrows
from projrun.tracking.entities import RUN_NAME_TAG, DatasetInput, Metric
from projrun.tracking.oldmodelrows import tables_of, unclipped
from projrun.tracking.oldstores import OldExperiment, OldLoggedModel, OldRegisteredModel, OldRun

INPUTS = """
    SELECT i.input_uuid, d.name, d.digest, d.dataset_source_type AS source_type, d.dataset_source AS source,
        d.dataset_schema AS schema, d.dataset_profile AS profile
    FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id
    WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id = ?
"""


def runs(path: Path) -> Iterator[OldRun]:
    with opened(path) as db:
        yield from _runs(db, has_inputs="inputs" in tables_of(db))


def logged_models(path: Path) -> Iterator[OldLoggedModel]:
    with opened(path) as db:
        yield from oldmodelrows.logged_models(db, experiments_of(db))


def registered_models(path: Path) -> Iterator[OldRegisteredModel]:
    with opened(path) as db:
        yield from oldmodelrows.registered_models(db)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            if not {"experiments", "runs", "metrics", "params", "tags", "alembic_version"} <= tables_of(db):
                raise UsageError(f"{path} is not a tracking database of mlflow", "name its mlflow.db")
            yield db
    except sqlite3.Error as error:
        hint = "name mlflow's own (mlflow.db)" if "not a database" in str(error) else "look at its rights"
        raise UsageError(f"{path} cannot be read: {error}", hint) from None


def _runs(db: sqlite3.Connection, *, has_inputs: bool) -> Iterator[OldRun]:
    experiments = experiments_of(db)
    for row in db.execute("SELECT * FROM runs ORDER BY start_time, run_uuid"):
        run = dict(row)
        run_id = run["run_uuid"]
        tags = _pairs(db, "tags", run_id)
        yield OldRun(
            run_id=run_id,
            experiment=experiments[run["experiment_id"]],
            run_name=run.get("name") or tags.get(RUN_NAME_TAG, ""),
            user_id=run.get("user_id") or "",
            status=run["status"] or "FINISHED",
            start_time=run["start_time"] or 0,
            end_time=run["end_time"],
            lifecycle_stage=run["lifecycle_stage"] or "active",
            params=_pairs(db, "params", run_id),
            tags=tags,
            metrics=tuple(_metric(one) for one in _of_run(db, "metrics", run_id)),
            inputs=tuple(_input(db, one) for one in db.execute(INPUTS, (run_id,))) if has_inputs else (),
            artifact_uri=run["artifact_uri"] or "",
            model_inputs=tuple(_links(db, "RUN_INPUT", run_id)) if has_inputs else (),
            model_outputs=_links(db, "RUN_OUTPUT", run_id) if has_inputs else {},
        )


def _links(db: sqlite3.Connection, kind: str, run_id: str) -> dict[str, int]:
    """The models that a run read or made, and at which step. Before mlflow 3 there are none."""
    rows = db.execute("SELECT * FROM inputs WHERE source_type = ? AND source_id = ?", (kind, run_id))
    return {row["destination_id"]: row["step"] for row in rows}


def experiments_of(db: sqlite3.Connection) -> dict[int, OldExperiment]:
    return {row["experiment_id"]: _experiment(db, row) for row in db.execute("SELECT * FROM experiments")}


def _experiment(db: sqlite3.Connection, row: sqlite3.Row) -> OldExperiment:
    experiment = dict(row)
    tags = db.execute(
        "SELECT key, value FROM experiment_tags WHERE experiment_id = ?", (experiment["experiment_id"],)
    )
    return OldExperiment(
        name=experiment["name"],
        artifact_location=experiment["artifact_location"] or "",
        lifecycle_stage=experiment["lifecycle_stage"] or "active",
        creation_time=experiment.get("creation_time") or 0,
        last_update_time=experiment.get("last_update_time") or 0,
        tags={key: value or "" for key, value in tags},
    )


def _of_run(db: sqlite3.Connection, table: str, run_id: str) -> list[sqlite3.Row]:
    return db.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (run_id,)).fetchall()  # noqa: S608


def _pairs(db: sqlite3.Connection, table: str, run_id: str) -> dict[str, str]:
    return {row["key"]: row["value"] or "" for row in _of_run(db, table, run_id)}


def _metric(row: sqlite3.Row) -> Metric:
    value = math.nan if row["is_nan"] else unclipped(float(row["value"]))
    return Metric(row["key"], value, int(row["timestamp"]), int(row["step"]))


def _input(db: sqlite3.Connection, row: Mapping[str, Any]) -> DatasetInput:
    tags = db.execute("SELECT name, value FROM input_tags WHERE input_uuid = ?", (row["input_uuid"],))
    return DatasetInput(
        name=row["name"],
        digest=row["digest"],
        source_type=row["source_type"],
        source=row["source"],
        schema=row["schema"] or "",
        profile=row["profile"] or "",
        tags=dict(tags.fetchall()),
    )
