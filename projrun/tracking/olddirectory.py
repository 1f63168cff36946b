"""A directory `mlruns`, as mlflow's file store of 1.x and 2.x keeps it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from projrun.errors import ProjectError, UsageError
from projrun.output import warn
from projrun.tracking.entities import RUN_NAME_TAG, DatasetInput, LifecycleStage, Metric, RunStatus
from projrun.tracking.oldstores import OldExperiment, OldRun
from projrun.yamlcache import load

STATUSES: tuple[RunStatus, ...] = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
"""By mlflow's number, counted from 1."""
META = "meta.yaml"


def runs(place: Path) -> Iterator[OldRun]:
    directories = [*_children(place), *_children(place / ".trash")]
    found = [directory for directory in directories if "name" in _meta(directory)]
    if not found:
        raise UsageError(f"{place} has no experiments of mlflow in it", "name a directory such as mlruns")
    for directory in found:
        experiment = _experiment(directory, _meta(directory))
        for run in _children(directory):
            meta = _meta(run)
            if "run_id" in meta or "run_uuid" in meta:
                yield _run(run, meta, experiment)


def _experiment(directory: Path, meta: dict[str, Any]) -> OldExperiment:
    return OldExperiment(
        name=str(meta["name"]),
        artifact_location=str(meta.get("artifact_location") or ""),
        lifecycle_stage=_stage(meta),
        creation_time=int(meta.get("creation_time") or 0),
        last_update_time=int(meta.get("last_update_time") or 0),
        tags=dict(_texts(directory / "tags")),
    )


def _run(directory: Path, meta: dict[str, Any], experiment: OldExperiment) -> OldRun:
    tags = dict(_texts(directory / "tags"))
    end_time = meta.get("end_time")
    return OldRun(
        run_id=str(meta.get("run_id") or meta["run_uuid"]),
        experiment=experiment,
        run_name=str(meta.get("run_name") or tags.get(RUN_NAME_TAG) or meta.get("name") or ""),
        user_id=str(meta.get("user_id") or ""),
        status=_status(meta.get("status")),
        start_time=int(meta.get("start_time") or 0),
        end_time=None if end_time is None else int(end_time),
        lifecycle_stage=_stage(meta),
        params=dict(_texts(directory / "params")),
        tags=tags,
        metrics=tuple(_metrics(directory / "metrics")),
        inputs=tuple(_inputs(directory)),
        artifact_uri=_artifact_uri(directory, str(meta.get("artifact_uri") or "")),
    )


def _artifact_uri(run: Path, uri: str) -> str:
    """What is in the run's own directory is there, wherever the store was when the run was made."""
    own = run / "artifacts"
    return str(own) if own.is_dir() or not uri else uri


def _status(value: object) -> RunStatus:
    if isinstance(value, int) and 1 <= value <= len(STATUSES):
        return STATUSES[value - 1]
    return next((status for status in STATUSES if status == value), "FINISHED")


def _stage(meta: dict[str, Any]) -> LifecycleStage:
    return "deleted" if meta.get("lifecycle_stage") == "deleted" else "active"


def _metrics(directory: Path) -> Iterator[Metric]:
    """Lines `timestamp value`, then the step, and since 2.21 the data set's name and digest."""
    for key, text in _texts(directory):
        for line in text.splitlines():
            parts = line.split(" ")
            try:
                step = int(parts[2]) if len(parts) > 2 else 0
                yield Metric(key, float(parts[1]), int(parts[0]), step)
            except (IndexError, ValueError):
                warn(f"{directory / key}: '{line[:60]}' is no value of a metric; it is left out")


def _inputs(run: Path) -> Iterator[DatasetInput]:
    for directory in _children(run / "inputs"):
        meta = _meta(directory)
        dataset = _meta(run.parent / "datasets" / str(meta.get("source_id", "")))
        if meta.get("source_type") == "DATASET" and dataset:
            texts = {key: str(dataset.get(key) or "") for key in DatasetInput.__struct_fields__}
            tags = {str(key): str(value) for key, value in (meta.get("tags") or {}).items()}
            yield DatasetInput(**{**texts, "tags": tags})  # type: ignore[arg-type]


def _children(directory: Path) -> list[Path]:
    """Directories; links are not followed: they may lead out of what the user named."""
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return []
    return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]


def _meta(directory: Path) -> dict[str, Any]:
    """Empty where there is none, or none that can be read."""
    path = directory / META
    if not path.is_file():
        return {}
    try:
        data = load(path).data
    except ProjectError as error:
        warn(f"{error}; {directory} is left out")
        return {}
    return data if isinstance(data, dict) else {}


def _texts(directory: Path) -> Iterator[tuple[str, str]]:
    """Name and content of every file; a name may have slashes."""
    for place, _, names in os.walk(directory):
        for name in sorted(names):
            path = Path(place) / name
            if path.is_file() and not path.is_symlink():
                text = path.read_bytes().decode("utf-8", "replace")
                yield path.relative_to(directory).as_posix(), text
