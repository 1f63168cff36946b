"""Models in a directory `mlruns`: logged ones beside an experiment's runs, registered ones in `models`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from projrun.output import warn
from projrun.tracking.modelentities import STATUSES, ModelMetric
from projrun.tracking.oldfiles import artifact_uri, children, meta_of, stage_of, texts
from projrun.tracking.oldstores import OldExperiment, OldLoggedModel, OldRegisteredModel, OldVersion


def logged_models(place: Path, experiment: OldExperiment) -> Iterator[OldLoggedModel]:
    for directory in children(place):
        if "model_id" in (meta := meta_of(directory)):
            yield _logged(directory, meta, experiment)


def registered_models(place: Path) -> Iterator[OldRegisteredModel]:
    for directory in children(place):
        if "name" in (meta := meta_of(directory)):
            yield _registered(directory, meta)


def _logged(directory: Path, meta: dict[str, Any], experiment: OldExperiment) -> OldLoggedModel:
    model_id, status = str(meta["model_id"]), meta.get("status")
    is_known = isinstance(status, int) and 1 <= status <= len(STATUSES)
    return OldLoggedModel(
        model_id=model_id,
        experiment=experiment,
        name=_text(meta, "name"),
        model_type=_text(meta, "model_type"),
        source_run_id=_text(meta, "source_run_id"),
        status=STATUSES[int(status or 0) - 1] if is_known else "PENDING",
        creation_time=int(meta.get("creation_timestamp") or 0),
        last_updated_time=int(meta.get("last_updated_timestamp") or 0),
        lifecycle_stage=stage_of(meta),
        params=dict(texts(directory / "params")),
        tags=dict(texts(directory / "tags")),
        metrics=tuple(_metrics(directory / "metrics", model_id)),
        artifact_uri=artifact_uri(directory, _text(meta, "artifact_location")),
    )


def _metrics(directory: Path, model_id: str) -> Iterator[ModelMetric]:
    """Lines `timestamp value step run`, and the name and digest of the data set if there was one."""
    for key, text in texts(directory):
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


def _registered(directory: Path, meta: dict[str, Any]) -> OldRegisteredModel:
    versions = ((child, meta_of(child)) for child in children(directory))
    aliases = dict(texts(directory / "aliases"))
    return OldRegisteredModel(
        name=_text(meta, "name"),
        description=_text(meta, "description"),
        creation_time=int(meta.get("creation_timestamp") or 0),
        last_updated_time=int(meta.get("last_updated_timestamp") or 0),
        tags=dict(texts(directory / "tags")),
        aliases={alias: int(number) for alias, number in aliases.items() if _is_number(number)},
        versions=tuple(
            _version(child, facts) for child, facts in versions if _is_number(_text(facts, "version"))
        ),
    )


def _version(directory: Path, meta: dict[str, Any]) -> OldVersion:
    return OldVersion(
        version=int(meta["version"]),
        stage=_text(meta, "current_stage") or "None",
        description=_text(meta, "description"),
        source=_text(meta, "source"),
        location=_text(meta, "storage_location"),
        run_id=_text(meta, "run_id"),
        run_link=_text(meta, "run_link"),
        model_id=_text(meta, "model_id"),
        creation_time=int(meta.get("creation_timestamp") or 0),
        last_updated_time=int(meta.get("last_updated_timestamp") or 0),
        tags=dict(texts(directory / "tags")),
    )


def _text(meta: dict[str, Any], key: str) -> str:
    return str(meta.get(key) or "")


def _is_number(text: str) -> bool:
    return re.fullmatch("[0-9]{1,9}", text.strip()) is not None
