"""Models as MLflow's REST API writes them."""

from __future__ import annotations

from projrun.tracking.models import LoggedModel, ModelMetric, ModelVersion, RegisteredModel
from projrun.tracking.wire import Json, encode_number, encode_pairs

STATUSES = {
    "PENDING": "LOGGED_MODEL_PENDING",
    "READY": "LOGGED_MODEL_READY",
    "FAILED": "LOGGED_MODEL_UPLOAD_FAILED",
}
"""In the order of MLflow's numbers for them, from 1."""


def logged_model_json(model: LoggedModel, artifact_uri: str) -> Json:
    info: Json = {
        "model_id": model.model_id,
        "experiment_id": model.experiment_id,
        "name": model.name,
        "creation_timestamp_ms": model.creation_time,
        "last_updated_timestamp_ms": model.last_updated_time,
        "artifact_uri": artifact_uri,
        "status": STATUSES[model.status],
        "model_type": model.model_type,
        "source_run_id": model.source_run_id,
        "tags": encode_pairs(model.tags),
    }
    metrics = [_metric_json(metric) for metric in model.metrics]
    return {"info": info, "data": {"params": encode_pairs(model.params), "metrics": metrics}}


def _metric_json(metric: ModelMetric) -> Json:
    content: Json = {
        "key": metric.key,
        "value": encode_number(metric.value),
        "timestamp": metric.timestamp,
        "step": metric.step,
        "model_id": metric.model_id,
        "run_id": metric.run_id,
    }
    for name, text in (("dataset_name", metric.dataset_name), ("dataset_digest", metric.dataset_digest)):
        if text:
            content[name] = text
    return content


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
