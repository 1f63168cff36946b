"""From a plan and its run to a record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from projrun import inputs
from projrun.backends import Handle, backend_named
from projrun.environments.store import Provided, provide
from projrun.errors import InputError, ProjrunError, TrackingError
from projrun.home import Home
from projrun.inputs.storage import make
from projrun.interrupts import signal_of, uninterrupted
from projrun.output import warn
from projrun.plan import Plan
from projrun.process import merged
from projrun.record import (
    ENVIRONMENT_LOG_ARTIFACT,
    OUTPUT_ARTIFACT,
    SOURCE_ARTIFACT,
    Input,
    Record,
    SourceClosure,
)
from projrun.runner.observing import Observer
from projrun.runner.planning import Planned
from projrun.server.variables import tracking_variables
from projrun.sources.closure import Captured, hand_over
from projrun.surroundings import surroundings
from projrun.tracking import Store
from projrun.tracking.entities import Run
from projrun.tracking.hook import ended, failed, killed, now, remember
from projrun.tracking.tags import ENVIRONMENT_KEY


class _Known:
    """What is known of a run so far: its record can be written whenever it ends."""

    def __init__(self, run: Run, planned: Planned) -> None:
        self.run, self.planned = run, planned
        self.closure: SourceClosure | None = None
        self.inputs: tuple[Input, ...] = ()
        self.provided: Provided | None = None
        self.observer: Observer | None = None
        self.outcome = failed(RuntimeError("a bug in projrun ended it"), now())

    def record(self) -> Record:
        plan, provided, observer = self.planned.plan, self.provided, self.observer
        environ = merged(os.environ, plan.variables, provided.launch.variables if provided else {})
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
            platform=surroundings(environ),
            outcome=self.outcome,
        )


def perform(store: Store, run: Run, planned: Planned, captured: Captured, home: Home) -> Record:
    """Gather the inputs, provide the environment, execute, and remember, whatever happens on the way."""
    known = _Known(run, planned)
    started = known.outcome.start_time
    plan, checkout = planned.plan, planned.checkout
    log = store.log_file(run.run_id, ENVIRONMENT_LOG_ARTIFACT)
    wanted = plan.environment
    try:
        known.closure = _keep_source(store, run, captured)
        known.inputs = _gather(store, planned, home)
        with provide(
            wanted.manager,
            planned.descriptor,
            checkout.directory,
            home,
            log,
            wanted.resolving,
            planned.lock,
        ) as provided:
            known.provided = provided
            known.observer = Observer(store, run.run_id, checkout, home)
            known.outcome = ended(_execute(store, run, plan, provided, checkout.directory), started)
    except KeyboardInterrupt as interrupt:
        known.outcome = killed(interrupt, started)
        raise
    except ProjrunError as error:
        known.outcome = failed(error, started)
        raise
    finally:
        record = known.record()
        with uninterrupted():
            remember(store, record, known.provided.lock.pylock if known.provided else "")
    return record


def _keep_source(store: Store, run: Run, captured: Captured) -> SourceClosure | None:
    """Before the command runs: it may change the tree, and the run may fail."""
    if captured.closure is None or captured.file is None:
        return captured.closure
    try:
        hand_over(captured, store.log_file(run.run_id, SOURCE_ARTIFACT))
        store.finish_file(run.run_id, SOURCE_ARTIFACT)
    except (TrackingError, OSError) as error:
        warn(f"the source was not kept with the run: {error}")
        return None
    return captured.closure


def _gather(store: Store, planned: Planned, home: Home) -> tuple[Input, ...]:
    if planned.urls:
        make(planned.storage, home)
    read = inputs.gather(planned.plan.inputs, planned.urls, store)
    for one in read:
        before = planned.expected.get(one.parameter)
        if before and one.sha256 != before.sha256:
            raise InputError(
                f"parameter '{one.parameter}': {one.value} is not what the first run read",
                f"put back what has sha256 {before.sha256}",
            )
    return read


def _execute(store: Store, run: Run, plan: Plan, provided: Provided, directory: Path) -> int:
    """Run the command, with the run's tracking endpoint in its environment; its exit code."""
    for notice in provided.lock.notices:
        warn(notice)
    backend = backend_named(plan.backend)
    log = store.log_file(run.run_id, OUTPUT_ARTIFACT)
    store.log_batch(run.run_id, tags={ENVIRONMENT_KEY: provided.environment.key})
    store.update_run(run.run_id, status="RUNNING")
    files = {name: store.log_file(run.run_id, path) for name, path in plan.artifact_files.items()}
    handle: Handle | None = None
    with tracking_variables(store, run) as variables:
        named = {name: str(file) for name, file in files.items()}
        launch = msgspec.structs.replace(
            provided.launch, variables={**provided.launch.variables, **variables, **named}
        )
        try:
            with uninterrupted():
                handle = backend.submit(plan, launch, directory, log)
            result = backend.wait(handle)
            assert result is not None  # there was no time-out
            return result.exit_code
        except KeyboardInterrupt as interrupt:
            if handle is not None:
                backend.cancel(handle, signal_of(interrupt))
            raise
        finally:
            with uninterrupted():
                _keep(store, run, plan, files)


def _keep(store: Store, run: Run, plan: Plan, files: Mapping[str, Path]) -> None:
    """The artifacts that the command wrote itself are complete, as far as they came."""
    for name, path in plan.artifact_files.items():
        if files[name].exists():
            try:
                store.finish_file(run.run_id, path)
            except TrackingError as error:
                warn(f"the artifact {path} was not kept: {error}")
