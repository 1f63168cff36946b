"""What the user asked for, before anything is looked at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for, in the words of `mlflow.projects.run`."""

    uri: str
    entry_point: str = "main"
    version: str = ""
    isolated: bool = False
    require_clean: bool = False
    sha256: str = ""
    parameters: Mapping[str, str] = {}
    docker_args: Mapping[str, object] = {}
    experiment_name: str = ""
    experiment_id: str = ""
    backend: str = "local"
    backend_config: Mapping[str, Any] = {}
    storage_dir: str = ""
    run_id: str = ""
    run_name: str = ""
    env_manager: str = ""
    locked: bool = False
    upgrade: bool = False
    as_of: str = ""
    strict_python: bool = False
    """Refuse another patch of Python than the one that the project names."""
    build_image: bool = False
    docker_auth: Mapping[str, str] = {}
    offline: bool = False
    """Ask no network: what was fetched or built before must do."""
    keep: bool = False
    """Let the run's own checkout stay when the run has ended."""


def is_offline(environ: Mapping[str, str] = os.environ) -> bool:
    """What PROJRUN_OFFLINE says."""
    return environ.get("PROJRUN_OFFLINE", "").lower() in ("1", "true", "yes", "on")
