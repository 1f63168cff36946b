"""The ready mark of a built environment: written last, and all that there is to know of it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from projrun.plan import Launch
from projrun.record import Environment

READY = ".ready.json"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What an environment was first built for. Projects with the same lock share it."""

    project: str
    """Name of the project's directory."""
    descriptor: str = ""
    """The descriptor file relative to the project's directory; empty if there was none."""
    kind: str = ""


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    environment: Environment
    launch: Launch
    origin: Origin
    fingerprint: str
    """What its contents looked like when it was built (contents.py)."""


def read(dest: Path) -> Ready | None:
    """The ready mark of `dest`; None when there is none: nothing there, or the rest of a killed build."""
    try:
        return msgspec.json.decode((dest / READY).read_bytes(), type=Ready)
    except (OSError, msgspec.MsgspecError):
        return None


def lock_of(dest: Path) -> Path:
    """The file that is held shared by whoever uses `dest`; its time is that of the last use."""
    return dest.with_name(f"{dest.name}.lock")
