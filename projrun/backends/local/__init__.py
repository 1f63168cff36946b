"""This machine: the command runs as a child of the projrun process that supervises it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from projrun.backends import RUNNING, Handle, Job, JobState, Phase, Prepared, accept_any, log_of
from projrun.errors import LaunchError
from projrun.plan import Launch, Plan
from projrun.processes import merge_environ
from projrun.processes.cgroups import prepare_kernel

if TYPE_CHECKING:
    from projrun.backends.local.container import ContainerProcess
    from projrun.processes.child import Child

QUEUES = False
check = accept_any
logs = log_of

# The processes and containers of this process's jobs, by the id of the handle, until they are reclaimed
_children: dict[str, Child | ContainerProcess] = {}
_made: dict[str, ContainerProcess] = {}  # those of them that are containers whose command is not started yet
_ended: dict[str, JobState] = {}


def warm_up(plan: Plan) -> None:
    """Prepare the kernel for a control group; a container gets its control group from the engine."""
    if plan.container is None:
        prepare_kernel()


def endpoint_address(plan: Plan, launch: Launch) -> tuple[str, str]:
    if launch.container is None:
        return "", ""
    from projrun.backends.local.container import endpoint_address

    return endpoint_address(plan, launch.container)


def prepare(job: Job) -> Prepared:
    """Have the engine make the container meanwhile; a process needs nothing beforehand."""
    if job.launch.container is None:
        return Prepared(job, Handle("local", job.run_id, job.run_id, str(job.log), job.limits.grace_s))
    from projrun.backends.local.container import ContainerProcess

    container = ContainerProcess(job, *_own_streams())
    _children[container.id] = _made[container.id] = container
    return Prepared(job, Handle("local", job.run_id, container.id, str(job.log), job.limits.grace_s))


def start(prepared: Prepared) -> Handle:
    if container := _made.pop(prepared.handle.id, None):
        container.start()
    else:
        _children[prepared.handle.id] = _started_process(prepared.job)
    return prepared.handle


def _started_process(job: Job) -> Child:
    from projrun.processes.child import Child

    environ = merge_environ(os.environ, job.plan.variables, job.launch.variables)
    if job.launch.path_entries:
        environ["PATH"] = os.pathsep.join([*job.launch.path_entries, environ.get("PATH", os.defpath)])
    _check_programs(job.plan.programs, environ.get("PATH", os.defpath))
    out, err = _own_streams()
    return Child(
        [*job.launch.argv_prefix, "bash", "-c", job.plan.command],
        cwd=job.checkout.directory,
        environ=environ,
        log=job.log,
        out=out,
        err=err,
        indexed=True,
        contained=True,
        masks=job.masks,
    )


def poll(handle: Handle) -> JobState:
    return wait(handle, "ended", 0.0)


def wait(handle: Handle, phase: Phase, timeout_s: float | None = None) -> JobState:
    if handle.id in _ended:
        return _ended[handle.id]
    if phase != "ended":
        return RUNNING
    try:
        return _end(handle, _children[handle.id].wait(timeout_s))
    except TimeoutError:
        return RUNNING


def cancel(handle: Handle, signal: int) -> JobState:
    return _ended.get(handle.id) or _end(handle, _children[handle.id].end(signal, handle.grace_s))


def reclaim(handle: Handle) -> None:
    _made.pop(handle.id, None)
    child = _children.pop(handle.id, None)
    if _ended.pop(handle.id, None) is not None:
        return
    if child is not None:
        child.abandon()
    elif handle.id != handle.run_id:
        # The job of another process, in a container. A process's control group goes with its supervisor's.
        from projrun import engine

        engine.remove_run_containers(handle.run_id)


def _end(handle: Handle, exit_code: int) -> JobState:
    _ended[handle.id] = JobState("ended", exit_code, _children[handle.id].usage)
    return _ended[handle.id]


def _check_programs(programs: Mapping[str, str], path: str) -> None:
    """Raise LaunchError with a hint for a missing program: bash would only exit with 127."""
    if not programs:
        return
    import shutil

    for program, hint in programs.items():
        if shutil.which(program, path=path) is None:
            raise LaunchError(f"the run needs {program}, which is not in its environment", hint)


def _own_streams() -> tuple[int | None, int | None]:
    return _descriptor(1, sys.stdout), _descriptor(2, sys.stderr)


def _descriptor(number: int, stream: object) -> int | None:
    """Return our own stream's descriptor, or None if it is closed."""
    if stream is None:
        return None
    try:
        os.fstat(number)
    except OSError:
        return None
    return number
