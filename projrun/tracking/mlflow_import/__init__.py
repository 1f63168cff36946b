"""Import of the runs and models in mlflow's own stores, a SQLite database or a directory `mlruns`.

A kind of store is a module that fulfils `MlflowStore`; `importer` brings what it reads into projrun's store.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from projrun.errors import UsageError
from projrun.tracking.entities import Experiment, Metric, Run
from projrun.tracking.models import LoggedModel, ModelVersion, RegisteredModel

# The entities are as the old store has them: their texts are checked when they are brought in.


class MlflowRun(NamedTuple):
    experiment: Experiment
    run: Run  # without its metrics
    metrics: tuple[Metric, ...]  # all values of all metrics


class MlflowLoggedModel(NamedTuple):
    experiment: Experiment
    model: LoggedModel  # its metrics are all values of all metrics


class MlflowRegisteredModel(NamedTuple):
    model: RegisteredModel
    # Of each version, `location` is '' where only the source tells it, and `model_id` where only these two do
    versions: tuple[ModelVersion, ...]


class MlflowStore(Protocol):
    """A module that reads one kind of mlflow's stores. UsageError when there is none at `path`."""

    def runs(self, path: Path) -> Iterator[MlflowRun]: ...

    def logged_models(self, path: Path) -> Iterator[MlflowLoggedModel]: ...

    def registered_models(self, path: Path) -> Iterator[MlflowRegisteredModel]: ...


def open_mlflow_store(path: Path) -> MlflowStore:
    """Return the reader of an mlflow database or a directory `mlruns`. Raises UsageError for others."""
    if path.is_dir():
        reader = "projrun.tracking.mlflow_import.directory_store"
    elif path.is_file():
        reader = "projrun.tracking.mlflow_import.database_store"
    else:
        raise UsageError(f"there is no {path}", "name mlflow's database (mlflow.db) or directory (mlruns)")
    return cast(MlflowStore, import_module(reader))
