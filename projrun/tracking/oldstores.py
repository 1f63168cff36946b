"""Runs as mlflow's own stores keep them, read so that they can be brought into projrun's."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import cast

import msgspec

from projrun.errors import UsageError
from projrun.tracking.entities import DatasetInput, LifecycleStage, Metric, RunStatus


class OldExperiment(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    artifact_location: str
    lifecycle_stage: LifecycleStage = "active"
    creation_time: int = 0
    last_update_time: int = 0
    tags: dict[str, str] = {}


class OldRun(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str
    experiment: OldExperiment
    run_name: str
    user_id: str
    status: RunStatus
    start_time: int
    end_time: int | None
    lifecycle_stage: LifecycleStage
    params: dict[str, str]
    tags: dict[str, str]
    metrics: tuple[Metric, ...]
    """All values of all metrics."""
    inputs: tuple[DatasetInput, ...]
    artifact_uri: str


def old_runs(place: Path) -> Iterator[OldRun]:
    """The runs of an mlflow database (SQLite) or of a directory `mlruns`. UsageError for anything else."""
    if place.is_dir():
        reader = "projrun.tracking.olddirectory"
    elif place.is_file():
        reader = "projrun.tracking.olddatabase"
    else:
        raise UsageError(f"there is no {place}", "name mlflow's database (mlflow.db) or directory (mlruns)")
    return cast("Iterator[OldRun]", import_module(reader).runs(place))
