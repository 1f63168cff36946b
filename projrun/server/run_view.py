"""The store as the mlflow clients of one run see it, so that `set_experiment` and nested runs work there.

Under `mlflow run`, a script that calls `set_experiment("x")` and then `start_run()` fails, because its run is
in another experiment ("active experiment ID does not match environment run ID"). The user means this run, in
x. The client sends only a look-up of x and then one of the run. So the run moves to the experiment that was
looked up last, unless the user named an experiment for projrun, or the look-up had another purpose: a search
in x, or a new run. The client is answered with x in any case, or it would refuse to log.

Runs that clients create for projects become children of the run. Runs that clients leave open end with it.
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
    """A store that can move a run to another experiment. Old paths of its files stay valid."""

    def move_run(self, run_id: str, experiment_id: str) -> Path | None:
        """Return the link at the old place of the artifacts, to be removed when nobody uses old paths."""
        ...


class RunView:
    """A Store. run_id: the run that its clients are in; pinned: the run stays in its experiment."""

    def __init__(self, store: Store, run_id: str, *, pinned: bool = False) -> None:
        self._store, self._run_id = store, run_id
        self._may_move = not pinned and isinstance(store, MovesRuns)
        self._looked_up = ""
        self._has_other_use = False
        self._link: Path | None = None
        self._created: list[str] = []
        self._answered: set[str] = set()
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def impatient(self) -> None:
        """Return None: a second store would not know what this one has answered."""

    def release(self) -> None:
        """End the runs that clients left open: the processes of the run have ended."""
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        with suppress(TrackingError):  # the next command settles what is left
            for run_id in self._created:
                end_with_parent(self._store, self._store.get_run(run_id))

    def get_experiment(self, experiment_id: str) -> Experiment:
        return self._note(self._store.get_experiment(experiment_id))

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        experiment = self._store.get_experiment_by_name(name)
        return self._note(experiment) if experiment else None

    def search_runs(self, experiment_ids: Sequence[str], *args: Any, **kwargs: Any) -> tuple[list[Run], str]:
        self._note_other_use(*experiment_ids)
        return self._store.search_runs(experiment_ids, *args, **kwargs)

    def create_run(self, experiment_id: str, *, tags: Mapping[str, str] | None = None, **more: Any) -> Run:
        """Create a run. One for a project becomes a child of this run, unless the client names a parent."""
        self._note_other_use(experiment_id)
        if tags and tags.get(SOURCE_TYPE_TAG) == "PROJECT":
            tags = {PARENT_RUN_ID_TAG: self._run_id, **tags}
        run = self._store.create_run(experiment_id, tags=tags, **more)
        self._created.append(run.run_id)
        return run

    def update_run(self, run_id: str, *, status: RunStatus | None = None, **changes: Any) -> Run:
        if run_id == self._run_id and status == "RUNNING":
            self._may_move = False  # a client has started it, and knows its experiment
        return self._store.update_run(run_id, status=status, **changes)

    def has_answered(self, run_id: str, experiment_id: str) -> bool:
        """Return True if a client was given an artifact address of the run in this experiment."""
        return run_id == self._run_id and experiment_id in self._answered

    def get_run(self, run_id: str) -> Run:
        run = self._move_or_replace(run_id)
        if run_id == self._run_id:
            self._answered.add(run.experiment_id)
        return run

    def _move_or_replace(self, run_id: str) -> Run:
        run = self._store.get_run(run_id)
        with self._lock:
            if run_id != self._run_id or self._looked_up in ("", run.experiment_id):
                return run
            if self._may_move and not self._has_other_use and isinstance(self._store, MovesRuns):
                self._may_move = False
                self._link = self._store.move_run(run_id, self._looked_up)
                return self._store.get_run(run_id)
        return msgspec.structs.replace(run, experiment_id=self._looked_up)

    def _note(self, experiment: Experiment) -> Experiment:
        with self._lock:
            self._looked_up, self._has_other_use = experiment.experiment_id, False
        return experiment

    def _note_other_use(self, *experiment_ids: str) -> None:
        with self._lock:
            if self._looked_up in experiment_ids:
                self._has_other_use = True
