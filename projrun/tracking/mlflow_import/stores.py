"""Runs and models as mlflow's own stores keep them, read so that they can be brought into projrun's."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import msgspec

from projrun.errors import UsageError
from projrun.tracking.entities import DatasetInput, LifecycleStage, Metric, RunStatus
from projrun.tracking.models import LoggedModelStatus, ModelMetric


class MlflowExperiment(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    artifact_location: str
    lifecycle_stage: LifecycleStage = "active"
    creation_time: int = 0
    last_update_time: int = 0
    tags: dict[str, str] = {}


class MlflowRun(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str
    experiment: MlflowExperiment
    run_name: str
    user_id: str
    status: RunStatus
    start_time: int
    end_time: int | None
    lifecycle_stage: LifecycleStage
    params: dict[str, str]
    tags: dict[str, str]
    # All values of all metrics.
    metrics: tuple[Metric, ...]
    inputs: tuple[DatasetInput, ...]
    artifact_uri: str
    model_inputs: tuple[str, ...] = ()
    model_outputs: dict[str, int] = {}


class MlflowLoggedModel(msgspec.Struct, frozen=True, kw_only=True):
    model_id: str
    experiment: MlflowExperiment
    name: str
    model_type: str
    source_run_id: str
    status: LoggedModelStatus
    creation_time: int
    last_updated_time: int
    lifecycle_stage: LifecycleStage
    params: dict[str, str]
    tags: dict[str, str]
    # All values of all metrics.
    metrics: tuple[ModelMetric, ...]
    artifact_uri: str


class MlflowModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    stage: str
    description: str
    # The URI that was registered.
    source: str
    # The URI of the files; '' where only the source tells it.
    location: str
    run_id: str
    run_link: str
    # '' where only the source or the location tells it.
    model_id: str
    creation_time: int
    last_updated_time: int
    tags: dict[str, str]


class MlflowRegisteredModel(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str
    creation_time: int
    last_updated_time: int
    tags: dict[str, str]
    aliases: dict[str, int]
    versions: tuple[MlflowModelVersion, ...]


class MlflowStore(Protocol):
    """A module that reads one kind of mlflow's stores. UsageError when the place is none."""

    def runs(self, path: Path) -> Iterator[MlflowRun]: ...

    def logged_models(self, path: Path) -> Iterator[MlflowLoggedModel]: ...

    def registered_models(self, path: Path) -> Iterator[MlflowRegisteredModel]: ...


def open_mlflow_store(place: Path) -> MlflowStore:
    """Return the reader of an mlflow database or a directory `mlruns`. Raises UsageError for others."""
    if place.is_dir():
        reader = "projrun.tracking.mlflow_import.directory_store"
    elif place.is_file():
        reader = "projrun.tracking.mlflow_import.database_store"
    else:
        raise UsageError(f"there is no {place}", "name mlflow's database (mlflow.db) or directory (mlruns)")
    return cast(MlflowStore, import_module(reader))
