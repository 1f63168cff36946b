"""Runs that another process supervises: starting one, waiting for one, stopping one."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import msgspec

from projrun import sources
from projrun.backends import reclaim_stored
from projrun.console import print_error
from projrun.console.masking import hide_values
from projrun.disk import Home
from projrun.errors import ProjrunError, UnavailableError
from projrun.net import offline
from projrun.processes import defer_signals
from projrun.processes.programs import DetachedProcess, start_detached
from projrun.processes.usage import now_ms
from projrun.record import Record
from projrun.request import Request
from projrun.runner.planner import Planned
from projrun.runner.run import check, fetch_and_plan, give_back, perform
from projrun.server.endpoint import without_endpoint
from projrun.tracking import Store
from projrun.tracking.entities import SUPERVISOR_TAG, TERMINATED, Run
from projrun.tracking.recorder import Recorder, identify_request
from projrun.tracking.supervision import (
    LIBRARY,
    Supervision,
    settle_lost_runs,
    settled_store,
    supervising,
    supervisor_pid,
)

LONGEST_PAUSE_S = 0.5


class _HandOver(msgspec.Struct, frozen=True, kw_only=True):
    """All that a supervisor is told. It holds secrets, so it goes through a pipe and nothing writes it."""

    run_id: str
    planned: Planned
    checkout_fd: int | None  # lock of a temporary checkout; None: the tree is used in place


def start(request: Request, home: Home, *, silent: bool) -> tuple[str, DetachedProcess | None]:
    """Fetch and plan a run and start a supervisor for it, which survives us: its id, and that process.

    No process: the project could not be fetched or planned, and the run is FAILED. The run is never without a
    supervisor: the lock that stands for one is ours until it is the other's. silent: no output of the run.
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
            supervision.announce(store, 0)
            run = recorder.open(planned.plan)
        except ProjrunError as error:
            print_error(str(error))
            return recorder.fail(error, started).run_id, None
        # An interrupt between the two would leave the run with two owners, or with none.
        with defer_signals():
            supervisor = _hand_over(run, planned, supervision, silent)
            stack.pop_all()
        return run.run_id, supervisor


def _hand_over(run: Run, planned: Planned, supervision: Supervision, silent: bool) -> DetachedProcess:
    """Start the supervisor. It inherits the locks of the supervision and of a temporary checkout."""
    checkout_lock = sources.lock_of(planned.checkout)
    checkout_fd = checkout_lock.fd if checkout_lock else None
    # Only capturing reads the state of the working tree, whose names need not be UTF-8, as JSON has to be.
    checkout = msgspec.structs.replace(planned.checkout, worktree=None)
    planned = msgspec.structs.replace(planned, checkout=checkout)
    order = _HandOver(run_id=run.run_id, planned=planned, checkout_fd=checkout_fd)
    message = msgspec.json.encode(order, enc_hook=_encode_path)
    read_end, write_end = os.pipe()
    fds = [fd for fd in (supervision.lock.fd, read_end, checkout_fd) if fd is not None]
    options = [f"--supervision={supervision.name}:{supervision.lock.fd}", f"--plan-fd={read_end}"]
    try:
        supervisor = start_detached(
            # The uri is for those who look at the list of processes.
            [sys.executable, "-m", "projrun", "run", *options, "--", planned.plan.source.uri],
            environ=without_endpoint(os.environ),
            silent=silent,
            pass_fds=fds,
        )
    except BaseException:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    with suppress(BrokenPipeError), open(write_end, "wb") as pipe:
        pipe.write(message)
    supervision.lock.release()
    sources.hand_over(planned.checkout)
    return supervisor


def perform_handed_over(supervision: str, fd: int, home: Home) -> Record:
    """Be the supervisor that `start` has started, and perform the run. Returns and raises as `perform` does.

    supervision: `NAME:FD`, as `supervising` takes it. fd: what `start` writes the plan to.
    """
    with (
        closing(settled_store(home, reclaim_stored)) as store,
        supervising(home, store, supervision),
        ExitStack() as stack,
    ):
        with open(fd, "rb") as pipe:
            message = pipe.read()
        try:
            order = msgspec.json.decode(message, type=_HandOver, dec_hook=_decode_path)
        except msgspec.DecodeError:
            raise ProjrunError(
                "the process that started the run ended before the run's plan was handed over", "run it again"
            ) from None
        planned = order.planned
        hide_values(planned.secrets(), in_output=planned.mask_output)
        if order.checkout_fd is not None:
            sources.take_over(planned.checkout, order.checkout_fd)
            give_back(planned.checkout, planned.keep, home, stack)
        return perform(store, store.get_run(order.run_id), planned, home)


def _encode_path(value: object) -> str:
    """Encode a path byte by byte, because a path need not be UTF-8."""
    if isinstance(value, Path):
        return os.fsencode(value).decode("latin-1")
    raise NotImplementedError(f"{type(value).__name__} cannot be handed over")


def _decode_path(kind: type, value: str) -> Path:
    if issubclass(kind, Path):
        return Path(os.fsdecode(value.encode("latin-1")))
    raise NotImplementedError(f"{kind.__name__} cannot be handed over")


def wait(store: Store, home: Home, run_id: str) -> Run:
    """The run when it has ended. A run whose supervisor is lost has."""
    pause_s = 0.02
    while (run := store.get_run(run_id)).status not in TERMINATED:
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        settle_lost_runs(home, store, reclaim_stored)
    return run


def stop_run(run_id: str, home: Home) -> None:
    with closing(settled_store(home, reclaim_stored)) as store:
        stop(store, home, store.get_run(run_id))


def stop(store: Store, home: Home, run: Run) -> Run:
    """End the run, in good order, and return it; one that has ended stays as it is.

    Raises UnavailableError when who supervises it is not to be reached.
    """
    if run.status in TERMINATED:
        return run
    pid = _pid(home, run.tags.get(SUPERVISOR_TAG, ""))
    if pid is None:
        settle_lost_runs(home, store, reclaim_stored)
        if (run := store.get_run(run.run_id)).status in TERMINATED:
            return run
        raise UnavailableError(
            f"run {run.run_id} is not supervised on this machine", "stop it on the machine that started it"
        )
    if pid == LIBRARY:
        raise UnavailableError(
            f"run {run.run_id} is supervised by a Python program that called projrun.run",
            "interrupt it there, or have it call projrun.run(synchronous=False) and cancel()",
        )
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    try:
        return wait(store, home, run.run_id)
    except KeyboardInterrupt:  # a second ^C does not wait for the command to end in good order
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        raise


def _pid(home: Home, supervisor: str) -> int | None:
    """`supervisor_pid`, when there is one."""
    if not supervisor:
        return None
    for _ in range(1000):
        if (pid := supervisor_pid(home, supervisor)) != 0:
            return pid
        time.sleep(0.01)
    raise ProjrunError("the supervisor of the run does not come up", "look for a hanging projrun process")
