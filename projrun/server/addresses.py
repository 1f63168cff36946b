"""Artifact URIs as clients see them: `mlflow-artifacts:/<experiment id>/<run id>/artifacts`, and back."""

from __future__ import annotations

from projrun.errors import TrackingError
from projrun.tracking import Store
from projrun.tracking.entities import Experiment, Run
from projrun.tracking.limits import shown

SCHEME = "mlflow-artifacts:"


def of_experiment(store: Store, experiment: Experiment) -> str:
    location = experiment.artifact_location
    return f"{SCHEME}/{experiment.experiment_id}" if _is_ours(store, location) else location


def of_run(store: Store, run: Run) -> str:
    """Another place, if the experiment asked for one; its clients go there by themselves."""
    if _is_ours(store, run.artifact_uri):
        return f"{SCHEME}/{run.experiment_id}/{run.run_id}/artifacts"
    return run.artifact_uri


def resolved(store: Store, address: str) -> tuple[str, str]:
    """Run id and path of what follows `…/mlflow-artifacts/artifacts/`; path '' for the run's directory."""
    experiment_id, _, rest = address.strip("/").partition("/")
    run_id, _, rest = rest.partition("/")
    fixed, _, path = rest.partition("/")
    if fixed != "artifacts" or store.get_run(run_id).experiment_id != experiment_id:
        raise missing(f"there is no artifact {shown(address)}")
    return run_id, path


def plain(path: str) -> str:
    """A directory to list: a slash at its end says nothing."""
    return path.removesuffix("/")


def missing(message: str) -> TrackingError:
    return TrackingError(message, error_code="RESOURCE_DOES_NOT_EXIST")


def _is_ours(store: Store, uri: str) -> bool:
    return bool(store.artifact_root) and uri.startswith(f"{store.artifact_root}/")
