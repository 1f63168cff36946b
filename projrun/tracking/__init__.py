"""Tracking: where runs live. A kind of store is a module whose `open_store` returns a `Store`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from projrun.disk import Home
from projrun.errors import UnavailableError
from projrun.net import without_credentials
from projrun.tracking.entities import ArtifactInfo, DatasetInput, Experiment, Metric, Run, RunStatus

if TYPE_CHECKING:
    from projrun.tracking.models import ModelStore


class Store(Protocol):
    """Experiments, runs, artifacts and models. Many threads and processes may use one at once.

    Errors are a TrackingError with one of MLflow's codes. Every method that takes the id of an experiment
    or a run raises RESOURCE_DOES_NOT_EXIST for an unknown one, and INVALID_PARAMETER_VALUE for a name, value
    or path beyond MLflow's limits; what changes a deleted one raises INVALID_PARAMETER_VALUE. A store that
    cannot be reached or written now raises TEMPORARILY_UNAVAILABLE. The comments name further errors only.
    """

    # The value of MLFLOW_TRACKING_URI that names this store; of the embedded one, the path of its database.
    uri: str
    # The beginning of every artifact_uri whose files this store itself holds; '' where that is not known.
    artifact_root: str

    # The logged models and the model registry; None for a store that holds runs alone.
    @property
    def models(self) -> ModelStore | None: ...

    # Return the same store for callers that must not block: while another process writes, its methods raise
    # TEMPORARILY_UNAVAILABLE at once. None for a store that has no such form. It is closed with this one.
    def impatient(self) -> Store | None: ...

    # Return the id of a new experiment. RESOURCE_ALREADY_EXISTS if one has the name, a deleted one included.
    # artifact_location: the URI below which clients put artifacts by themselves; '' for the store's own.
    def create_experiment(
        self, name: str, tags: Mapping[str, str] | None = None, artifact_location: str = ""
    ) -> str: ...

    # Return the experiment, deleted or not.
    def get_experiment(self, experiment_id: str) -> Experiment: ...

    # Return the experiment, deleted or not; None for an unknown name.
    def get_experiment_by_name(self, name: str) -> Experiment | None: ...

    # Return a page of experiments, last updated first, and the token of the next page ('' after the last).
    # INVALID_PARAMETER_VALUE for a filter or order that does not parse, and for a token of another search.
    def search_experiments(
        self,
        filter_string: str = "",
        order_by: Sequence[str] = (),
        max_results: int = 1000,
        page_token: str = "",
        view_type: str = "ACTIVE_ONLY",
    ) -> tuple[list[Experiment], str]: ...

    # Give the experiment another name. RESOURCE_ALREADY_EXISTS if another one has it.
    def rename_experiment(self, experiment_id: str, name: str) -> None: ...

    # Mark the experiment and its runs as deleted; nothing is removed.
    # RESOURCE_DOES_NOT_EXIST also for one that is deleted already.
    def delete_experiment(self, experiment_id: str) -> None: ...

    # Undo the deletion of the experiment and its runs. RESOURCE_DOES_NOT_EXIST for one that is not deleted.
    def restore_experiment(self, experiment_id: str) -> None: ...

    # Set a tag, or replace its value.
    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None: ...

    # Remove a tag. RESOURCE_DOES_NOT_EXIST if there is none.
    def delete_experiment_tag(self, experiment_id: str, key: str) -> None: ...

    # Return a new run. Without a name it gets a random readable one. start_time: milliseconds, None for now.
    def create_run(
        self,
        experiment_id: str,
        *,
        run_name: str = "",
        user_id: str = "",
        start_time: int | None = None,
        tags: Mapping[str, str] | None = None,
        status: RunStatus = "RUNNING",
    ) -> Run: ...

    # Return the run, deleted or not, with the last value of each of its metrics.
    def get_run(self, run_id: str) -> Run: ...

    # Change what is not None, and return the run as it is now.
    def update_run(
        self,
        run_id: str,
        *,
        status: RunStatus | None = None,
        end_time: int | None = None,
        run_name: str | None = None,
    ) -> Run: ...

    # Mark the run as deleted; nothing is removed.
    def delete_run(self, run_id: str) -> None: ...

    # Undo the deletion of the run.
    def restore_run(self, run_id: str) -> None: ...

    # Return a page of runs, last started first, and the token of the next page ('' after the last).
    # No experiment ids: search all experiments; ids that do not exist are ignored.
    # INVALID_PARAMETER_VALUE as in search_experiments.
    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str = "",
        order_by: Sequence[str] = (),
        max_results: int = 1000,
        page_token: str = "",
        run_view_type: str = "ACTIVE_ONLY",
    ) -> tuple[list[Run], str]: ...

    # Log all of the batch or nothing of it; the same batch may come twice.
    # INVALID_PARAMETER_VALUE for a parameter that has another value already.
    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None: ...

    # Remove a tag. RESOURCE_DOES_NOT_EXIST if there is none.
    def delete_tag(self, run_id: str, key: str) -> None: ...

    # Append to the run's tag mlflow.log-model.history, as MLflow does for clients before 3.0.
    def log_model(self, run_id: str, model: Mapping[str, object]) -> None: ...

    # Add data sets that the run read; one of the same name and digest is replaced.
    def log_inputs(self, run_id: str, datasets: Sequence[DatasetInput]) -> None: ...

    # Return the values of a metric by step, then timestamp; none for an unknown metric. The same value, step
    # and timestamp logged twice are one entry.
    def get_metric_history(
        self, run_id: str, key: str, max_results: int | None = None, offset: int = 0
    ) -> list[Metric]: ...

    # Return the entries of one directory by name; none for a file or a missing path.
    def list_artifacts(self, run_id: str, path: str = "") -> list[ArtifactInfo]: ...

    # Open the file for reading. RESOURCE_DOES_NOT_EXIST if there is none, INVALID_PARAMETER_VALUE for a
    # directory and for a path that leads out of the run's artifacts.
    def open_artifact(self, run_id: str, path: str) -> AbstractContextManager[BinaryIO]: ...

    # Return the path of the artifact on this machine, whether or not it exists; None if a server holds it.
    def artifact_file(self, run_id: str, path: str) -> Path | None: ...

    # Write the whole file or, if `content` raises, nothing; an existing file is replaced.
    # INVALID_PARAMETER_VALUE where a directory stands in the way.
    def write_artifact(self, run_id: str, path: str, content: bytes | Iterator[bytes]) -> None: ...

    # Remove a file, or a directory with all its files. RESOURCE_DOES_NOT_EXIST if there is none.
    def delete_artifact(self, run_id: str, path: str) -> None: ...

    # Return a local file that may grow during the run; it becomes the artifact `path` by `finish_file`.
    def log_file(self, run_id: str, path: str) -> Path: ...

    # Store what the file of `log_file` holds by now; a file that nobody wrote is no artifact.
    # It may be called again when the file has grown.
    def finish_file(self, run_id: str, path: str) -> None: ...

    # Release connections and files; it may be called again. Other methods may fail afterwards.
    def close(self) -> None: ...


KINDS = {
    "rest": "projrun.tracking.rest",
    "sqlite": "projrun.tracking.sqlite",
}


def open_store(home: Home, tracking_uri: str = "") -> Store:
    """Open the store that `tracking_uri` names (the value of MLFLOW_TRACKING_URI); '': the embedded one.

    Raises UnavailableError for a kind of store that projrun does not serve.
    """
    if not tracking_uri:
        return cast(Store, import_module(KINDS["sqlite"]).open_store(home))
    if tracking_uri.lower().startswith(("http://", "https://")):
        return cast(Store, import_module(KINDS["rest"]).open_store(tracking_uri, home))
    # `sqlite:///` and `./mlruns` are imported, not served: serving them needs the mlflow that wrote them,
    # whose start takes longer than most runs.
    raise UnavailableError(
        f"MLFLOW_TRACKING_URI={without_credentials(tracking_uri)}: projrun keeps runs in its own store or on"
        " an MLflow server",
        "unset it and bring old runs in with `projrun runs import DATABASE|DIRECTORY`, or start"
        " `mlflow server --backend-store-uri …` and give its http:// address",
    )
