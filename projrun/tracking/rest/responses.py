"""Answers of MLflow servers of any version, as entities. Missing members are empty."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from projrun.errors import TrackingError
from projrun.tracking.artifacts import split_artifact_path
from projrun.tracking.entities import (
    ArtifactInfo,
    DatasetInput,
    Experiment,
    LifecycleStage,
    Metric,
    Run,
    RunStatus,
)

Shape = TypeVar("Shape")


class _Pair(msgspec.Struct):
    key: str
    value: str = ""


class _Metric(msgspec.Struct):
    key: str
    value: float = 0.0
    timestamp: int = 0
    step: int = 0


class _Info(msgspec.Struct):
    run_id: str = ""
    run_uuid: str = ""
    run_name: str = ""
    experiment_id: str = ""
    user_id: str = ""
    status: RunStatus = "RUNNING"
    start_time: int = 0
    end_time: int | None = None
    artifact_uri: str = ""
    lifecycle_stage: LifecycleStage = "active"


class _Data(msgspec.Struct):
    metrics: list[_Metric] = []
    params: list[_Pair] = []
    tags: list[_Pair] = []


class _Dataset(msgspec.Struct):
    name: str = ""
    digest: str = ""
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""


class _DatasetInput(msgspec.Struct):
    dataset: _Dataset
    tags: list[_Pair] = []


class _Inputs(msgspec.Struct):
    dataset_inputs: list[_DatasetInput] = []


class _Run(msgspec.Struct):
    info: _Info
    data: _Data = msgspec.field(default_factory=_Data)
    inputs: _Inputs = msgspec.field(default_factory=_Inputs)


class _File(msgspec.Struct):
    path: str
    is_dir: bool = False
    file_size: int | None = None


class _Experiment(msgspec.Struct):
    experiment_id: str
    name: str = ""
    artifact_location: str = ""
    lifecycle_stage: LifecycleStage = "active"
    creation_time: int = 0
    last_update_time: int = 0
    tags: list[_Pair] = []


def parse_experiment(content: object) -> Experiment:
    answer = _converted(content, _Experiment, "an experiment")
    return Experiment(**{**msgspec.structs.asdict(answer), "tags": _mapping(answer.tags)})


def parse_run(content: object) -> Run:
    answer = _converted(content, _Run, "a run")
    info, data = answer.info, answer.data
    tags = _mapping(data.tags)
    return Run(
        run_id=info.run_id or info.run_uuid,
        experiment_id=info.experiment_id,
        run_name=info.run_name or tags.get("mlflow.runName", ""),
        user_id=info.user_id,
        status=info.status,
        start_time=info.start_time,
        end_time=info.end_time,
        artifact_uri=info.artifact_uri,
        lifecycle_stage=info.lifecycle_stage,
        params=_mapping(data.params),
        tags=tags,
        metrics={metric.key: _metric(metric) for metric in data.metrics},
        inputs=tuple(_input(each) for each in answer.inputs.dataset_inputs),
    )


def parse_files(content: object, path: str) -> list[ArtifactInfo]:
    """Parse the answer of artifacts/list for the directory `path`. Some servers list a file as itself."""
    answer = _converted(content or [], list[_File], "artifacts")
    for file in answer:
        split_artifact_path(file.path)
    infos = [ArtifactInfo(file.path, file.is_dir, None if file.is_dir else file.file_size) for file in answer]
    return [info for info in infos if info.path != path]


def parse_metrics(content: object) -> list[Metric]:
    answer = _converted(content or [], list[_Metric], "a metric")
    return [_metric(metric) for metric in answer]


def _metric(metric: _Metric) -> Metric:
    return Metric(metric.key, metric.value, metric.timestamp, metric.step)


def _input(answer: _DatasetInput) -> DatasetInput:
    return DatasetInput(**msgspec.structs.asdict(answer.dataset), tags=_mapping(answer.tags))


def _mapping(answer: list[_Pair]) -> dict[str, str]:
    return {pair.key: pair.value for pair in answer}


def _converted(content: object, shape: type[Shape], noun: str) -> Shape:
    try:
        return msgspec.convert(content, type=shape, strict=False)
    except msgspec.ValidationError as error:
        raise TrackingError(
            f"the tracking server did not answer with {noun}: {error}",
            "check that MLFLOW_TRACKING_URI is an MLflow server",
        ) from None
