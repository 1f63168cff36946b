"""From a request to a record: the only room that knows all stations.

A run is three calls, which others use too: `fetch` once, `make_plan` for each set of values, then `perform`
for each plan.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from projrun import inputs, sources
from projrun.backends import (
    Backend,
    Handle,
    Job,
    Limits,
    Prepared,
    backend_named,
    handle_to_text,
    reclaim_stored,
)
from projrun.console import warn
from projrun.console.masking import hide_values, output_secrets
from projrun.disk import Home
from projrun.environments import images_of, manager_named
from projrun.environments.environment_store import Provided, provide
from projrun.errors import BuildError, InputError, ProjrunError, TrackingError, UsageError
from projrun.inputs import discard_storage, make_storage
from projrun.net import offline
from projrun.plan import Checkout, Plan
from projrun.processes import defer_signals, merge_environ, signal_number
from projrun.processes.usage import Usage, now_ms
from projrun.record import (
    ENVIRONMENT_LOG_ARTIFACT,
    OUTPUT_ARTIFACT,
    SOURCE_ARTIFACT,
    Input,
    Outcome,
    Platform,
    Record,
    SourceClosure,
)
from projrun.request import Request
from projrun.runner.planner import Planned, make_plan
from projrun.server.endpoint import tracking_variables
from projrun.sources.closure import Captured, link_artifact
from projrun.tracking import Store
from projrun.tracking.entities import ENVIRONMENT_KEY_TAG, HANDLE_TAG, Run, RunStatus
from projrun.tracking.recorder import Recorder, ended, failed, identify_request, killed, remember, timed_out
from projrun.tracking.supervision import settled_store, supervising

if TYPE_CHECKING:
    from projrun.runner.observer import Observer


FIRST_S = 5.0
LATEST_S = 300.0
# MLflow's API replaces files whole. Uploading again when so much has come keeps the sum at 3 logs
GROWTH = 1.5


@contextmanager
def uploading(store: Store, run_id: str, log: Path) -> Iterator[None]:
    """While the block runs, upload the log so far as the run's artifact. A local log is one already."""
    if not store.uri.startswith("http"):
        yield
        return
    is_over = threading.Event()
    thread = threading.Thread(target=_keep_uploading, args=(store, run_id, log, is_over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _keep_uploading(store: Store, run_id: str, log: Path, is_over: threading.Event) -> None:
    uploaded = waited_s = 0.0
    while not is_over.wait(FIRST_S):
        waited_s += FIRST_S
        size = log.stat().st_size if log.exists() else 0
        if size > uploaded * GROWTH or (waited_s >= LATEST_S and size > uploaded):
            with suppress(TrackingError):  # the end of the run uploads it all
                store.finish_file(run_id, OUTPUT_ARTIFACT)
            uploaded, waited_s = size, 0.0


class _Known:
    """The facts of a run so far, from which its record can be written whenever it ends."""

    def __init__(self, run: Run, planned: Planned) -> None:
        self.run, self.planned = run, planned
        self.closure: SourceClosure | None = None
        self.inputs: tuple[Input, ...] = ()
        self.provided: Provided | None = None
        self.observer: Observer | None = None
        self.usage: Usage | None = None
        self._surroundings: Platform | None = None
        self.outcome = failed(RuntimeError("a bug in projrun ended it"), now_ms())

    def observe(self, store: Store, home: Home) -> None:
        """Take down what is there before the command starts."""
        from projrun.runner.observer import Observer  # late: a container is made meanwhile

        self.observer = Observer(store, self.run.run_id, self.planned.checkout, home)
        self.surroundings()

    def surroundings(self) -> Platform:
        if self._surroundings is None:
            from projrun.runner.observer import surroundings

            launched = self.provided.launch.variables if self.provided else {}
            self._surroundings = surroundings(merge_environ(os.environ, self.planned.variables, launched))
        return self._surroundings

    def record(self) -> Record:
        plan, provided, observer = self.planned.plan, self.provided, self.observer
        return Record(
            run_id=self.run.run_id,
            plan=plan,
            root=str(self.planned.checkout.root),
            caller=str(self.planned.caller),
            closure=self.closure,
            environment=provided.environment if provided else None,
            inputs=self.inputs,
            outputs=observer.outputs(self.outcome.status != "KILLED", plan.verify) if observer else None,
            metrics=observer.metrics() if observer else {},
            platform=self.surroundings(),
            outcome=self.outcome,
        )


def perform(store: Store, run: Run, planned: Planned, home: Home) -> Record:
    """Gather the inputs, provide the environment, execute, and remember, whatever happens on the way.

    Returns the record of a process that ran to its end, whatever its exit code. Raises ProjrunError when
    it could not be run, and KeyboardInterrupt when it was interrupted; the run is settled in any case.
    """
    with offline(planned.offline):
        try:
            return _perform(store, run, planned, home)
        finally:
            discard_storage(planned.storage)


def _perform(store: Store, run: Run, planned: Planned, home: Home) -> Record:
    known = _Known(run, planned)
    started = known.outcome.start_time
    plan, checkout = planned.plan, planned.checkout
    log = store.log_file(run.run_id, ENVIRONMENT_LOG_ARTIFACT)
    environment = plan.environment
    backend_named(plan.backend).warm_up(plan)
    try:
        known.closure = _keep_source(store, run, planned.captured)
        known.inputs = _gather(store, planned, home)
        if planned.account:
            images_of(environment.manager).log_in(planned.account)
        with provide(
            environment.manager,
            planned.descriptor,
            checkout.directory,
            home,
            log,
            environment.resolving,
            planned.lock,
        ) as provided:
            known.provided = provided
            known.outcome = _execute(store, known, provided, home, log)
    except KeyboardInterrupt as interrupt:
        known.outcome = killed(interrupt, started)
        raise
    except (ProjrunError, OSError) as error:
        known.outcome = failed(error, started)
        if isinstance(error, BuildError) and log.exists():
            hint = f"all that was said: projrun runs logs {run.run_id[:8]}"
            error.hint = f"{error.hint}; {hint}" if error.hint else hint
        raise
    finally:
        known.outcome = msgspec.structs.replace(known.outcome, usage=known.usage)
        record = known.record()
        with defer_signals():
            lock = known.provided.lock if known.provided else None
            remember(store, record, lock.files if lock else {})
    return record


def _keep_source(store: Store, run: Run, captured: Captured) -> SourceClosure | None:
    # Before the command runs: it may change the tree, and the run may fail.
    if captured.closure is None or captured.file is None:
        return captured.closure
    try:
        link_artifact(captured, store.log_file(run.run_id, SOURCE_ARTIFACT))
        store.finish_file(run.run_id, SOURCE_ARTIFACT)
    except (TrackingError, OSError) as error:
        warn(f"the source was not kept with the run: {error}")
        return None
    return captured.closure


def _gather(store: Store, planned: Planned, home: Home) -> tuple[Input, ...]:
    if planned.urls:
        make_storage(planned.storage, home)
    measured = inputs.gather(planned.plan.inputs, planned.urls, store)
    for value in measured:
        before = planned.expected.get(value.parameter)
        if before and value.sha256 != before.sha256:
            raise InputError(
                f"parameter '{value.parameter}': {value.value} is not what the first run read",
                f"put back what has sha256 {before.sha256}",
            )
    return measured


def _execute(store: Store, known: _Known, provided: Provided, home: Home, build_log: Path) -> Outcome:
    """Run the command, with the run's tracking endpoint in its environment."""
    run, planned = known.run, known.planned
    plan, launch = planned.plan, provided.launch
    if plan.container and plan.container.build_image:
        # No backend can do this: an image is built by the station of environments.
        from projrun.runner.container_options import with_project

        launch = with_project(launch, plan, planned.checkout, build_log)
    for notice in provided.lock.notices:
        warn(notice)
    backend = backend_named(plan.backend)
    files = {name: store.log_file(run.run_id, path) for name, path in plan.artifact_files.items()}
    address = backend.endpoint_address(plan, launch)
    with tracking_variables(store, run, address, pinned=planned.pinned) as variables:
        named = {name: str(file) for name, file in files.items()}
        launch = msgspec.structs.replace(
            launch,
            argv_prefix=(*planned.prefix, *launch.argv_prefix),
            variables={**launch.variables, **planned.variables, **variables, **named},
        )
        job = Job(
            run_id=run.run_id,
            plan=plan,
            launch=launch,
            checkout=planned.checkout,
            log=store.log_file(run.run_id, OUTPUT_ARTIFACT),
            masks=output_secrets(),
            limits=Limits(timeout_s=planned.timeout_s, grace_s=planned.stop_timeout_s),
        )
        try:
            return _run_job(store, known, backend, job, home)
        finally:
            with defer_signals():
                _keep(store, run, plan, files)


def _run_job(store: Store, known: _Known, backend: Backend, job: Job, home: Home) -> Outcome:
    prepared: Prepared | None = None
    handle: Handle | None = None
    started, timeout_s = known.outcome.start_time, job.limits.timeout_s
    try:
        with defer_signals():
            assert known.provided is not None
            prepared = backend.prepare(job)
            # What follows is done while the backend makes what the command starts in, such as a container.
            tags = {
                ENVIRONMENT_KEY_TAG: known.provided.environment.key,
                HANDLE_TAG: handle_to_text(prepared.handle),
            }
            store.log_batch(job.run_id, tags=tags)
            known.observe(store, home)
            if not backend.QUEUES:
                store.update_run(job.run_id, status="RUNNING")
            handle = backend.start(prepared)
        with uploading(store, job.run_id, job.log):
            if backend.QUEUES:
                backend.wait(handle, "running")
                store.update_run(job.run_id, status="RUNNING")
            end = backend.wait(handle, "ended", timeout_s)
        if end.phase == "ended":
            outcome = ended(end.exit_code or 0, started)
        else:
            end = backend.cancel(handle, signal.SIGTERM)
            outcome = timed_out(timeout_s or 0.0, started)
        known.usage = end.usage
        return outcome
    except KeyboardInterrupt as interrupt:
        if handle is not None:
            known.usage = backend.cancel(handle, signal_number(interrupt)).usage
        raise
    finally:
        if prepared is not None:
            with defer_signals():
                backend.reclaim(prepared.handle)


def _keep(store: Store, run: Run, plan: Plan, files: Mapping[str, Path]) -> None:
    """Complete the artifacts that the command wrote itself, as far as they came."""
    for name, path in plan.artifact_files.items():
        if files[name].exists():
            try:
                store.finish_file(run.run_id, path)
            except TrackingError as error:
                warn(f"the artifact {path} was not kept: {error}")


def run(request: Request, home: Home) -> Record:
    """Do what the request says and wait for its end.

    Returns and raises as `perform` does; a fetch that failed has left a FAILED run.
    """
    check(request)
    started = now_ms()
    with (
        offline(request.offline),
        closing(settled_store(home, reclaim_stored)) as store,
        supervising(home, store) as supervision,
        ExitStack() as stack,
    ):
        recorder = Recorder(store, identify_request(request), supervision.name)
        try:
            planned = fetch_and_plan(request, recorder, home, stack)
            run = recorder.open(planned.plan)
        except ProjrunError as error:
            recorder.give_up(error, started)
            raise
        return perform(store, run, planned, home)


def fetch_and_plan(request: Request, recorder: Recorder, home: Home, stack: ExitStack) -> Planned:
    """Return the plan of one request. What it fetched goes with the stack."""
    checkout, captured = fetch(request, home, stack)
    recorder.note_directory(checkout)
    return make_plan(request, checkout, captured, home)


def fetch(request: Request, home: Home, stack: ExitStack) -> tuple[Checkout, Captured]:
    """Return the tree that is to be run, and what is kept of it. A temporary tree goes with the stack."""
    checkout = sources.fetch(
        request.uri, request.version, home, sha256=request.sha256, offline=request.offline
    )
    give_back(checkout, request.keep, home, stack)
    if request.require_clean:
        sources.require_clean(checkout)
    captured = sources.capture(checkout, home)
    for notice in (*checkout.notices, *captured.notices):
        warn(notice)
    if request.isolated:
        checkout = sources.isolate(checkout, captured, home)
        give_back(checkout, request.keep, home, stack)
    return checkout, captured


def give_back(checkout: Checkout, keep: bool, home: Home, stack: ExitStack) -> None:
    """Have a temporary checkout removed when the stack ends. keep: it stays, until the cache is pruned."""
    stack.callback(sources.keep if keep else sources.release, checkout, home)


def status_of(run_id: str, home: Home) -> RunStatus:
    with closing(settled_store(home, reclaim_stored)) as store:
        return store.get_run(run_id).status


def check(request: Request) -> None:
    """Hide the request's secrets, and refuse what cannot work whatever the project says."""
    hide_values(request.variables.values(), in_output=request.mask_output)
    if request.experiment_name and request.experiment_id:
        raise UsageError("--experiment-name and --experiment-id exclude each other", "give one of them")
    backend_named(request.backend).check(request.backend_config)
    if request.env_manager:
        manager_named(request.env_manager)
