"""projrun: runs MLproject directories and Git URLs in locked environments and records every run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from projrun.version import __version__

if TYPE_CHECKING:
    from projrun.api import SubmittedRun, run

__all__ = ["SubmittedRun", "__version__", "run"]


def __getattr__(name: str) -> Any:
    """`run` and `SubmittedRun` are imported when they are first used: the command line needs neither."""
    if name in ("SubmittedRun", "run"):
        from projrun import api

        return getattr(api, name)
    raise AttributeError(f"module 'projrun' has no attribute '{name}'")
