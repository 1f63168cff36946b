"""This machine: the command runs as a child of the projrun process that supervises it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from projrun.backends import Handle, Result
from projrun.errors import LaunchError
from projrun.plan import Launch, Plan
from projrun.processes import merge_environ

if TYPE_CHECKING:
    from projrun.backends.local.container import ContainerProcess
    from projrun.processes.child import Child

_children: dict[str, Child | ContainerProcess] = {}


def submit(plan: Plan, launch: Launch, directory: Path, log: Path, before: Callable[[], None]) -> Handle:
    out, err = _descriptor(1, sys.stdout), _descriptor(2, sys.stderr)
    child: Child | ContainerProcess
    if launch.container is not None:
        from projrun.backends.local.container import ContainerProcess

        child = ContainerProcess(plan, launch, directory, log, out, err, before)
    else:
        before()
        child = _on_this_machine(plan, launch, directory, log, out, err)
    _children[child.id] = child
    return Handle(backend="local", id=child.id, log=str(log))


def _on_this_machine(
    plan: Plan, launch: Launch, directory: Path, log: Path, out: int | None, err: int | None
) -> Child:
    from projrun.processes.child import Child

    environ = merge_environ(os.environ, plan.variables, launch.variables)
    if launch.path_entries:
        environ["PATH"] = os.pathsep.join([*launch.path_entries, environ.get("PATH", os.defpath)])
    _check_programs(plan.programs, environ.get("PATH", os.defpath))
    return Child(
        [*launch.argv_prefix, "bash", "-c", plan.command],
        cwd=directory,
        environ=environ,
        log=log,
        out=out,
        err=err,
        indexed=True,
        contained=True,
    )


def wait(handle: Handle, timeout_s: float | None = None) -> Result | None:
    try:
        return _result(handle, _children[handle.id].wait(timeout_s))
    except TimeoutError:
        return None


def cancel(handle: Handle, signal: int) -> Result:
    return _result(handle, _children[handle.id].end(signal, handle.grace_s))


def logs(handle: Handle) -> Path:
    return Path(handle.log)


def _result(handle: Handle, exit_code: int) -> Result:
    return Result(exit_code, _children.pop(handle.id).usage)


def _check_programs(programs: Mapping[str, str], path: str) -> None:
    """Raise LaunchError with a hint for a missing program: bash would only exit with 127."""
    if not programs:
        return
    import shutil

    for program, hint in programs.items():
        if shutil.which(program, path=path) is None:
            raise LaunchError(f"the run needs {program}, which is not in its environment", hint)


def _descriptor(number: int, stream: object) -> int | None:
    """Return our own stream's descriptor, or None if it is closed."""
    if stream is None:
        return None
    try:
        os.fstat(number)
    except OSError:
        return None
    return number
