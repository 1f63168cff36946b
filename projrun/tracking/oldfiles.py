"""mlflow's file store: a directory for each thing, its facts in a meta.yaml, a file for each tag."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from projrun.errors import ProjectError
from projrun.output import warn
from projrun.tracking.entities import LifecycleStage
from projrun.yamlcache import load

META = "meta.yaml"


def stage_of(meta: dict[str, Any]) -> LifecycleStage:
    return "deleted" if meta.get("lifecycle_stage") == "deleted" else "active"


def artifact_uri(directory: Path, uri: str) -> str:
    """What is in the thing's own directory is there, wherever the store was when the thing was made."""
    own = directory / "artifacts"
    return str(own) if own.is_dir() or not uri else uri


def children(directory: Path) -> list[Path]:
    """Directories; links are not followed: they may lead out of what the user named."""
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return []
    return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]


def meta_of(directory: Path) -> dict[str, Any]:
    """Empty where there is none, or none that can be read."""
    path = directory / META
    if not path.is_file():
        return {}
    try:
        data = load(path, remember=False).data
    except ProjectError as error:
        warn(f"{error}; {directory} is left out")
        return {}
    return data if isinstance(data, dict) else {}


def texts(directory: Path) -> Iterator[tuple[str, str]]:
    """Name and content of every file; a name may have slashes."""
    for place, _, names in os.walk(directory):
        for name in sorted(names):
            path = Path(place) / name
            if path.is_file() and not path.is_symlink():
                text = path.read_bytes().decode("utf-8", "replace")
                yield path.relative_to(directory).as_posix(), text
