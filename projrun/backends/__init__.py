"""Backends: where a plan executes. A kind is a module that fulfils `Backend`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from projrun.errors import UnavailableError, UsageError
from projrun.plan import Launch, Plan
from projrun.processes import GRACE_S
from projrun.processes.usage import Usage


class Handle(msgspec.Struct, frozen=True):
    """A submitted plan. Plain data, good across processes."""

    backend: str
    id: str
    log: str
    """Path of the file that gets stdout and stderr."""
    grace_s: float = GRACE_S
    """How long it may take to end after it was asked to."""


class Result(msgspec.Struct, frozen=True):
    exit_code: int
    """As a shell has it: 128 + n when signal n ended the process."""
    usage: Usage | None = None
    """None where the backend cannot tell."""


class Backend(Protocol):
    def submit(
        self, plan: Plan, launch: Launch, directory: Path, log: Path, before: Callable[[], None]
    ) -> Handle:
        """Start the plan's command in `directory`; its output goes to `log`. Raises LaunchError.

        before: what must be done before the command starts; what it starts in may be prepared meanwhile.
        """
        ...

    def wait(self, handle: Handle, timeout_s: float | None = None) -> Result | None:
        """What came of it, or None if it still runs after `timeout_s` seconds."""
        ...

    def cancel(self, handle: Handle, signal: int) -> Result:
        """End it and everything that it started: `signal` first, force after `handle.grace_s`."""
        ...

    def logs(self, handle: Handle) -> Path:
        """The file that gets its output, while it runs and afterwards."""
        ...


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
    "local": "projrun.backends.local.local_backend",
}

PLANNED = ("slurm", "ray", "kubernetes")
"""Known names whose engine is not part of this version."""


def backend_named(name: str) -> Backend:
    if name in PLANNED or name == "databricks":
        raise UnavailableError(f"the backend '{name}' is not part of this version of projrun", "use -b local")
    if name not in KINDS:
        raise UsageError(f"there is no backend '{name}'", f"choose one of {', '.join([*KINDS, *PLANNED])}")
    return cast(Backend, import_module(KINDS[name]))
