"""Entities as MLflow's REST API writes them: JSON objects, lists of key and value, NaN as a string."""

from __future__ import annotations

import math
from collections.abc import Mapping

from projrun.tracking.entities import ArtifactInfo, DatasetInput, Experiment, Metric, Run
from projrun.tracking.models import LoggedModel, ModelMetric, ModelVersion, RegisteredModel

Json = dict[str, object]


def encode_number(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def encode_pairs(mapping: Mapping[str, str]) -> list[Json]:
    return [{"key": key, "value": value} for key, value in mapping.items()]


def metric_json(metric: Metric | ModelMetric) -> Json:
    content: Json = {
        "key": metric.key,
        "value": encode_number(metric.value),
        "timestamp": metric.timestamp,
        "step": metric.step,
    }
    for name in ("model_id", "dataset_name", "dataset_digest"):
        if text := getattr(metric, name):
            content[name] = text
    return content


def experiment_json(experiment: Experiment, artifact_location: str) -> Json:
    return {
        "experiment_id": experiment.experiment_id,
        "name": experiment.name,
        "artifact_location": artifact_location,
        "lifecycle_stage": experiment.lifecycle_stage,
        "last_update_time": experiment.last_update_time,
        "creation_time": experiment.creation_time,
        "tags": encode_pairs(experiment.tags),
    }


def run_json(run: Run, artifact_uri: str) -> Json:
    data: Json = {
        "metrics": [metric_json(metric) for metric in run.metrics.values()],
        "params": encode_pairs(run.params),
        "tags": encode_pairs(run.tags),
    }
    inputs: Json = {"dataset_inputs": [dataset_json(dataset) for dataset in run.inputs]}
    if run.model_inputs:
        inputs["model_inputs"] = [{"model_id": model_id} for model_id in run.model_inputs]
    content: Json = {"info": run_info_json(run, artifact_uri), "data": data, "inputs": inputs}
    if run.model_outputs:
        outputs = [{"model_id": model_id, "step": step} for model_id, step in run.model_outputs.items()]
        content["outputs"] = {"model_outputs": outputs}
    return content


def run_info_json(run: Run, artifact_uri: str) -> Json:
    info: Json = {
        "run_id": run.run_id,
        "run_uuid": run.run_id,
        "run_name": run.run_name,
        "experiment_id": run.experiment_id,
        "user_id": run.user_id,
        "status": run.status,
        "start_time": run.start_time,
        "artifact_uri": artifact_uri,
        "lifecycle_stage": run.lifecycle_stage,
    }
    if run.end_time is not None:
        info["end_time"] = run.end_time
    return info


def dataset_json(dataset: DatasetInput) -> Json:
    content: Json = {
        "name": dataset.name,
        "digest": dataset.digest,
        "source_type": dataset.source_type,
        "source": dataset.source,
    }
    for key, text in (("schema", dataset.schema), ("profile", dataset.profile)):
        if text:
            content[key] = text
    return {"tags": encode_pairs(dataset.tags), "dataset": content}


def file_json(info: ArtifactInfo) -> Json:
    entry: Json = {"path": info.path, "is_dir": info.is_dir}
    if info.file_size is not None:
        entry["file_size"] = info.file_size
    return entry


# In the order of MLflow's numbers for them, from 1.
MODEL_STATUSES = {
    "PENDING": "LOGGED_MODEL_PENDING",
    "READY": "LOGGED_MODEL_READY",
    "FAILED": "LOGGED_MODEL_UPLOAD_FAILED",
}


def logged_model_json(model: LoggedModel, artifact_uri: str) -> Json:
    info: Json = {
        "model_id": model.model_id,
        "experiment_id": model.experiment_id,
        "name": model.name,
        "creation_timestamp_ms": model.creation_time,
        "last_updated_timestamp_ms": model.last_updated_time,
        "artifact_uri": artifact_uri,
        "status": MODEL_STATUSES[model.status],
        "model_type": model.model_type,
        "source_run_id": model.source_run_id,
        "tags": encode_pairs(model.tags),
    }
    metrics = [{**metric_json(metric), "run_id": metric.run_id} for metric in model.metrics]
    return {"info": info, "data": {"params": encode_pairs(model.params), "metrics": metrics}}


def registered_model_json(model: RegisteredModel) -> Json:
    return {
        "name": model.name,
        "creation_timestamp": model.creation_time,
        "last_updated_timestamp": model.last_updated_time,
        "description": model.description,
        "latest_versions": [version_json(version) for version in model.latest_versions],
        "tags": encode_pairs(model.tags),
        "aliases": [{"alias": alias, "version": str(version)} for alias, version in model.aliases.items()],
    }


def version_json(version: ModelVersion) -> Json:
    content: Json = {
        "name": version.name,
        "version": str(version.version),
        "creation_timestamp": version.creation_time,
        "last_updated_timestamp": version.last_updated_time,
        "current_stage": version.stage,
        "description": version.description,
        "source": version.source,
        "run_id": version.run_id,
        "status": "READY",
        "run_link": version.run_link,
        "tags": encode_pairs(version.tags),
        "aliases": list(version.aliases),
    }
    if version.model_id:
        content["model_id"] = version.model_id
    return content
