"""Artifact URIs as clients see them: written, and resolved.

A run has `mlflow-artifacts:/<experiment id>/<run id>/artifacts`,
a logged model `mlflow-artifacts:/<experiment id>/models/<model id>/artifacts`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, BinaryIO

from projrun.errors import TrackingError
from projrun.server.run_view import RunView
from projrun.tracking import Store
from projrun.tracking.entities import ArtifactInfo, Experiment, Run
from projrun.tracking.limits import not_found, quote_short

if TYPE_CHECKING:
    from projrun.tracking.models import ArtifactFiles, LoggedModel, ModelStore

SCHEME = "mlflow-artifacts:"


def experiment_uri(store: Store, experiment: Experiment) -> str:
    location = experiment.artifact_location
    return f"{SCHEME}/{experiment.experiment_id}" if _is_ours(store, location) else location


def run_uri(store: Store, run: Run) -> str:
    """Return the URI of a run's artifacts; clients reach a location of the experiment's own by themselves."""
    if _is_ours(store, run.artifact_uri):
        return f"{SCHEME}/{run.experiment_id}/{run.run_id}/artifacts"
    return run.artifact_uri


def model_uri(store: Store, model: LoggedModel) -> str:
    if _is_ours(store, model.artifact_uri):
        return f"{SCHEME}/{model.experiment_id}/models/{model.model_id}/artifacts"
    return model.artifact_uri


class RunFiles:
    """The artifacts of one run."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store, self._run_id = store, run_id

    def list_entries(self, path: str) -> list[ArtifactInfo]:
        return self._store.list_artifacts(self._run_id, path)

    def open_file(self, path: str) -> AbstractContextManager[BinaryIO]:
        return self._store.open_artifact(self._run_id, path)

    def write(self, path: str, content: bytes | Iterable[bytes]) -> None:
        self._store.write_artifact(
            self._run_id, path, content if isinstance(content, bytes) else iter(content)
        )

    def delete(self, path: str) -> None:
        self._store.delete_artifact(self._run_id, path)


def resolve_artifact(store: Store, address: str) -> tuple[ArtifactFiles, str]:
    """Return the files that `address` (behind `…/mlflow-artifacts/artifacts/`) is in, and its path there."""
    experiment_id, _, rest = address.strip("/").partition("/")
    owner, _, rest = rest.partition("/")
    files: ArtifactFiles
    if owner == "models":
        owner, _, rest = rest.partition("/")
        models = require_models(store).logged
        stored_in = models.get(owner, allow_deleted=True).experiment_id
        files = models.artifacts(owner)
    else:
        stored_in = store.get_run(owner).experiment_id
        if isinstance(store, RunView) and store.has_answered(owner, experiment_id):
            stored_in = experiment_id  # the run has moved since the client was told its address
        files = RunFiles(store, owner)
    fixed, _, path = rest.partition("/")
    if fixed != "artifacts" or stored_in != experiment_id:
        raise not_found(f"there is no artifact {quote_short(address)}")
    return files, path


def require_models(store: Store) -> ModelStore:
    if store.models is None:
        raise TrackingError("this store keeps no models", error_code="NOT_IMPLEMENTED")
    return store.models


def strip_slash(path: str) -> str:
    """Return the path of a directory without a slash at its end."""
    return path.removesuffix("/")


def _is_ours(store: Store, uri: str) -> bool:
    return bool(store.artifact_root) and uri.startswith(f"{store.artifact_root}/")
