"""From a plan and its run to a record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from projrun import inputs
from projrun.backends import Handle, backend_named
from projrun.environments.store import Provided, provide
from projrun.errors import ProjrunError, TrackingError
from projrun.home import Home
from projrun.inputs.storage import make
from projrun.interrupts import signal_of, uninterrupted
from projrun.output import warn
from projrun.plan import Plan
from projrun.record import ENVIRONMENT_LOG_ARTIFACT, OUTPUT_ARTIFACT, Input, Outcome, Platform, Record
from projrun.runner.planning import Planned
from projrun.server.variables import tracking_variables
from projrun.tracking import Store
from projrun.tracking.entities import Run
from projrun.tracking.hook import ended, failed, killed, now, remember
from projrun.tracking.tags import ENVIRONMENT_KEY
from projrun.version import __version__


def perform(store: Store, run: Run, planned: Planned, home: Home, account: Mapping[str, str]) -> Record:
    """Gather the inputs, provide the environment, execute, and remember, whatever happens on the way."""
    started = now()
    plan, checkout = planned.plan, planned.checkout
    read: tuple[Input, ...] = ()
    provided: Provided | None = None
    outcome = failed(RuntimeError("a bug in projrun ended it"), started)
    log = store.log_file(run.run_id, ENVIRONMENT_LOG_ARTIFACT)
    wanted = plan.environment
    try:
        read = _gather(store, planned, home)
        if account:
            from projrun.environments.images import log_in

            log_in(account)
        with provide(wanted.manager, wanted.descriptor, checkout.directory, home, log) as provided:
            outcome = ended(_execute(store, run, planned, provided, log), started)
    except KeyboardInterrupt as interrupt:
        outcome = killed(interrupt, started)
        raise
    except ProjrunError as error:
        outcome = failed(error, started)
        raise
    finally:
        record = _record(run, plan, read, provided, outcome)
        with uninterrupted():
            remember(store, record, provided.lock.pylock if provided else "")
    return record


def _gather(store: Store, planned: Planned, home: Home) -> tuple[Input, ...]:
    if planned.urls:
        make(planned.storage, home)
    return inputs.gather(planned.plan.inputs, planned.urls, store)


def _execute(store: Store, run: Run, planned: Planned, provided: Provided, building: Path) -> int:
    """Run the command, with the run's tracking endpoint in its environment; its exit code."""
    plan, launch = planned.plan, provided.launch
    reach = "", ""
    if launch.container is not None:
        from projrun.runner import containers

        if plan.container and plan.container.build_image:
            launch = containers.with_project(launch, plan, planned.checkout, building)
        reach = containers.reach(plan, launch.container)
    for notice in provided.lock.notices:
        warn(notice)
    backend = backend_named(plan.backend)
    log = store.log_file(run.run_id, OUTPUT_ARTIFACT)
    store.log_batch(run.run_id, tags={ENVIRONMENT_KEY: provided.environment.key})
    store.update_run(run.run_id, status="RUNNING")
    files = {name: store.log_file(run.run_id, path) for name, path in plan.artifact_files.items()}
    handle: Handle | None = None
    with tracking_variables(store, run, reach) as variables:
        named = {name: str(file) for name, file in files.items()}
        launch = msgspec.structs.replace(
            launch, variables={**planned.values, **launch.variables, **variables, **named}
        )
        try:
            with uninterrupted():
                handle = backend.submit(plan, launch, planned.checkout.directory, log)
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


def _record(
    run: Run, plan: Plan, read: tuple[Input, ...], provided: Provided | None, outcome: Outcome
) -> Record:
    system = os.uname()
    return Record(
        run_id=run.run_id,
        plan=plan,
        environment=provided.environment if provided else None,
        inputs=read,
        platform=Platform(system=system.sysname, machine=system.machine, projrun=__version__),
        outcome=outcome,
    )
