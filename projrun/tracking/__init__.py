"""Tracking: where runs live. A kind of store is a module whose `open_store` gives a `Store`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from projrun.disk import Home
from projrun.errors import UnavailableError
from projrun.net import without_credentials
from projrun.tracking.entities import ArtifactInfo, DatasetInput, Experiment, Metric, Run, RunStatus


class Store(Protocol):
    """Experiments, runs and artifacts. Safe with many threads and processes.

    Every method raises TrackingError with MLflow's error_code: RESOURCE_DOES_NOT_EXIST,
    RESOURCE_ALREADY_EXISTS, INVALID_PARAMETER_VALUE, …
    """

    uri: str
    """What MLFLOW_TRACKING_URI would name it: a file path for the embedded store, else a URL."""

    artifact_root: str
    """A run whose artifact_uri starts with it keeps its artifacts in this store; '' if not known."""

    def create_experiment(
        self, name: str, tags: Mapping[str, str] | None = None, artifact_location: str = ""
    ) -> str:
        """The new experiment's id. RESOURCE_ALREADY_EXISTS when the name is taken."""
        ...

    def get_experiment(self, experiment_id: str) -> Experiment: ...

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        """Deleted ones too."""
        ...

    def search_experiments(
        self,
        filter_string: str = "",
        order_by: Sequence[str] = (),
        max_results: int = 1000,
        page_token: str = "",
        view_type: str = "ACTIVE_ONLY",
    ) -> tuple[list[Experiment], str]:
        """One page, last updated first, and the token of the next page ('' at the end)."""
        ...

    def rename_experiment(self, experiment_id: str, name: str) -> None: ...

    def delete_experiment(self, experiment_id: str) -> None:
        """Marks it and its runs as deleted; nothing is removed."""
        ...

    def restore_experiment(self, experiment_id: str) -> None: ...

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None: ...

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None: ...

    def create_run(
        self,
        experiment_id: str,
        *,
        run_name: str = "",
        user_id: str = "",
        start_time: int | None = None,
        tags: Mapping[str, str] | None = None,
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

    def delete_run(self, run_id: str) -> None:
        """Marks it as deleted; nothing is removed."""
        ...

    def restore_run(self, run_id: str) -> None: ...

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str = "",
        order_by: Sequence[str] = (),
        max_results: int = 1000,
        page_token: str = "",
        run_view_type: str = "ACTIVE_ONLY",
    ) -> tuple[list[Run], str]:
        """One page of runs and the token of the next ('' at the end). No experiment ids: all of them."""
        ...

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """All of it or nothing. Changing a parameter's value is INVALID_PARAMETER_VALUE."""
        ...

    def delete_tag(self, run_id: str, key: str) -> None: ...

    def log_model(self, run_id: str, model: Mapping[str, object]) -> None:
        """Appends to the run's tag mlflow.log-model.history, as MLflow does for clients before 3.0."""
        ...

    def log_inputs(self, run_id: str, datasets: Sequence[DatasetInput]) -> None: ...

    def get_metric_history(
        self, run_id: str, key: str, max_results: int | None = None, offset: int = 0
    ) -> list[Metric]:
        """By step, then timestamp. The same metric logged twice is there once."""
        ...

    def list_artifacts(self, run_id: str, path: str = "") -> list[ArtifactInfo]:
        """The entries of one directory, by name; none for a file or what does not exist."""
        ...

    def open_artifact(self, run_id: str, path: str) -> AbstractContextManager[BinaryIO]: ...

    def artifact_file(self, run_id: str, path: str) -> Path | None:
        """The artifact as a file of this machine; None where it is on a server."""
        ...

    def write_artifact(self, run_id: str, path: str, content: bytes | Iterator[bytes]) -> None:
        """Written whole or not at all; an existing one is replaced."""
        ...

    def delete_artifact(self, run_id: str, path: str) -> None:
        """A file, or a directory with all that is in it."""
        ...

    def log_file(self, run_id: str, path: str) -> Path:
        """A local file that may grow during the run and that is the artifact `path` after `finish_file`."""
        ...

    def finish_file(self, run_id: str, path: str) -> None:
        """The file that `log_file` gave is complete; one that nobody wrote is no artifact.

        May be called again when it has grown since.
        """
        ...

    def close(self) -> None: ...


KINDS = {
    "rest": "projrun.tracking.rest.rest_store",
    "sqlite": "projrun.tracking.sqlite.sqlite_store",
}


def open_store(home: Home, tracking_uri: str = "") -> Store:
    """The store that `tracking_uri` names (the value of MLFLOW_TRACKING_URI); empty: the embedded one."""
    if not tracking_uri:
        return cast(Store, import_module(KINDS["sqlite"]).open_store(home))
    if tracking_uri.lower().startswith(("http://", "https://")):
        return cast(Store, import_module(KINDS["rest"]).open_store(tracking_uri, home))
    raise UnavailableError(
        f"MLFLOW_TRACKING_URI={without_credentials(tracking_uri)}: projrun keeps runs in its own store or on"
        " an MLflow server",
        "unset it and bring old runs in with `projrun runs import DATABASE|DIRECTORY`, or start"
        " `mlflow server --backend-store-uri …` and give its http:// address",
    )
