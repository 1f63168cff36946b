"""Artifacts of a run, whatever the depth of their directories."""

from __future__ import annotations

from collections.abc import Iterator

from projrun.tracking import Store
from projrun.tracking.entities import ArtifactInfo


def walked(store: Store, run_id: str, directory: str = "") -> Iterator[ArtifactInfo]:
    """Every file, directory after directory."""
    for info in store.list_artifacts(run_id, directory):
        if info.is_dir:
            yield from walked(store, run_id, info.path)
        else:
            yield info
