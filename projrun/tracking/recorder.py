"""Record what every run leaves in the store, whatever becomes of it."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from projrun.console import one_line, warn
from projrun.console.masking import mask_text
from projrun.errors import ProjrunError, SourceError, TrackingError
from projrun.net import without_credentials
from projrun.plan import Checkout, Plan
from projrun.processes import signal_number
from projrun.processes.usage import now_ms
from projrun.record import (
    ENVIRONMENT_LOG_ARTIFACT,
    OUTPUT_ARTIFACT,
    OUTPUT_INDEX_ARTIFACT,
    RECORD_ARTIFACT,
    Outcome,
    Record,
    to_json,
)
from projrun.request import Request
from projrun.tracking import Store
from projrun.tracking.entities import (
    COMMIT_TAG,
    DEFAULT_EXPERIMENT_ID,
    DIRECTORY_TAG,
    ENTRY_POINT_TAG,
    EXIT_CODE_TAG,
    PARENT_RUN_ID_TAG,
    PROJECT_TAG,
    REASON_TAG,
    SOURCE_NAME_TAG,
    SOURCE_TYPE_TAG,
    SUPERVISOR_TAG,
    TERMINATED,
    Run,
)
from projrun.tracking.limits import MAX_PARAM_VALUE, MAX_PARAMS, MAX_TAG_VALUE
from projrun.version import __version__

TIMED_OUT = 124  # the exit code of a command that took too long, as timeout(1) has it


class RunIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """The name of a run, its place in a store, and the tags that it has before its plan is known."""

    run_id: str = ""  # a run that exists already; empty: a new one is created
    name: str = ""
    experiment_id: str = ""
    # The experiment is created if it is missing. Without id and name, the environment says which
    experiment_name: str = ""
    user: str
    tags: dict[str, str]


def identify_request(request: Request) -> RunIdentity:
    identity = _new_identity(_source_name(request.uri), request.entry_point)
    return msgspec.structs.replace(
        identity,
        run_id=request.run_id,
        name=request.run_name,
        experiment_id=request.experiment_id,
        experiment_name=request.experiment_name,
    )


def identify_plan(plan: Plan, root: str) -> RunIdentity:
    """Return the identity of a new run of `plan`. root: top of the tree that a local source was used from."""
    source = plan.source
    uri = os.path.join(root, source.subdirectory) if source.kind == "local" else source.uri
    return _new_identity(_source_name(uri), plan.entry_point)


def identify_record(record: Record) -> RunIdentity:
    """Return the identity of a new run that repeats a recorded one."""
    return identify_plan(record.plan, record.root)


def _new_identity(source_name: str, entry_point: str) -> RunIdentity:
    tags = {
        "mlflow.user": user(),
        ENTRY_POINT_TAG: entry_point,
        SOURCE_NAME_TAG: source_name,
        SOURCE_TYPE_TAG: "PROJECT",
        "projrun.version": __version__,
    }
    if parent := os.environ.get("MLFLOW_RUN_ID"):
        tags[PARENT_RUN_ID_TAG] = parent
    return RunIdentity(user=tags["mlflow.user"], tags=tags)


class Recorder:
    """Opens a run when its plan is known, or settles it when none can be made.

    A mistyped parameter or entry point leaves no run. A fetch that fails is a run that FAILED, and so is
    anything that goes wrong for a run that exists already.
    """

    def __init__(self, store: Store, identity: RunIdentity, supervisor: str) -> None:
        """supervisor: the name of its `Supervision`."""
        self._store, self._identity = store, identity
        self._tags = {**identity.tags, SUPERVISOR_TAG: supervisor}
        self._experiment_id = find_experiment(store, identity)
        self._run: Run | None = None
        if identity.run_id:
            store.get_run(identity.run_id)
            store.log_batch(identity.run_id, tags=self._tags)

    def note_directory(self, checkout: Checkout) -> None:
        """Add the tag with the directory of the run's project."""
        self._tags[DIRECTORY_TAG] = str(checkout.directory)

    def open(self, plan: Plan | None = None) -> Run:
        """Return a new run, or the one that the identity names; SCHEDULED."""
        identity = self._identity
        tags = _masked({**self._tags, **(tags_of_plan(plan) if plan else {})})
        if identity.run_id:
            run = self._store.update_run(identity.run_id, status="SCHEDULED", run_name=identity.name or None)
            self._store.log_batch(run.run_id, tags=tags)
        else:
            run = self._store.create_run(
                self._experiment_id,
                run_name=identity.name,
                user_id=identity.user,
                tags=tags,
                status="SCHEDULED",
            )
        self._run = run
        if plan:
            self._log_params(run, plan)
        return run

    def _log_params(self, run: Run, plan: Plan) -> None:
        """Log the values, cut to MLflow's limits and in batches; the record has them in full."""
        params = [(key, value[:MAX_PARAM_VALUE]) for key, value in _masked(plan.parameters).items()]
        for first in range(0, len(params), MAX_PARAMS):
            self._store.log_batch(run.run_id, params=dict(params[first : first + MAX_PARAMS]))

    def fail(self, error: ProjrunError, started: int) -> Run:
        """Settle the run, which is created if need be: `error` kept its plan from being made or logged."""
        run = self._run or self.open()
        settle(self._store, run.run_id, failed(error, started))
        return run

    def give_up(self, error: ProjrunError, started: int) -> None:
        """Settle the run if there is one; a fetch that failed leaves a run in any case."""
        if self._run or self._identity.run_id or isinstance(error, SourceError):
            self.fail(error, started)


def tags_of_plan(plan: Plan) -> dict[str, str]:
    source = plan.source
    tags = {
        "mlflow.project.env": plan.environment.manager,
        "mlflow.project.backend": plan.backend,
        COMMIT_TAG: source.commit,
        "mlflow.source.git.repoURL": source.repository,
        "mlflow.source.git.branch": source.branch,
        "projrun.source.dirty": str(source.dirty).lower() if source.commit else "",
        "projrun.source.subdirectory": source.subdirectory,
        "projrun.source.version": source.version,
        PROJECT_TAG: plan.project,
        "projrun.command": plan.command[:MAX_TAG_VALUE],
    }
    return {name: value for name, value in tags.items() if value}


def tags_of_outcome(outcome: Outcome) -> dict[str, str]:
    tags = {REASON_TAG: outcome.reason[:MAX_TAG_VALUE]} if outcome.reason else {}
    if outcome.exit_code is not None:
        tags[EXIT_CODE_TAG] = str(outcome.exit_code)
    return tags


def find_experiment(store: Store, identity: RunIdentity) -> str:
    """Return the id of the identity's experiment, else of the environment's; a missing name is created."""
    identifier, name = identity.experiment_id, identity.experiment_name
    if not identifier and not name:
        identifier = os.environ.get("MLFLOW_EXPERIMENT_ID", "")
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "")
    if identifier:
        return store.get_experiment(identifier).experiment_id
    if not name:
        return DEFAULT_EXPERIMENT_ID
    if experiment := store.get_experiment_by_name(name):
        return experiment.experiment_id
    try:
        return store.create_experiment(name)
    except TrackingError:  # another process was faster
        if experiment := store.get_experiment_by_name(name):
            return experiment.experiment_id
        raise


def remember(store: Store, record: Record, lock_files: Mapping[str, str]) -> None:
    """Keep the record, the locks and the logs with the run, and settle it."""
    try:
        store.write_artifact(record.run_id, RECORD_ARTIFACT, to_json(record))
        for artifact, text in lock_files.items():
            if text:
                store.write_artifact(record.run_id, artifact, text.encode())
        for log in (ENVIRONMENT_LOG_ARTIFACT, OUTPUT_ARTIFACT, OUTPUT_INDEX_ARTIFACT):
            store.finish_file(record.run_id, log)
    except TrackingError as error:  # a full disk, a server that is away: how it ended is known all the same
        warn(f"the record of run {record.run_id} is not complete: {error}")
    settle(store, record.run_id, record.outcome)


def settle(store: Store, run_id: str, outcome: Outcome) -> None:
    store.log_batch(run_id, tags=_masked(tags_of_outcome(outcome)))
    store.update_run(run_id, status=outcome.status, end_time=outcome.end_time)


def end_with_parent(store: Store, run: Run) -> None:
    """End a run that a client made in a run whose processes are gone; a supervised one has its own end."""
    if run.status not in TERMINATED and SUPERVISOR_TAG not in run.tags:
        reason = "the run that it was part of has ended"
        settle(
            store,
            run.run_id,
            Outcome(
                status="FAILED", reason=reason, start_time=run.start_time, end_time=end_after(run.start_time)
            ),
        )


def ended(exit_code: int, started: int) -> Outcome:
    return Outcome(
        status="FAILED" if exit_code else "FINISHED",
        exit_code=exit_code,
        reason=f"the command exited with code {exit_code}" if exit_code else "",
        start_time=started,
        end_time=end_after(started),
    )


def timed_out(timeout_s: float, started: int) -> Outcome:
    return Outcome(
        status="KILLED",
        exit_code=TIMED_OUT,
        reason=f"stopped after its time-out of {timeout_s:g} s",
        start_time=started,
        end_time=end_after(started),
    )


def failed(error: Exception, started: int) -> Outcome:
    return Outcome(
        status="FAILED", reason=one_line(str(error)), start_time=started, end_time=end_after(started)
    )


def killed(interrupt: KeyboardInterrupt, started: int) -> Outcome:
    number = signal_number(interrupt)
    return Outcome(
        status="KILLED",
        exit_code=128 + number,
        reason=f"interrupted by signal {number}",
        start_time=started,
        end_time=end_after(started),
    )


def _masked(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: mask_text(text) for name, text in texts.items()}


def _source_name(uri: str) -> str:
    """The uri so that it means the same elsewhere: a directory by its absolute path, no credentials."""
    return os.path.abspath(uri) if os.path.isdir(uri) else without_credentials(uri)


def user() -> str:
    """The user's login name, or their number where they have none."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def end_after(started: int) -> int:
    """Now; a clock that was set back does not make a run end before it has started."""
    return max(now_ms(), started)
