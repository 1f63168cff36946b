"""Reader of a directory `mlruns`, as mlflow's file store keeps it. Nothing is written to it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from projrun.console import warn
from projrun.disk.file_tree import list_directories
from projrun.documents.yaml_cache import load_yaml
from projrun.errors import ProjectError, UsageError
from projrun.tracking.entities import (
    RUN_NAME_TAG,
    DatasetInput,
    Experiment,
    LifecycleStage,
    Metric,
    Run,
    RunStatus,
)
from projrun.tracking.mlflow_import import MlflowLoggedModel, MlflowRegisteredModel, MlflowRun
from projrun.tracking.models import (
    STATUSES,
    LoggedModel,
    ModelMetric,
    ModelVersion,
    RegisteredModel,
    Stage,
)

META = "meta.yaml"


def _stage(meta: dict[str, Any]) -> LifecycleStage:
    return "deleted" if meta.get("lifecycle_stage") == "deleted" else "active"


def _artifact_uri(directory: Path, uri: str) -> str:
    """Return the artifacts below `directory` if there are any: the store may have been moved since."""
    own = directory / "artifacts"
    return str(own) if own.is_dir() or not uri else uri


def _read_meta(directory: Path) -> dict[str, Any]:
    """Read the directory's meta.yaml; empty where there is none, or none that can be read."""
    path = directory / META
    if not path.is_file():
        return {}
    try:
        data = load_yaml(path, remember=False).data
    except ProjectError as error:
        warn(f"{error}; {directory} is left out")
        return {}
    return data if isinstance(data, dict) else {}


def _read_texts(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield name and content of every file; a name may have slashes."""
    for parent, _, names in os.walk(directory):
        for name in sorted(names):
            path = Path(parent) / name
            if path.is_file() and not path.is_symlink():
                text = path.read_bytes().decode("utf-8", "replace")
                yield path.relative_to(directory).as_posix(), text


def _logged_model(directory: Path, meta: dict[str, Any]) -> LoggedModel:
    model_id, status = str(meta["model_id"]), meta.get("status")
    is_known = isinstance(status, int) and 1 <= status <= len(STATUSES)
    return LoggedModel(
        model_id=model_id,
        experiment_id=_text(meta, "experiment_id"),
        name=_text(meta, "name"),
        model_type=_text(meta, "model_type"),
        source_run_id=_text(meta, "source_run_id"),
        status=STATUSES[int(status or 0) - 1] if is_known else "PENDING",
        creation_time=int(meta.get("creation_timestamp") or 0),
        last_updated_time=int(meta.get("last_updated_timestamp") or 0),
        lifecycle_stage=_stage(meta),
        params=dict(_read_texts(directory / "params")),
        tags=dict(_read_texts(directory / "tags")),
        metrics=tuple(_model_metrics(directory / "metrics", model_id)),
        artifact_uri=_artifact_uri(directory, _text(meta, "artifact_location")),
    )


def _model_metrics(directory: Path, model_id: str) -> Iterator[ModelMetric]:
    # Lines are `timestamp value step run`, then the name and digest of the data set if there was one.
    for key, text in _read_texts(directory):
        for line in text.splitlines():
            parts = [*line.split(" "), "", ""][:6]
            try:
                yield ModelMetric(
                    key=key,
                    value=float(parts[1]),
                    timestamp=int(parts[0]),
                    step=int(parts[2]),
                    model_id=model_id,
                    run_id=parts[3],
                    dataset_name=parts[4],
                    dataset_digest=parts[5],
                )
            except (IndexError, ValueError):
                warn(f"{directory / key}: '{line[:60]}' is no value of a metric; it is left out")


def _registered(directory: Path, meta: dict[str, Any]) -> MlflowRegisteredModel:
    versions = ((child, _read_meta(child)) for child in list_directories(directory))
    aliases = dict(_read_texts(directory / "aliases"))
    model = RegisteredModel(
        name=_text(meta, "name"),
        description=_text(meta, "description"),
        creation_time=int(meta.get("creation_timestamp") or 0),
        last_updated_time=int(meta.get("last_updated_timestamp") or 0),
        tags=dict(_read_texts(directory / "tags")),
        aliases={alias: int(number) for alias, number in aliases.items() if _is_number(number)},
    )
    return MlflowRegisteredModel(
        model,
        tuple(
            _version(model.name, child, facts)
            for child, facts in versions
            if _is_number(_text(facts, "version"))
        ),
    )


def _version(name: str, directory: Path, meta: dict[str, Any]) -> ModelVersion:
    return ModelVersion(
        name=name,
        version=int(meta["version"]),
        stage=cast(Stage, _text(meta, "current_stage") or "None"),
        description=_text(meta, "description"),
        source=_text(meta, "source"),
        location=_text(meta, "storage_location"),
        run_id=_text(meta, "run_id"),
        run_link=_text(meta, "run_link"),
        model_id=_text(meta, "model_id"),
        creation_time=int(meta.get("creation_timestamp") or 0),
        last_updated_time=int(meta.get("last_updated_timestamp") or 0),
        tags=dict(_read_texts(directory / "tags")),
    )


def _text(meta: dict[str, Any], key: str) -> str:
    return str(meta.get(key) or "")


def _is_number(text: str) -> bool:
    return re.fullmatch("[0-9]{1,9}", text.strip()) is not None


# By mlflow's number, counted from 1.
RUN_STATUSES: tuple[RunStatus, ...] = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")


def runs(path: Path) -> Iterator[MlflowRun]:
    for directory, experiment in _experiments(path):
        for run in list_directories(directory):
            meta = _read_meta(run)
            if "run_id" in meta or "run_uuid" in meta:
                yield MlflowRun(experiment, _run(run, meta), tuple(_metrics(run / "metrics")))


def logged_models(path: Path) -> Iterator[MlflowLoggedModel]:
    for directory, experiment in _experiments(path):
        for model in list_directories(directory / "models"):
            meta = _read_meta(model)
            if "model_id" in meta:
                yield MlflowLoggedModel(experiment, _logged_model(model, meta))


def registered_models(path: Path) -> Iterator[MlflowRegisteredModel]:
    for directory in list_directories(path / "models"):
        meta = _read_meta(directory)
        if "name" in meta:
            yield _registered(directory, meta)


# Links to directories are not followed: they may lead out of the store that the user named.
def _experiments(path: Path) -> list[tuple[Path, Experiment]]:
    directories = [*list_directories(path), *list_directories(path / ".trash")]
    metas = {directory: _read_meta(directory) for directory in directories}
    experiments = [
        (directory, _experiment(directory, meta)) for directory, meta in metas.items() if "name" in meta
    ]
    if not experiments:
        raise UsageError(f"{path} has no experiments of mlflow in it", "name a directory such as mlruns")
    return experiments


def _experiment(directory: Path, meta: dict[str, Any]) -> Experiment:
    return Experiment(
        experiment_id=_text(meta, "experiment_id"),
        name=str(meta["name"]),
        artifact_location=_text(meta, "artifact_location"),
        lifecycle_stage=_stage(meta),
        creation_time=int(meta.get("creation_time") or 0),
        last_update_time=int(meta.get("last_update_time") or 0),
        tags=dict(_read_texts(directory / "tags")),
    )


def _run(directory: Path, meta: dict[str, Any]) -> Run:
    tags = dict(_read_texts(directory / "tags"))
    end_time = meta.get("end_time")
    return Run(
        run_id=str(meta.get("run_id") or meta["run_uuid"]),
        experiment_id=_text(meta, "experiment_id"),
        run_name=str(meta.get("run_name") or tags.get(RUN_NAME_TAG) or meta.get("name") or ""),
        user_id=_text(meta, "user_id"),
        status=_status(meta.get("status")),
        start_time=int(meta.get("start_time") or 0),
        end_time=None if end_time is None else int(end_time),
        lifecycle_stage=_stage(meta),
        params=dict(_read_texts(directory / "params")),
        tags=tags,
        inputs=tuple(_inputs(directory)),
        artifact_uri=_artifact_uri(directory, _text(meta, "artifact_uri")),
        model_inputs=tuple(_links(directory / "inputs", "MODEL_INPUT")),
        model_outputs=_links(directory / "outputs", "MODEL_OUTPUT"),
    )


def _links(directory: Path, kind: str) -> dict[str, int]:
    """Return the models that a run read or made, and at which step."""
    metas = [_read_meta(link) for link in list_directories(directory)]
    return {
        str(meta["destination_id"]): int(meta.get("step") or 0)
        for meta in metas
        if meta.get("destination_type") == kind
    }


def _status(value: object) -> RunStatus:
    if isinstance(value, int) and 1 <= value <= len(RUN_STATUSES):
        return RUN_STATUSES[value - 1]
    return next((status for status in RUN_STATUSES if status == value), "FINISHED")


def _metrics(directory: Path) -> Iterator[Metric]:
    # Lines are `timestamp value`, then the step, and since 2.21 the data set's name and digest.
    for key, text in _read_texts(directory):
        for line in text.splitlines():
            parts = line.split(" ")
            try:
                step = int(parts[2]) if len(parts) > 2 else 0
                yield Metric(key, float(parts[1]), int(parts[0]), step)
            except (IndexError, ValueError):
                warn(f"{directory / key}: '{line[:60]}' is no value of a metric; it is left out")


def _inputs(run: Path) -> Iterator[DatasetInput]:
    for directory in list_directories(run / "inputs"):
        meta = _read_meta(directory)
        dataset = _read_meta(run.parent / "datasets" / str(meta.get("source_id", "")))
        if meta.get("source_type") == "DATASET" and dataset:
            texts = {key: str(dataset.get(key) or "") for key in DatasetInput.__struct_fields__}
            tags = {str(key): str(value) for key, value in (meta.get("tags") or {}).items()}
            yield DatasetInput(**{**texts, "tags": tags})  # type: ignore[arg-type]
