"""Download `runs:/<run_id>/path`, an artifact of a run, which is a file or a directory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from projrun.console.progress import Progress
from projrun.errors import InputError, ParameterError, TrackingError
from projrun.inputs import ArtifactEntry, RunArtifacts

_URI = re.compile(r"runs:/(?P<run_id>[^/?#\s]+)(?:/(?P<path>.*))?", re.IGNORECASE | re.DOTALL)


def claims(url: str) -> bool:
    return url.lower().startswith("runs:")


def check(url: str) -> None:
    if not _URI.fullmatch(url):
        raise ParameterError("names no artifact of a run", "write runs:/RUN_ID/path")


def fetch(url: str, target: Path, run_artifacts: RunArtifacts, progress: Progress) -> None:
    match = _URI.fullmatch(url)
    assert match is not None  # `check` was called before
    run_id, path = match["run_id"], (match["path"] or "").strip("/")
    try:
        entries = run_artifacts.list_artifacts(run_id, path)
        if entries:
            _copy_directory(run_artifacts, run_id, entries, target, progress)
        elif path:
            _copy_file(run_artifacts, run_id, path, target, progress)
        else:
            hint = "see what it has with `projrun runs artifacts`"
            raise InputError(f"the run {run_id} has no artifacts", hint)
    except TrackingError as error:
        raise InputError(error.message, error.hint) from None


def _copy_directory(
    run_artifacts: RunArtifacts,
    run_id: str,
    entries: Sequence[ArtifactEntry],
    target: Path,
    progress: Progress,
) -> None:
    target.mkdir()
    for entry in entries:
        inside = target / entry.path.rpartition("/")[2]
        if entry.is_dir:
            children = run_artifacts.list_artifacts(run_id, entry.path)
            _copy_directory(run_artifacts, run_id, children, inside, progress)
        else:
            _copy_file(run_artifacts, run_id, entry.path, inside, progress)


def _copy_file(run_artifacts: RunArtifacts, run_id: str, path: str, target: Path, progress: Progress) -> None:
    with run_artifacts.open_artifact(run_id, path) as source, open(target, "xb") as file:
        progress.copy(source, file)
