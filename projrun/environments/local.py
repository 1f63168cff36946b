"""No environment of its own: the run uses what the caller's shell would use."""

from __future__ import annotations

from pathlib import Path

from projrun.plan import Descriptor, Launch, Lock
from projrun.record import Package

BUILDS = False


def lock(descriptor: Descriptor, directory: Path, log: Path, as_of: str = "") -> Lock:
    return Lock(manager="local", python="", interpreter="", pylock="")


def key(lock: Lock) -> dict[str, object]:
    return {}


def build(lock: Lock, dest: Path, log: Path) -> None:
    raise AssertionError("the local environment is never built")


def unhealthy(dest: Path) -> str | None:
    return None


def contents(dest: Path) -> tuple[Package, ...]:
    return ()


def launch(dest: Path) -> Launch:
    return Launch()
