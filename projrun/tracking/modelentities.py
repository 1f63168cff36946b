"""Logged models and the model registry, in MLflow's words. Times are milliseconds since the epoch."""

from __future__ import annotations

from typing import Literal

import msgspec

from projrun.tracking.entities import LifecycleStage

LoggedModelStatus = Literal["PENDING", "READY", "FAILED"]
Stage = Literal["None", "Staging", "Production", "Archived"]

STATUSES: tuple[LoggedModelStatus, ...] = ("PENDING", "READY", "FAILED")
STAGES: tuple[Stage, ...] = ("None", "Staging", "Production", "Archived")
ACTIVE_STAGES: tuple[Stage, ...] = ("Staging", "Production")
PROMPT_TAG = "mlflow.prompt.is_prompt"
PROMPT_SOURCE = "dummy-source"
"""What MLflow's clients name as the source of a prompt."""
VERSIONS_TAG = "mlflow.modelVersions"
"""On a logged model: JSON, the versions under which it is registered."""


class ModelMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric that a run logged for a model."""

    key: str
    value: float
    timestamp: int
    step: int
    model_id: str
    run_id: str
    dataset_name: str
    dataset_digest: str


class LoggedModel(msgspec.Struct, frozen=True, kw_only=True):
    model_id: str
    """m- and 32 hex digits."""
    experiment_id: str
    name: str
    model_type: str
    source_run_id: str
    """'' when no run made it."""
    status: LoggedModelStatus
    artifact_uri: str
    creation_time: int
    last_updated_time: int
    lifecycle_stage: LifecycleStage
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: tuple[ModelMetric, ...] = ()


class Dataset(msgspec.Struct, frozen=True):
    """A data set that metrics of models were measured on; of any digest if that is ''."""

    name: str
    digest: str = ""


class ModelOrder(msgspec.Struct, frozen=True):
    """How to order logged models. field: metrics.<name> or an attribute."""

    field: str
    ascending: bool = True
    dataset: Dataset | None = None


class RegisteredModel(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str
    creation_time: int
    last_updated_time: int
    tags: dict[str, str] = {}
    aliases: dict[str, int] = {}
    """Alias -> version."""
    latest_versions: tuple[ModelVersion, ...] = ()
    """The newest of each stage."""


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    version: int
    stage: Stage
    description: str
    source: str
    """What the client registered: runs:/…, models:/… or an artifact URI."""
    location: str
    """What that stood for: models:/<model id>, runs:/… or an artifact URI."""
    run_id: str
    run_link: str
    model_id: str
    creation_time: int
    last_updated_time: int
    tags: dict[str, str] = {}
    aliases: tuple[str, ...] = ()
