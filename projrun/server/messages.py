"""The requests of MLflow's REST API: one type for each, checked while it is decoded."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, TypeVar

import msgspec

from projrun.errors import ProjrunError, TrackingError
from projrun.tracking.entities import DatasetInput, Metric, RunStatus
from projrun.tracking.limits import invalid_parameter, quote_short
from projrun.tracking.models import Dataset, ModelOrder
from projrun.tracking.wire import MODEL_STATUSES, Json

# MLflow's messages are protobuf, whose integers have 64 bits
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

# MLflow numbers them in this order, from 1.
STATUSES: tuple[RunStatus, ...] = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
VIEW_TYPES = ("ACTIVE_ONLY", "DELETED_ONLY", "ALL")


class RequestMessage(msgspec.Struct, kw_only=True):
    # Names of the fields that a query string may repeat
    lists: ClassVar[tuple[str, ...]] = ()


M = TypeVar("M", bound=RequestMessage)
Name = TypeVar("Name", bound=str)


class RunMessage(RequestMessage, kw_only=True):
    run_id: str | None = None
    # The older name of run_id; clients send either or both.
    run_uuid: str | None = None

    def run(self) -> str:
        return require("run_id", self.run_id or self.run_uuid)


class ExperimentMessage(RequestMessage, kw_only=True):
    experiment_id: str | None = None

    def experiment(self) -> str:
        return require("experiment_id", self.experiment_id)


class KeyValueItem(msgspec.Struct):
    key: str
    value: str = ""


class MetricMessage(RunMessage, kw_only=True):
    """One value of a metric, as a request or, without the run, as an item of a batch."""

    key: str
    value: float
    timestamp: Int64
    step: Int64 | None = None
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None

    def metric(self) -> Metric:
        measured = (self.model_id or "", self.dataset_name or "", self.dataset_digest or "")
        return Metric(self.key, self.value, self.timestamp, self.step or 0, *measured)


class SearchMessage(RequestMessage, kw_only=True):
    lists = ("order_by",)
    filter: str | None = None
    max_results: Int64 | None = None
    order_by: list[str] | None = None
    page_token: str | None = None

    def page(self, default_size: int) -> tuple[str, Sequence[str], int, str]:
        """Return filter, order, size and token of the page, in the order that searches of a store take."""
        size = default_size if self.max_results is None else self.max_results
        return self.filter or "", self.order_by or (), size, self.page_token or ""


class CreateExperiment(RequestMessage, kw_only=True):
    name: str
    artifact_location: str | None = None
    tags: list[KeyValueItem] | None = None


class GetExperimentByName(RequestMessage, kw_only=True):
    experiment_name: str


class SearchExperiments(SearchMessage, kw_only=True):
    view_type: str | int | None = None


class UpdateExperiment(ExperimentMessage, kw_only=True):
    new_name: str | None = None


class ExperimentTag(ExperimentMessage, kw_only=True):
    key: str
    value: str = ""


class CreateRun(ExperimentMessage, kw_only=True):
    user_id: str | None = None
    run_name: str | None = None
    start_time: Int64 | None = None
    tags: list[KeyValueItem] | None = None


class UpdateRun(RunMessage, kw_only=True):
    status: str | int | None = None
    end_time: Int64 | None = None
    run_name: str | None = None


class KeyValue(RunMessage, kw_only=True):
    key: str
    value: str = ""


class LogBatch(RunMessage, kw_only=True):
    metrics: list[MetricMessage] | None = None
    params: list[KeyValueItem] | None = None
    tags: list[KeyValueItem] | None = None


class LogModel(RunMessage, kw_only=True):
    model_json: str


class DatasetContent(msgspec.Struct):
    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str | None = None
    profile: str | None = None


class DatasetItem(msgspec.Struct):
    dataset: DatasetContent
    tags: list[KeyValueItem] | None = None

    def input(self) -> DatasetInput:
        texts = {name: text or "" for name, text in msgspec.structs.asdict(self.dataset).items()}
        return DatasetInput(**texts, tags=items_to_dict(self.tags))


class ModelItem(msgspec.Struct):
    model_id: str
    step: Int64 | None = None


class LogInputs(RunMessage, kw_only=True):
    datasets: list[DatasetItem] | None = None
    models: list[ModelItem] | None = None


class SearchRuns(SearchMessage, kw_only=True):
    experiment_ids: list[str] | None = None
    run_view_type: str | int | None = None


class GetMetricHistory(RunMessage, kw_only=True):
    metric_key: str
    page_token: str | None = None
    max_results: Int64 | None = None


class GetMetricHistoryBulk(RequestMessage, kw_only=True):
    lists = ("run_id",)
    run_id: list[str]
    metric_key: str
    max_results: Int64 | None = None


class ListArtifacts(RunMessage, kw_only=True):
    path: str | None = None
    page_token: str | None = None


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
        for number, (name, wire_name) in enumerate(MODEL_STATUSES.items(), 1):
            if self.status in (wire_name, number, str(number)):
                return name
        raise invalid_parameter(
            f"{quote_short(str(self.status))} is no status",
            f"use one of {', '.join(MODEL_STATUSES.values())}",
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


def require(name: str, value: str | None) -> str:
    if not value:
        raise invalid_parameter(f"Missing value for required parameter '{name}'")
    return value


def decode_body(message: type[M], body: bytes) -> M:
    """Decode a JSON body. Raises TrackingError (INVALID_PARAMETER_VALUE)."""
    try:
        # Not strict: protobuf writes integers of 64 bits as strings
        return msgspec.json.decode(body or b"{}", type=message, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _decoding_error(error) from None


def decode_query(message: type[M], query: Sequence[tuple[str, str]]) -> M:
    fields: dict[str, object] = dict(query)
    for name in message.lists:
        if name in fields:
            fields[name] = [value for key, value in query if key == name]
    try:
        return msgspec.convert(fields, type=message, strict=False)
    except msgspec.MsgspecError as error:
        raise _decoding_error(error) from None


def items_to_dict(pairs: Sequence[KeyValueItem] | None) -> dict[str, str]:
    return {pair.key: pair.value for pair in pairs or ()}


def unique_params(pairs: Sequence[KeyValueItem] | None) -> Mapping[str, str]:
    """Return parameters by key. As in MLflow, a repeated key is an error even with the same value."""
    result = items_to_dict(pairs)
    if len(result) != len(pairs or ()):
        keys = [pair.key for pair in pairs or ()]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise invalid_parameter(f"the parameter {quote_short(repeated)} is in the batch more than once")
    return result


def parse_status(value: str | int | None) -> RunStatus | None:
    return None if value is None or value == "" else _parse_enum("status", value, STATUSES)


def parse_view_type(value: str | int | None) -> str:
    return VIEW_TYPES[0] if value is None or value == "" else _parse_enum("view type", value, VIEW_TYPES)


def _parse_enum(kind: str, value: str | int, names: Sequence[Name]) -> Name:
    """Return the name that `value` is or, as protobuf allows, that it numbers from 1."""
    text = str(value)
    if text.isascii() and text.isdigit() and len(text) < 3 and 1 <= int(text) <= len(names):
        return names[int(text) - 1]
    for name in names:
        if name == value:
            return name
    raise invalid_parameter(f"{quote_short(text)} is not a {kind}", f"use one of {', '.join(names)}")


def _decoding_error(error: Exception) -> TrackingError:
    text = "too deeply nested" if isinstance(error, RecursionError) else str(error)
    return invalid_parameter(f"The request does not fit: {text}")


HTTP_STATUSES = {
    "BAD_REQUEST": 400,
    "INVALID_PARAMETER_VALUE": 400,
    "RESOURCE_ALREADY_EXISTS": 400,  # as MLflow, not 409
    "PERMISSION_DENIED": 403,
    "ENDPOINT_NOT_FOUND": 404,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "NOT_IMPLEMENTED": 501,
    "TEMPORARILY_UNAVAILABLE": 503,
}

_log = logging.getLogger("projrun.server")
_log.addHandler(logging.NullHandler())


def error_answer(error: Exception, request: str) -> tuple[int, Json]:
    """Return status and content for a request that raised `error`. request: method and path, for the log."""
    if isinstance(error, TrackingError):
        return _answer(error.error_code, str(error))
    if isinstance(error, ProjrunError):
        return _answer("INTERNAL_ERROR", str(error))
    # A bug in projrun: the client gets the message, the log of the server the traceback
    _log.error("%s", request, exc_info=error)
    return _answer("INTERNAL_ERROR", f"{type(error).__name__}: {error}")


def _answer(error_code: str, message: str) -> tuple[int, Json]:
    return HTTP_STATUSES.get(error_code, 500), {"error_code": error_code, "message": message}
