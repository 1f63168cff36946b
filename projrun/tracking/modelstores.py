"""The contract of stores that keep models too. A remote server's models are its clients' business."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol, runtime_checkable

from projrun.tracking.entities import ArtifactInfo
from projrun.tracking.modelentities import Dataset, LoggedModel, ModelOrder, ModelVersion, RegisteredModel


class Files(Protocol):
    """The artifacts of one run or model."""

    def listed(self, path: str) -> list[ArtifactInfo]: ...

    def opened(self, path: str) -> AbstractContextManager[BinaryIO]: ...

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

    def artifacts(self, model_id: str) -> Files:
        """Of deleted models too."""
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
        """Where its files are: models:/<model id>, runs:/<run id>/<path> or the URI of artifacts."""
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
