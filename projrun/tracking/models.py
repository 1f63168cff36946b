"""Logged models and the model registry, in MLflow's words. Times are milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, Literal, Protocol

import msgspec

from projrun.tracking.entities import ArtifactInfo, LifecycleStage
from projrun.tracking.limits import invalid_parameter, quote_short

LoggedModelStatus = Literal["PENDING", "READY", "FAILED"]
Stage = Literal["None", "Staging", "Production", "Archived"]

STATUSES: tuple[LoggedModelStatus, ...] = ("PENDING", "READY", "FAILED")
STAGES: tuple[Stage, ...] = ("None", "Staging", "Production", "Archived")
ACTIVE_STAGES: tuple[Stage, ...] = ("Staging", "Production")
PROMPT_TAG = "mlflow.prompt.is_prompt"
PROMPT_SOURCE = "dummy-source"  # MLflow's clients name this as the source of a prompt, which has no files
VERSIONS_TAG = "mlflow.modelVersions"  # on a logged model: the versions under which it is registered, as JSON


def parse_stage(stage: str, *, active: bool = False) -> Stage:
    """Return the stage in MLflow's spelling; clients may write it in any case."""
    for known in STAGES:
        if known.lower() == stage.lower() and (not active or known in ACTIVE_STAGES):
            return known
    allowed = ACTIVE_STAGES if active else STAGES
    raise invalid_parameter(
        f"{quote_short(stage)} is not a stage that can be used here", f"use one of {', '.join(allowed)}"
    )


def parse_model_status(status: str) -> LoggedModelStatus:
    for known in STATUSES:
        if known == status:
            return known
    raise invalid_parameter(
        f"{quote_short(status)} is not a status of a model", f"use one of {', '.join(STATUSES)}"
    )


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
    model_id: str  # m- and 32 hex digits
    experiment_id: str
    name: str
    model_type: str
    source_run_id: str  # '' when no run made it
    status: LoggedModelStatus
    artifact_uri: str
    creation_time: int
    last_updated_time: int
    lifecycle_stage: LifecycleStage
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: tuple[ModelMetric, ...] = ()


class Dataset(msgspec.Struct, frozen=True):
    """A data set that metrics of models were measured on; a digest of '' stands for any."""

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
    aliases: dict[str, int] = {}  # alias -> version
    latest_versions: tuple[ModelVersion, ...] = ()  # the newest version of each stage


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    version: int
    stage: Stage
    description: str
    source: str  # as the client registered it: runs:/…, models:/… or an artifact URI
    location: str  # the source resolved: models:/<model id>, runs:/… or an artifact URI
    run_id: str
    run_link: str
    model_id: str
    creation_time: int
    last_updated_time: int
    tags: dict[str, str] = {}
    aliases: tuple[str, ...] = ()


class ArtifactFiles(Protocol):
    """The artifacts of one run or model. Paths are relative and have plain names; errors as of a Store."""

    # Return the entries of one directory ('' for the top) by name; none for a file or a missing path.
    def list_entries(self, path: str) -> list[ArtifactInfo]: ...

    # Open the file for reading. RESOURCE_DOES_NOT_EXIST if there is none.
    def open_file(self, path: str) -> AbstractContextManager[BinaryIO]: ...

    # Write the whole file or, if `content` raises, nothing; an existing file is replaced.
    def write(self, path: str, content: bytes | Iterable[bytes]) -> None: ...

    # Remove a file, or a directory with all its files. RESOURCE_DOES_NOT_EXIST if there is none.
    def delete(self, path: str) -> None: ...


class LoggedModels(Protocol):
    """Models as MLflow 3 logs them: by id, with artifacts of their own.

    Errors are those of a Store: RESOURCE_DOES_NOT_EXIST for an id that is unknown or of a deleted model.
    """

    # Return a new model, PENDING until `finalize`. Without a name it gets a random readable one.
    def create(
        self,
        experiment_id: str,
        *,
        name: str = "",
        model_type: str = "",
        source_run_id: str = "",
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> LoggedModel: ...

    # Return the model with its parameters, tags and metrics.
    def get(self, model_id: str, *, allow_deleted: bool = False) -> LoggedModel: ...

    # Set the status and return the model. INVALID_PARAMETER_VALUE for a status that is none of STATUSES.
    def finalize(self, model_id: str, status: str) -> LoggedModel: ...

    # Mark the model as deleted; nothing is removed.
    def delete(self, model_id: str) -> None: ...

    # Set or replace tags, and return the model.
    def set_tags(self, model_id: str, tags: Mapping[str, str]) -> LoggedModel: ...

    # Remove a tag. RESOURCE_DOES_NOT_EXIST if there is none.
    def delete_tag(self, model_id: str, key: str) -> None: ...

    # Add parameters. INVALID_PARAMETER_VALUE for one that has another value already.
    def log_params(self, model_id: str, params: Mapping[str, str]) -> None: ...

    # Return a page of models, newest first, and the token of the next page ('' after the last).
    # datasets: metrics count only if they were measured on one of these.
    def search(
        self,
        experiment_ids: Sequence[str],
        filter_string: str = "",
        datasets: Sequence[Dataset] = (),
        order_by: Sequence[ModelOrder] = (),
        max_results: int = 100,
        page_token: str = "",
    ) -> tuple[list[LoggedModel], str]: ...

    # Note the models that a run read; a model need not be of this store.
    def log_inputs(self, run_id: str, model_ids: Sequence[str]) -> None: ...

    # Note the models that a run made. steps: model id -> step of the run.
    def log_outputs(self, run_id: str, steps: Mapping[str, int]) -> None: ...

    # Return the model's artifacts, also those of a deleted model.
    def artifacts(self, model_id: str) -> ArtifactFiles: ...


class ModelRegistry(Protocol):
    """Names for models, and their versions, whose numbers come as the text that the client sent.

    Errors are those of a Store: RESOURCE_DOES_NOT_EXIST for an unknown name or version,
    INVALID_PARAMETER_VALUE for a name, version, stage or alias of a form that MLflow does not allow.
    """

    # Return a new model without versions. RESOURCE_ALREADY_EXISTS if one has the name.
    def create_model(
        self, name: str, description: str = "", tags: Mapping[str, str] | None = None
    ) -> RegisteredModel: ...

    # Return the model with the newest version of each stage.
    def get_model(self, name: str) -> RegisteredModel: ...

    # Give the model another name and return it. RESOURCE_ALREADY_EXISTS if another model has it.
    def rename_model(self, name: str, new_name: str) -> RegisteredModel: ...

    # Replace the description, and return the model.
    def describe_model(self, name: str, description: str) -> RegisteredModel: ...

    # Remove the model with its versions; the artifacts stay.
    def delete_model(self, name: str) -> None: ...

    # Return a page of models by name, and the token of the next page ('' after the last).
    # MLflow keeps prompts as registered models; they are left out unless the filter asks for them.
    def search_models(
        self,
        filter_string: str = "",
        order_by: Sequence[str] = (),
        max_results: int = 100,
        page_token: str = "",
    ) -> tuple[list[RegisteredModel], str]: ...

    # Set a tag, or replace its value.
    def set_model_tag(self, name: str, key: str, value: str) -> None: ...

    # Remove a tag. A missing one is no error, as in MLflow.
    def delete_model_tag(self, name: str, key: str) -> None: ...

    # Return the newest version of each of these stages; no stages: of all of them.
    def latest_versions(self, name: str, stages: Sequence[str] = ()) -> list[ModelVersion]: ...

    # Return a new version with the next number. INVALID_PARAMETER_VALUE for a source that is not an artifact
    # of this store's runs or models.
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
    ) -> ModelVersion: ...

    # Return the version.
    def get_version(self, name: str, version: str) -> ModelVersion: ...

    # Replace the description, and return the version.
    def describe_version(self, name: str, version: str, description: str) -> ModelVersion: ...

    # Put the version into a stage and return it. archive_others: those in that stage become Archived.
    def move_version(
        self, name: str, version: str, stage: str, *, archive_others: bool = False
    ) -> ModelVersion: ...

    # Remove the version and its aliases; its number is not given again.
    def delete_version(self, name: str, version: str) -> None: ...

    # Return a page of versions, last updated first, and the token of the next page ('' after the last).
    # Prompts are left out unless the filter asks for them.
    def search_versions(
        self,
        filter_string: str = "",
        order_by: Sequence[str] = (),
        max_results: int = 10_000,
        page_token: str = "",
    ) -> tuple[list[ModelVersion], str]: ...

    # Set a tag, or replace its value.
    def set_version_tag(self, name: str, version: str, key: str, value: str) -> None: ...

    # Remove a tag. A missing one is no error, as in MLflow.
    def delete_version_tag(self, name: str, version: str, key: str) -> None: ...

    # Return the URI of the version's files: models:/<model id>, runs:/<run id>/<path> or one of artifacts.
    def location(self, name: str, version: str) -> str: ...

    # Give an alias to a version, taking it from another version of the model that has it.
    def set_alias(self, name: str, alias: str, version: str) -> None: ...

    # Remove an alias. A missing one is no error, as in MLflow.
    def delete_alias(self, name: str, alias: str) -> None: ...

    # Return the version with the alias; `latest` is the highest number. INVALID_PARAMETER_VALUE for an
    # unknown alias, RESOURCE_DOES_NOT_EXIST for the latest of a model without versions.
    def version_of_alias(self, name: str, alias: str) -> ModelVersion: ...


class ModelStore(Protocol):
    @property
    def logged(self) -> LoggedModels: ...

    @property
    def registry(self) -> ModelRegistry: ...
