"""Runs that another process supervises: starting one, waiting for one, stopping one."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import closing, suppress

import msgspec

from projrun.console.masking import hide_values
from projrun.disk import Home
from projrun.errors import ProjrunError, UnavailableError
from projrun.processes import defer_signals
from projrun.processes.programs import DetachedProcess, start_detached
from projrun.request import Request
from projrun.runner.run import check
from projrun.server.endpoint import without_endpoint
from projrun.tracking import Store
from projrun.tracking.entities import SUPERVISOR_TAG, TERMINATED, Run
from projrun.tracking.recorder import RunHook
from projrun.tracking.supervision import (
    LIBRARY,
    Supervision,
    enlist,
    settle_lost_runs,
    settled_store,
    supervisor_pid,
)

LONGEST_PAUSE_S = 0.5


def start(request: Request, home: Home, *, silent: bool) -> tuple[str, DetachedProcess]:
    """A new run with a supervisor of its own, which survives us: its id, and that process.

    The run is never without a supervisor: the lock that stands for one is ours until it is the other's.
    """
    hide_values(request.variables.values(), in_output=request.mask_output)
    check(request)
    with closing(settled_store(home)) as store, defer_signals():
        supervision = enlist(home, store, 0)
        try:
            run_id = request.run_id or RunHook(store, request, supervision.name).open().run_id
            supervisor = _launch(request, run_id, supervision, silent)
        except BaseException:
            supervision.lock.release()
            settle_lost_runs(home, store)
            raise
        supervision.lock.release()  # the supervisor holds it now
        return run_id, supervisor


def _launch(request: Request, run_id: str, supervision: Supervision, silent: bool) -> DetachedProcess:
    """The supervisor. It inherits the lock, and a pipe with the request, which no command line may hold."""
    lock_fd = supervision.lock.fd
    read_end, write_end = os.pipe()
    handed = f"--supervision={supervision.name}:{lock_fd}"
    try:
        argv = [sys.executable, "-m", "projrun", "run", handed, f"--request-fd={read_end}", "--", request.uri]
        environ = without_endpoint(os.environ)
        supervisor = start_detached(argv, environ=environ, silent=silent, pass_fds=(lock_fd, read_end))
    finally:
        os.close(read_end)
        with suppress(BrokenPipeError), open(write_end, "wb") as pipe:
            pipe.write(msgspec.json.encode(msgspec.structs.replace(request, run_id=run_id)))
    return supervisor


def received(fd: int) -> Request:
    """Read the request that `start` sent to this supervisor."""
    with open(fd, "rb") as pipe:
        return msgspec.json.decode(pipe.read(), type=Request)


def wait(store: Store, home: Home, run_id: str) -> Run:
    """The run when it has ended. A run whose supervisor is lost has."""
    pause_s = 0.02
    while (run := store.get_run(run_id)).status not in TERMINATED:
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        settle_lost_runs(home, store)
    return run


def stop_run(run_id: str, home: Home) -> None:
    with closing(settled_store(home)) as store:
        stop(store, home, store.get_run(run_id))


def stop(store: Store, home: Home, run: Run) -> Run:
    """End the run, in good order, and return it; one that has ended stays as it is.

    Raises UnavailableError when who supervises it is not to be reached.
    """
    if run.status in TERMINATED:
        return run
    pid = _pid(home, run.tags.get(SUPERVISOR_TAG, ""))
    if pid is None:
        settle_lost_runs(home, store)
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
