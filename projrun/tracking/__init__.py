"""Tracking: where runs live. A kind of store is a module whose `open_store` gives a `Store`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from projrun.errors import UnavailableError
from projrun.home import Home
from projrun.tracking.entities import ArtifactInfo, Experiment, Metric, Run, RunStatus


class Store(Protocol):
    """Experiments, runs and artifacts. Safe with many threads and processes.

    Every method raises TrackingError with MLflow's error_code: RESOURCE_DOES_NOT_EXIST,
    RESOURCE_ALREADY_EXISTS, INVALID_PARAMETER_VALUE, …
    """

    uri: str
    """What MLFLOW_TRACKING_URI would name it: a file path for the embedded store, else a URL."""

    def create_experiment(
        self, name: str, tags: Mapping[str, str] = ..., artifact_location: str = ...
    ) -> str:
        """The new experiment's id. RESOURCE_ALREADY_EXISTS when the name is taken."""
        ...

    def get_experiment(self, experiment_id: str) -> Experiment: ...

    def get_experiment_by_name(self, name: str) -> Experiment | None: ...

    def create_run(
        self,
        experiment_id: str,
        *,
        run_name: str = "",
        user_id: str = "",
        start_time: int | None = None,
        tags: Mapping[str, str] = ...,
        status: RunStatus = "RUNNING",
    ) -> Run:
        """A new run. Without a name it gets a random readable one, as MLflow gives."""
        ...

    def get_run(self, run_id: str) -> Run: ...

    def update_run(
        self,
        run_id: str,
        *,
        status: RunStatus | None = None,
        end_time: int | None = None,
        run_name: str | None = None,
    ) -> Run: ...

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str = "",
        order_by: Sequence[str] = ...,
        max_results: int = 1000,
        page_token: str = "",
        run_view_type: str = "ACTIVE_ONLY",
    ) -> tuple[list[Run], str]:
        """One page of runs and the token of the next ('' at the end). No experiment ids: all of them."""
        ...

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = ...,
        params: Mapping[str, str] = ...,
        tags: Mapping[str, str] = ...,
    ) -> None:
        """All of it or nothing. Changing a parameter's value is INVALID_PARAMETER_VALUE."""
        ...

    def get_metric_history(self, run_id: str, key: str) -> list[Metric]: ...

    def list_artifacts(self, run_id: str, path: str = "") -> list[ArtifactInfo]: ...

    def open_artifact(self, run_id: str, path: str) -> AbstractContextManager[BinaryIO]: ...

    def write_artifact(self, run_id: str, path: str, content: bytes | Iterator[bytes]) -> None:
        """Written whole or not at all; an existing one is replaced."""
        ...

    def log_file(self, run_id: str, path: str) -> Path:
        """A local file that may grow during the run and that is the artifact `path` when it ends."""
        ...

    def close(self) -> None: ...


KINDS = {
    "sqlite": "projrun.tracking.sqlite",
}


def open_store(home: Home, tracking_uri: str = "") -> Store:
    """The store that `tracking_uri` names (the value of MLFLOW_TRACKING_URI); empty: the embedded one."""
    if tracking_uri:
        raise UnavailableError(
            f"MLFLOW_TRACKING_URI={tracking_uri}: remote tracking is not part of this version of projrun",
            "unset it to keep runs in the embedded store",
        )
    return cast(Store, import_module(KINDS["sqlite"]).open_store(home))
