"""A directory `mlruns`, as mlflow's file store keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from projrun.errors import UsageError
from projrun.output import warn
from projrun.tracking import oldmodelfiles
from projrun.tracking.entities import RUN_NAME_TAG, DatasetInput, Metric, RunStatus
from projrun.tracking.oldfiles import artifact_uri, children, meta_of, stage_of, texts
from projrun.tracking.oldstores import OldExperiment, OldLoggedModel, OldRegisteredModel, OldRun

STATUSES: tuple[RunStatus, ...] = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
"""By mlflow's number, counted from 1."""


def runs(place: Path) -> Iterator[OldRun]:
    for directory, experiment in _experiments(place):
        for run in children(directory):
            meta = meta_of(run)
            if "run_id" in meta or "run_uuid" in meta:
                yield _run(run, meta, experiment)


def logged_models(place: Path) -> Iterator[OldLoggedModel]:
    for directory, experiment in _experiments(place):
        yield from oldmodelfiles.logged_models(directory / "models", experiment)


def registered_models(place: Path) -> Iterator[OldRegisteredModel]:
    return oldmodelfiles.registered_models(place / "models")


def _experiments(place: Path) -> list[tuple[Path, OldExperiment]]:
    directories = [*children(place), *children(place / ".trash")]
    found = [(directory, meta) for directory in directories if "name" in (meta := meta_of(directory))]
    if not found:
        raise UsageError(f"{place} has no experiments of mlflow in it", "name a directory such as mlruns")
    return [(directory, _experiment(directory, meta)) for directory, meta in found]


def _experiment(directory: Path, meta: dict[str, Any]) -> OldExperiment:
    return OldExperiment(
        name=str(meta["name"]),
        artifact_location=str(meta.get("artifact_location") or ""),
        lifecycle_stage=stage_of(meta),
        creation_time=int(meta.get("creation_time") or 0),
        last_update_time=int(meta.get("last_update_time") or 0),
        tags=dict(texts(directory / "tags")),
    )


def _run(directory: Path, meta: dict[str, Any], experiment: OldExperiment) -> OldRun:
    tags = dict(texts(directory / "tags"))
    end_time = meta.get("end_time")
    return OldRun(
        run_id=str(meta.get("run_id") or meta["run_uuid"]),
        experiment=experiment,
        run_name=str(meta.get("run_name") or tags.get(RUN_NAME_TAG) or meta.get("name") or ""),
        user_id=str(meta.get("user_id") or ""),
        status=_status(meta.get("status")),
        start_time=int(meta.get("start_time") or 0),
        end_time=None if end_time is None else int(end_time),
        lifecycle_stage=stage_of(meta),
        params=dict(texts(directory / "params")),
        tags=tags,
        metrics=tuple(_metrics(directory / "metrics")),
        inputs=tuple(_inputs(directory)),
        artifact_uri=artifact_uri(directory, str(meta.get("artifact_uri") or "")),
        model_inputs=tuple(_links(directory / "inputs", "MODEL_INPUT")),
        model_outputs=_links(directory / "outputs", "MODEL_OUTPUT"),
    )


def _links(directory: Path, kind: str) -> dict[str, int]:
    """The models that a run read or made, and at which step."""
    metas = [meta_of(link) for link in children(directory)]
    return {
        str(meta["destination_id"]): int(meta.get("step") or 0)
        for meta in metas
        if meta.get("destination_type") == kind
    }


def _status(value: object) -> RunStatus:
    if isinstance(value, int) and 1 <= value <= len(STATUSES):
        return STATUSES[value - 1]
    return next((status for status in STATUSES if status == value), "FINISHED")


def _metrics(directory: Path) -> Iterator[Metric]:
    """Lines `timestamp value`, then the step, and since 2.21 the data set's name and digest."""
    for key, text in texts(directory):
        for line in text.splitlines():
            parts = line.split(" ")
            try:
                step = int(parts[2]) if len(parts) > 2 else 0
                yield Metric(key, float(parts[1]), int(parts[0]), step)
            except (IndexError, ValueError):
                warn(f"{directory / key}: '{line[:60]}' is no value of a metric; it is left out")


def _inputs(run: Path) -> Iterator[DatasetInput]:
    for directory in children(run / "inputs"):
        meta = meta_of(directory)
        dataset = meta_of(run.parent / "datasets" / str(meta.get("source_id", "")))
        if meta.get("source_type") == "DATASET" and dataset:
            texts = {key: str(dataset.get(key) or "") for key in DatasetInput.__struct_fields__}
            tags = {str(key): str(value) for key, value in (meta.get("tags") or {}).items()}
            yield DatasetInput(**{**texts, "tags": tags})  # type: ignore[arg-type]
