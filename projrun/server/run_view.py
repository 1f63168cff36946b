"""The store as the clients inside one run see it: what `mlflow.set_experiment` and nested runs need there.

A script that calls `set_experiment("x")` and then `start_run()` fails under `mlflow run`: its run is in
another experiment ("active experiment ID does not match environment run ID"). The user means this run, in x.
The client tells us no more than that it looks up x, and then the run; so the run moves to the experiment
that was looked up last, unless the user gave projrun one, or the look-up served something else: a search in
it, or a new run. The client is told that experiment in any case, because it refuses to log otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

from projrun.errors import TrackingError
from projrun.tracking import Store
from projrun.tracking.entities import PARENT_RUN_ID_TAG, SOURCE_TYPE_TAG, Experiment, Run, RunStatus
from projrun.tracking.recorder import end_with_parent


@runtime_checkable
class MovesRuns(Protocol):
    """A store that can give a run to another experiment. What has the old path of a file still finds it."""

    def move_run(self, run_id: str, experiment_id: str) -> Path | None:
        """The link that stands where the run's artifacts were, to be removed when nobody has old paths."""
        ...


class RunView:
    """A Store. run_id: of the run that its clients are in; pinned: it stays in its experiment."""

    impatient = None
    """A store that answers beside this one would not know what this one has told."""

    def __init__(self, store: Store, run_id: str, *, pinned: bool = False) -> None:
        self._store, self._run_id = store, run_id
        self._may_move = not pinned and isinstance(store, MovesRuns)
        self._looked_up = ""
        self._served_something_else = False
        self._link: Path | None = None
        self._made: list[str] = []
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def release(self) -> None:
        """The run's processes have ended: so have the runs that their clients made."""
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        with suppress(TrackingError):  # the next command settles the children
            for run_id in self._made:
                end_with_parent(self._store, self._store.get_run(run_id))

    def get_experiment(self, experiment_id: str) -> Experiment:
        return self._note(self._store.get_experiment(experiment_id))

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        found = self._store.get_experiment_by_name(name)
        return self._note(found) if found else None

    def search_runs(self, experiment_ids: Sequence[str], *args: Any, **kwargs: Any) -> tuple[list[Run], str]:
        self._serves_something_else(*experiment_ids)
        return self._store.search_runs(experiment_ids, *args, **kwargs)

    def create_run(self, experiment_id: str, *, tags: Mapping[str, str] | None = None, **more: Any) -> Run:
        """A project that one of ours runs is a child of this run, whether the client says so or not."""
        self._serves_something_else(experiment_id)
        if tags and tags.get(SOURCE_TYPE_TAG) == "PROJECT":
            tags = {PARENT_RUN_ID_TAG: self._run_id, **tags}
        run = self._store.create_run(experiment_id, tags=tags, **more)
        self._made.append(run.run_id)
        return run

    def update_run(self, run_id: str, *, status: RunStatus | None = None, **changes: Any) -> Run:
        if run_id == self._run_id and status == "RUNNING":
            self._may_move = False  # a client has started it: from now on it is where it is
        return self._store.update_run(run_id, status=status, **changes)

    def has_told(self, run_id: str, experiment_id: str) -> bool:
        """Whether a client may hold an address of our run that names this experiment."""
        return run_id == self._run_id and experiment_id in self._told

    def get_run(self, run_id: str) -> Run:
        run = self._placed(run_id)
        if run_id == self._run_id:
            self._told.add(run.experiment_id)
        return run

    def _placed(self, run_id: str) -> Run:
        run = self._store.get_run(run_id)
        with self._lock:
            if run_id != self._run_id or self._looked_up in ("", run.experiment_id):
                return run
            if self._may_move and not self._served_something_else and isinstance(self._store, MovesRuns):
                self._may_move = False
                self._link = self._store.move_run(run_id, self._looked_up)
                return self._store.get_run(run_id)
        return msgspec.structs.replace(run, experiment_id=self._looked_up)

    def _note(self, experiment: Experiment) -> Experiment:
        with self._lock:
            self._looked_up, self._served_something_else = experiment.experiment_id, False
        return experiment

    def _serves_something_else(self, *experiment_ids: str) -> None:
        with self._lock:
            if self._looked_up in experiment_ids:
                self._served_something_else = True
