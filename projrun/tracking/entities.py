"""The entities of a store, with MLflow's names. Times are milliseconds since the epoch."""

from __future__ import annotations

from typing import Literal

import msgspec

RunStatus = Literal["SCHEDULED", "RUNNING", "FINISHED", "FAILED", "KILLED"]
LifecycleStage = Literal["active", "deleted"]
ViewType = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]

TERMINATED: tuple[RunStatus, ...] = ("FINISHED", "FAILED", "KILLED")
DEFAULT_EXPERIMENT_ID = "0"
RUN_NAME_TAG = "mlflow.runName"
LOGGED_MODELS_TAG = "mlflow.log-model.history"
DIRECTORY_TAG = "projrun.directory"
ENVIRONMENT_KEY_TAG = "projrun.environment.key"
# The backend's handle as JSON, by which another process removes what the job left.
HANDLE_TAG = "projrun.handle"
# On runs of a server: a mark that tells, after a lost answer, whether the run was created.
CREATION_TAG = "projrun.creation"
EXIT_CODE_TAG = "projrun.exit_code"
REASON_TAG = "projrun.reason"
SUPERVISOR_TAG = "projrun.supervisor"
REPRODUCES_TAG = "projrun.reproduces"  # the id of the run that this one does again
VARIES_TAG = "projrun.varies"  # the kinds of variation that this run has, compared with that one
PROJECT_TAG = "projrun.project"
COMMIT_TAG = "mlflow.source.git.commit"
ENTRY_POINT_TAG = "mlflow.project.entryPoint"
SOURCE_NAME_TAG = "mlflow.source.name"
SOURCE_TYPE_TAG = "mlflow.source.type"
PARENT_RUN_ID_TAG = "mlflow.parentRunId"


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: LifecycleStage = "active"
    creation_time: int
    last_update_time: int
    tags: dict[str, str] = {}


class Metric(msgspec.Struct, frozen=True):
    key: str
    value: float  # may be NaN or infinite
    timestamp: int
    step: int = 0
    # The logged model that it measures, if any, and the name and digest of the data set.
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class DatasetInput(msgspec.Struct, frozen=True, kw_only=True):
    """A data set that a run declares as its input."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    tags: dict[str, str] = {}


class Run(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str  # 32 hex digits
    experiment_id: str
    run_name: str
    user_id: str
    status: RunStatus
    start_time: int
    end_time: int | None = None
    artifact_uri: str
    lifecycle_stage: LifecycleStage = "active"
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    # The last value of each metric: highest step, then highest timestamp, then highest value.
    metrics: dict[str, Metric] = {}
    inputs: tuple[DatasetInput, ...] = ()
    model_inputs: tuple[str, ...] = ()  # ids of the logged models that the run read
    model_outputs: dict[str, int] = {}  # ids of the logged models that the run made -> step


class ArtifactInfo(msgspec.Struct, frozen=True):
    path: str  # relative to the root of the run's artifacts, with forward slashes
    is_dir: bool
    file_size: int | None  # bytes; None for a directory
