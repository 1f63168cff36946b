"""Limits of names and lengths as MLflow has them, so that a run or a model fits into any MLflow store."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from projrun.errors import TrackingError
from projrun.tracking.entities import DatasetInput, Metric

MAX_METRICS = 1000
MAX_PARAMS = 100
MAX_TAGS = 100
MAX_ENTITIES = 1000
MAX_KEY = 250
MAX_PARAM_VALUE = 6000
MAX_TAG_VALUE = 8000
MAX_EXPERIMENT_NAME = 500
MAX_EXPERIMENT_TAG_VALUE = 20_000
MAX_ARTIFACT_LOCATION = 2048
MAX_RUN_NAME = 250
MAX_DATASET_NAME = 500
MAX_DATASET_DIGEST = 36
MAX_DATASET_SOURCE = 65_535
MAX_DATASET_SCHEMA = 1_048_575
MAX_DATASET_PROFILE = 16_777_215
MAX_RUNS_PER_PAGE = 50_000
MAX_FILTER = 100_000
# Of logged models and of the model registry
MAX_MODEL_NAME = 256
MAX_LOGGED_MODEL_NAME = 500
MAX_MODEL_TYPE = 500
MAX_RUN_ID = 32
MAX_MODEL_ID = 36
MAX_ALIAS = 255
MAX_REGISTRY_TAG_KEY = 250
MAX_REGISTRY_TAG_VALUE = 100_000
MAX_DESCRIPTION = 100_000
MAX_RUN_LINK = 500
MAX_MODELS_PER_PAGE = 1000
MAX_VERSIONS_PER_PAGE = 200_000
MAX_MODEL_LINKS = 1000
MAX_DATASETS = 100
INT64 = 2**63

TRUNCATE_VARIABLE = "MLFLOW_TRUNCATE_LONG_VALUES"

_NAME = r"[/\w.\- :]*"


def invalid_parameter(message: str, hint: str = "") -> TrackingError:
    return TrackingError(message, hint, error_code="INVALID_PARAMETER_VALUE")


def not_found(message: str) -> TrackingError:
    return TrackingError(message, error_code="RESOURCE_DOES_NOT_EXIST")


def quote_short(text: str) -> str:
    """Quote a text for an error message, and cut it to 60 characters."""
    return repr(text if len(text) <= 60 else text[:59] + "…")


def check_key(kind: str, key: str) -> None:
    """Check the name of a metric, parameter or tag. kind: one of these words, for the message."""
    # MLflow's file store keeps each in a file of that name, so it must also do as a relative path.
    check_text(kind, key)
    if not re.fullmatch(_NAME, key):
        raise invalid_parameter(
            f"the {kind} name {quote_short(key)} has a character that names may not have",
            "use letters, digits, blanks and / _ - . :",
        )
    if os.path.normpath(key) != key or key == "." or key.startswith(("..", "/")):
        raise invalid_parameter(
            f"the {kind} name {quote_short(key)} would not do as a file path", "use a name such as a/b"
        )
    check_length(f"{kind} name", key, MAX_KEY)


def check_text(kind: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise invalid_parameter(f"the {kind} {quote_short(text)} is not valid Unicode text") from None


def check_length(kind: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise invalid_parameter(
            f"the {kind} {quote_short(text)} exceeds the maximum length of {limit} characters"
        )


def check_text_length(kind: str, text: str, limit: int) -> str:
    check_text(kind, text)
    check_length(kind, text, limit)
    return text


def truncate_text(kind: str, text: str, limit: int) -> str:
    """Cut `text` to `limit` characters; raise an error instead if MLFLOW_TRUNCATE_LONG_VALUES is false."""
    check_text(kind, text)
    if len(text) > limit and os.environ.get(TRUNCATE_VARIABLE, "true").lower() in ("false", "0"):
        check_length(kind, text, limit)
    return text[:limit]


def check_experiment_name(name: str) -> None:
    check_text("experiment name", name)
    if not name.strip():
        raise invalid_parameter("the experiment name is empty", "give it a name")
    check_length("experiment name", name, MAX_EXPERIMENT_NAME)


def check_run_name(name: str) -> str:
    return check_text_length("run name", name, MAX_RUN_NAME)


def check_experiment_tag(key: str, value: str) -> None:
    check_key("tag", key)
    check_text_length("tag value", value, MAX_EXPERIMENT_TAG_VALUE)


def normalize_tags(tags: Mapping[str, str]) -> dict[str, str]:
    for key in tags:
        check_key("tag", key)
    return {key: truncate_text("tag value", value, MAX_TAG_VALUE) for key, value in tags.items()}


def normalize_params(params: Mapping[str, str]) -> dict[str, str]:
    for key in params:
        check_key("parameter", key)
    return {key: truncate_text("parameter value", value, MAX_PARAM_VALUE) for key, value in params.items()}


def check_metrics(metrics: Sequence[Metric]) -> None:
    for key in {metric.key for metric in metrics}:
        check_key("metric", key)
    for metric in metrics:
        _check_times(metric)


def _check_times(metric: Metric) -> None:
    if not 0 <= metric.timestamp < INT64:
        raise invalid_parameter(
            f"the timestamp {metric.timestamp} of metric {quote_short(metric.key)} is not in milliseconds"
        )
    if not -INT64 <= metric.step < INT64:
        raise invalid_parameter(
            f"the step {metric.step} of metric {quote_short(metric.key)} does not fit into 64 bits"
        )


def check_time(name: str, time_ms: int) -> None:
    if not -INT64 <= time_ms < INT64:
        raise invalid_parameter(f"{name} {time_ms} does not fit into 64 bits")


def check_batch(metrics: Sequence[Metric], params: Mapping[str, str], tags: Mapping[str, str]) -> None:
    counts = (("metrics", len(metrics), MAX_METRICS), ("parameters", len(params), MAX_PARAMS))
    for kind, count, limit in (*counts, ("tags", len(tags), MAX_TAGS)):
        if count > limit:
            raise invalid_parameter(
                f"a batch of {count} {kind} exceeds the limit of {limit}", "log it in parts"
            )
    total = len(metrics) + len(params) + len(tags)
    if total > MAX_ENTITIES:
        raise invalid_parameter(
            f"a batch of {total} entries exceeds the limit of {MAX_ENTITIES}", "log it in parts"
        )


def check_dataset(dataset: DatasetInput) -> None:
    if not dataset.name or not dataset.digest:
        raise invalid_parameter("a dataset has no name or no digest")
    check_length("dataset name", dataset.name, MAX_DATASET_NAME)
    check_length("dataset digest", dataset.digest, MAX_DATASET_DIGEST)
    check_length("dataset source", dataset.source, MAX_DATASET_SOURCE)
    check_length("dataset schema", dataset.schema, MAX_DATASET_SCHEMA)
    check_length("dataset profile", dataset.profile, MAX_DATASET_PROFILE)
    texts = (dataset.name, dataset.digest, dataset.source, dataset.schema, dataset.profile)
    for text in (*texts, dataset.source_type, *dataset.tags, *dataset.tags.values()):
        check_text("dataset's", text)


def check_page_size(max_results: int, limit: int = MAX_RUNS_PER_PAGE) -> None:
    if not 1 <= max_results <= limit:
        raise invalid_parameter(f"max_results is {max_results}", f"ask for 1 to {limit}")


def check_model_name(name: str) -> str:
    """Check the name of a registered model, which clients use in paths, and return it."""
    check_text("model name", name)
    if not name.strip():
        raise invalid_parameter("the model name is empty", "give the model a name")
    if "/" in name or ":" in name or os.path.normpath(name) != name or name in (".", ".."):
        raise invalid_parameter(f"the model name {quote_short(name)} cannot be used", "leave out / and :")
    check_length("model name", name, MAX_MODEL_NAME)
    return name


def check_logged_model_name(name: str) -> str:
    check_text("model name", name)
    if any(char in name for char in "/:.%\"'"):
        raise invalid_parameter(
            f"the model name {quote_short(name)} cannot be used", "leave out / : . % and quotes"
        )
    return check_text_length("model name", name, MAX_LOGGED_MODEL_NAME)


def parse_version(version: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", version):
        raise invalid_parameter(f"the model version {quote_short(version)} is not a number")
    return int(version)


def check_alias(alias: str, *, new: bool = False) -> str:
    check_text("alias", alias)
    if not re.fullmatch(r"[\w\-]+", alias):
        raise invalid_parameter(
            f"the alias {quote_short(alias)} cannot be used", "use letters, digits, _ and -"
        )
    check_length("alias", alias, MAX_ALIAS)
    if new and (alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias)):
        raise invalid_parameter(f"the alias {quote_short(alias)} is reserved", "use another one")
    return alias


def check_registry_tags(tags: Mapping[str, str]) -> dict[str, str]:
    for key, value in tags.items():
        if not key:
            raise invalid_parameter("a tag has no name")
        check_text_length("tag name", key, MAX_REGISTRY_TAG_KEY)
        check_text_length("tag value", value, MAX_REGISTRY_TAG_VALUE)
    return dict(tags)
