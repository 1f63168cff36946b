"""Backends: where a plan executes. A kind is a module that fulfils `Backend`, and a row of KINDS."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import msgspec

from projrun.errors import UnavailableError, UsageError
from projrun.plan import Checkout, Launch, Plan
from projrun.processes import GRACE_S
from projrun.processes.usage import Usage


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    # How long the command may run; None: for ever. The time in a queue does not count
    timeout_s: float | None = None
    grace_s: float = GRACE_S  # how long the command may take to end after it was asked to; then it is killed


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """All that a backend gets of a run. It holds secrets, so nothing writes it."""

    run_id: str
    plan: Plan
    launch: Launch  # the environment's, with the run's own variables, their real values among them
    checkout: Checkout
    log: Path  # the file that gets stdout and stderr
    # Values that the backend replaces in the output before anything keeps or shows it
    masks: tuple[str, ...] = ()
    limits: Limits = Limits()


class Handle(msgspec.Struct, frozen=True):
    """A job that a backend has taken. Plain data without secrets, good across processes."""

    backend: str
    run_id: str
    id: str
    log: str  # path of the file that gets stdout and stderr
    grace_s: float = GRACE_S  # see `Limits`


class Prepared(msgspec.Struct, frozen=True):
    """A job that is ready to start."""

    job: Job
    handle: Handle


Phase = Literal["queued", "running", "ended"]


class JobState(msgspec.Struct, frozen=True):
    phase: Phase
    # As a shell has it: 128 + n when signal n ended the process. None before the end
    exit_code: int | None = None
    usage: Usage | None = None  # none before the end, and where the backend cannot tell


RUNNING = JobState("running")


class Backend(Protocol):
    # True where a started job may wait before it runs: its run stays SCHEDULED until `poll` says "running".
    # False where it runs at once; then the run is RUNNING before the command can look at it.
    QUEUES: bool

    def check(self, config: Mapping[str, Any]) -> None:
        """Raise UsageError for a backend configuration that cannot be followed. Asks nobody."""
        ...

    def warm_up(self, plan: Plan) -> None:
        """Begin what takes time and needs no more than the plan; return at once.

        It is called before the environment is provided; a job of the plan may never come.
        """
        ...

    def endpoint_address(self, plan: Plan, launch: Launch) -> tuple[str, str]:
        """Return the address and the network device at which the job's processes find this process.

        Both are empty where that is the loopback interface, or where they cannot reach it at all.
        """
        ...

    def prepare(self, job: Job) -> Prepared:
        """Refuse what cannot start, and begin to make what the job starts in; do not wait for it.

        The caller has work of its own between `prepare` and `start`. Raises LaunchError.
        """
        ...

    def start(self, prepared: Prepared) -> Handle:
        """Start the command; its output goes to the job's log. Raises LaunchError."""
        ...

    def poll(self, handle: Handle) -> JobState:
        """Return the state of a started job. The state of an ended one stays until `reclaim`."""
        ...

    def wait(self, handle: Handle, phase: Phase, timeout_s: float | None = None) -> JobState:
        """Return the state once the job has come to `phase` or further, or after `timeout_s` seconds."""
        ...

    def cancel(self, handle: Handle, signal: int) -> JobState:
        """End a started job and all that it started: `signal` first, force after `handle.grace_s`."""
        ...

    def reclaim(self, handle: Handle) -> None:
        """Remove what the job left, also one that was only prepared or still runs. Once more is fine.

        Another process than the one that prepared the job calls this when that one was killed.
        """
        ...

    def logs(self, handle: Handle) -> Path:
        """Return the file that gets the job's output, while it runs and afterwards."""
        ...


# Default bricks, to be assigned by a kind.


def accept_any(config: Mapping[str, Any]) -> None:
    """A `check` for a kind that ignores its configuration, as mlflow's local backend does."""


def no_warm_up(plan: Plan) -> None:
    """A `warm_up` for a kind that can begin nothing early."""


def loopback(plan: Plan, launch: Launch) -> tuple[str, str]:
    """An `endpoint_address` for a kind whose processes share this machine's network."""
    return "", ""


def log_of(handle: Handle) -> Path:
    """A `logs` for a kind that writes the job's log itself."""
    return Path(handle.log)


def read_config(text: str) -> dict[str, Any]:
    """A backend's configuration from the path of a .json file, or from JSON text."""
    import json

    try:
        config = json.loads(Path(text).read_text() if text.endswith(".json") else text)
    except OSError as error:
        raise UsageError(
            f"the backend config {text} cannot be read: {error.strerror}",
            "see that the file is there and may be read",
        ) from None
    except ValueError as error:
        raise UsageError(
            f"the backend config is not JSON: {error}", "give a .json file or JSON text"
        ) from None
    if not isinstance(config, dict):
        raise UsageError("the backend config is not a JSON object", 'write it as {"name": value}')
    return config


KINDS = {
    "local": "projrun.backends.local",
}

PLANNED = ("slurm", "ray", "kubernetes")  # known names whose engine is not part of this version


def backend_named(name: str) -> Backend:
    if name in PLANNED or name == "databricks":
        raise UnavailableError(f"the backend '{name}' is not part of this version of projrun", "use -b local")
    if name not in KINDS:
        raise UsageError(f"there is no backend '{name}'", f"choose one of {', '.join([*KINDS, *PLANNED])}")
    return cast(Backend, import_module(KINDS[name]))


def handle_to_text(handle: Handle) -> str:
    return msgspec.json.encode(handle).decode()


def reclaim_stored(run_id: str, text: str) -> None:
    """Remove what the job of a run left whose supervisor is gone. text: from `handle_to_text`."""
    try:
        handle = msgspec.json.decode(text, type=Handle)
    except msgspec.DecodeError:
        return
    # The text comes from a tag, which clients of the run may write: it must not reach another run's job.
    if handle.run_id == run_id and handle.backend in KINDS:
        backend_named(handle.backend).reclaim(handle)
