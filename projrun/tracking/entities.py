"""The entities of the store of runs, with MLflow's names. Times are milliseconds since the epoch."""

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
HANDLE_TAG = "projrun.handle"
# JSON of the backend's handle, by which another process removes what the job left.
CREATION_TAG = "projrun.creation"
"""Of runs on a server: tells, after a lost answer, whether the run was made."""
EXIT_CODE_TAG = "projrun.exit_code"
REASON_TAG = "projrun.reason"
SUPERVISOR_TAG = "projrun.supervisor"
REPRODUCES_TAG = "projrun.reproduces"
"""Id of the run that was done again."""
VARIES_TAG = "projrun.varies"
"""What was not as in that run, on purpose."""
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
    value: float
    """May be NaN or infinite."""
    timestamp: int
    step: int = 0
    model_id: str = ""
    """The logged model that it measures, if any; on which data set: the two below."""
    dataset_name: str = ""
    dataset_digest: str = ""


class DatasetInput(msgspec.Struct, frozen=True, kw_only=True):
    """A data set that a run says it read."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    tags: dict[str, str] = {}


class Run(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str
    """32 hex digits."""
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
    metrics: dict[str, Metric] = {}
    """The last value of each metric: highest step, then highest timestamp, then highest value."""
    inputs: tuple[DatasetInput, ...] = ()
    model_inputs: tuple[str, ...] = ()
    """Ids of the logged models that it read."""
    model_outputs: dict[str, int] = {}
    """Ids of the logged models that it made, and at which step."""


class ArtifactInfo(msgspec.Struct, frozen=True):
    path: str
    """Relative to the root of the run's artifacts, with forward slashes."""
    is_dir: bool
    file_size: int | None
    """Bytes; None for a directory."""
