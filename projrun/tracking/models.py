"""Logged models and the model registry, in MLflow's words. Times are milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, Literal, Protocol, runtime_checkable

import msgspec

from projrun.tracking.entities import ArtifactInfo, LifecycleStage

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
    """An order of logged models. field: metrics.<name> or an attribute."""

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


class ArtifactFiles(Protocol):
    """The artifacts of one run or model."""

    def list_entries(self, path: str) -> list[ArtifactInfo]: ...

    def open_file(self, path: str) -> AbstractContextManager[BinaryIO]: ...

    def write(self, path: str, content: bytes | Iterable[bytes]) -> None: ...

    def delete(self, path: str) -> None: ...


class LoggedModels(Protocol):
    """Models as MLflow 3 logs them: by id, with artifacts of their own. Errors are those of a Store."""

    def create(
        self,
        experiment_id: str,
        *,
        name: str = "",
        model_type: str = "",
        source_run_id: str = "",
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> LoggedModel:
        """PENDING until `finalize`. Without a name it gets a random readable one."""
        ...

    def get(self, model_id: str, *, allow_deleted: bool = False) -> LoggedModel: ...

    def finalize(self, model_id: str, status: str) -> LoggedModel: ...

    def delete(self, model_id: str) -> None:
        """Marks it as deleted; nothing is removed."""
        ...

    def set_tags(self, model_id: str, tags: Mapping[str, str]) -> LoggedModel: ...

    def delete_tag(self, model_id: str, key: str) -> None: ...

    def log_params(self, model_id: str, params: Mapping[str, str]) -> None:
        """Changing a value is INVALID_PARAMETER_VALUE."""
        ...

    def search(
        self,
        experiment_ids: Sequence[str],
        filter_string: str = "",
        datasets: Sequence[Dataset] = (),
        order_by: Sequence[ModelOrder] = (),
        max_results: int = 100,
        page_token: str = "",
    ) -> tuple[list[LoggedModel], str]:
        """One page, newest first. datasets: metrics count only if they were measured on one of these."""
        ...

    def log_inputs(self, run_id: str, model_ids: Sequence[str]) -> None: ...

    def log_outputs(self, run_id: str, steps: Mapping[str, int]) -> None:
        """steps: model id -> step of the run."""
        ...

    def artifacts(self, model_id: str) -> ArtifactFiles:
        """Return the model's artifacts, also of a deleted model."""
        ...


class ModelRegistry(Protocol):
    """Names for models and their versions. Versions come as the text that the client sent."""

    def create_model(
        self, name: str, description: str = "", tags: Mapping[str, str] | None = None
    ) -> RegisteredModel: ...

    def get_model(self, name: str) -> RegisteredModel: ...

    def rename_model(self, name: str, new_name: str) -> RegisteredModel: ...

    def describe_model(self, name: str, description: str) -> RegisteredModel: ...

    def delete_model(self, name: str) -> None:
        """With its versions; the artifacts stay."""
        ...

    def search_models(
        self,
        filter_string: str = "",
        order_by: Sequence[str] = (),
        max_results: int = 100,
        page_token: str = "",
    ) -> tuple[list[RegisteredModel], str]:
        """One page, by name, without prompts unless the filter asks for them."""
        ...

    def set_model_tag(self, name: str, key: str, value: str) -> None: ...

    def delete_model_tag(self, name: str, key: str) -> None: ...

    def latest_versions(self, name: str, stages: Sequence[str] = ()) -> list[ModelVersion]:
        """The newest version of each stage. No stages: all of them."""
        ...

    def create_version(
        self,
        name: str,
        source: str,
        *,
        run_id: str = "",
        model_id: str = "",
        run_link: str = "",
        description: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> ModelVersion:
        """INVALID_PARAMETER_VALUE for a source that is not an artifact of this store's runs or models."""
        ...

    def get_version(self, name: str, version: str) -> ModelVersion: ...

    def describe_version(self, name: str, version: str, description: str) -> ModelVersion: ...

    def move_version(
        self, name: str, version: str, stage: str, *, archive_others: bool = False
    ) -> ModelVersion: ...

    def delete_version(self, name: str, version: str) -> None:
        """Its number is not given again."""
        ...

    def search_versions(
        self,
        filter_string: str = "",
        order_by: Sequence[str] = (),
        max_results: int = 10_000,
        page_token: str = "",
    ) -> tuple[list[ModelVersion], str]:
        """One page, last updated first, without prompts unless the filter asks for them."""
        ...

    def set_version_tag(self, name: str, version: str, key: str, value: str) -> None: ...

    def delete_version_tag(self, name: str, version: str, key: str) -> None: ...

    def location(self, name: str, version: str) -> str:
        """Return the place of its files: models:/<model id>, runs:/<run id>/<path> or an artifact URI."""
        ...

    def set_alias(self, name: str, alias: str, version: str) -> None: ...

    def delete_alias(self, name: str, alias: str) -> None: ...

    def version_of_alias(self, name: str, alias: str) -> ModelVersion: ...


@runtime_checkable
class KeepsModels(Protocol):
    @property
    def logged_models(self) -> LoggedModels: ...

    @property
    def registry(self) -> ModelRegistry: ...
