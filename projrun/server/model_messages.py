"""What clients send about models: one type per request, as in messages.py."""

from __future__ import annotations

import msgspec

from projrun.server.messages import (
    ExperimentMessage,
    Int64,
    KeyValueItem,
    ModelItem,
    RequestMessage,
    RunMessage,
    require,
)
from projrun.tracking.limits import invalid_parameter, quote_short
from projrun.tracking.model_wire import STATUSES
from projrun.tracking.models import Dataset, ModelOrder


class ModelMessage(RequestMessage, kw_only=True):
    model_id: str | None = None

    def model(self) -> str:
        return require("model_id", self.model_id)


class CreateLoggedModel(ExperimentMessage, kw_only=True):
    name: str | None = None
    model_type: str | None = None
    source_run_id: str | None = None
    params: list[KeyValueItem] | None = None
    tags: list[KeyValueItem] | None = None


class GetLoggedModel(ModelMessage, kw_only=True):
    allow_deleted: bool | None = None


class FinalizeLoggedModel(ModelMessage, kw_only=True):
    status: str | int | None = None

    def state(self) -> str:
        for number, (name, wire_name) in enumerate(STATUSES.items(), 1):
            if self.status in (wire_name, number, str(number)):
                return name
        raise invalid_parameter(
            f"{quote_short(str(self.status))} is no status", f"use one of {', '.join(STATUSES.values())}"
        )


class ModelTags(ModelMessage, kw_only=True):
    tags: list[KeyValueItem] | None = None


class ModelTag(ModelMessage, kw_only=True):
    tag_key: str | None = None


class ModelParams(ModelMessage, kw_only=True):
    params: list[KeyValueItem] | None = None


class ListModelArtifacts(ModelMessage, kw_only=True):
    artifact_directory_path: str | None = None
    page_token: str | None = None


class DatasetFilter(msgspec.Struct):
    dataset_name: str | None = None
    dataset_digest: str | None = None

    def dataset(self) -> Dataset:
        return Dataset(require("dataset_name", self.dataset_name), self.dataset_digest or "")


class OrderItem(DatasetFilter):
    field_name: str | None = None
    ascending: bool | None = None

    def order(self) -> ModelOrder:
        field = require("field_name", self.field_name)
        named = self.dataset_name or self.dataset_digest
        return ModelOrder(field, self.ascending is not False, self.dataset() if named else None)


class SearchLoggedModels(RequestMessage, kw_only=True):
    experiment_ids: list[str] | None = None
    filter: str | None = None
    datasets: list[DatasetFilter] | None = None
    max_results: Int64 | None = None
    order_by: list[OrderItem] | None = None
    page_token: str | None = None


class LogOutputs(RunMessage, kw_only=True):
    models: list[ModelItem] | None = None


class NameMessage(RequestMessage, kw_only=True):
    name: str | None = None

    def model(self) -> str:
        return require("name", self.name)


class CreateRegisteredModel(NameMessage, kw_only=True):
    description: str | None = None
    tags: list[KeyValueItem] | None = None


class RenameRegisteredModel(NameMessage, kw_only=True):
    new_name: str | None = None


class DescribeModel(NameMessage, kw_only=True):
    description: str | None = None


class SearchRegistry(RequestMessage, kw_only=True):
    lists = ("order_by",)
    filter: str | None = None
    max_results: Int64 | None = None
    order_by: list[str] | None = None
    page_token: str | None = None


class GetLatestVersions(NameMessage, kw_only=True):
    lists = ("stages",)
    stages: list[str] | None = None


class NameTag(NameMessage, kw_only=True):
    key: str
    value: str = ""


class VersionMessage(NameMessage, kw_only=True):
    version: str | int | None = None

    def number(self) -> str:
        return require("version", "" if self.version is None else str(self.version))


class CreateVersion(NameMessage, kw_only=True):
    source: str | None = None
    run_id: str | None = None
    model_id: str | None = None
    run_link: str | None = None
    description: str | None = None
    tags: list[KeyValueItem] | None = None


class DescribeVersion(VersionMessage, kw_only=True):
    description: str | None = None


class MoveVersion(VersionMessage, kw_only=True):
    stage: str | None = None
    archive_existing_versions: bool | None = None


class VersionTag(VersionMessage, kw_only=True):
    key: str
    value: str = ""


class AliasMessage(VersionMessage, kw_only=True):
    alias: str | None = None
