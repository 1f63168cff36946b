"""The user's request for a run, before anything is fetched or checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The user's request, with the names of `mlflow.projects.run`."""

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
    strict_python: bool = False  # refuse another patch version of Python than the project's
    build_image: bool = False
    docker_auth: Mapping[str, str] = {}
    # Environment variables for the command; nobody else may see their values
    variables: Mapping[str, str] = {}
    mask_output: bool = True  # mask those values also in the output of the command
    docker_image: str = ""  # the base image of the environment
    read_only_source: bool = False  # mount the project's tree read-only in a container
    timeout_s: float | None = None  # seconds that the command may take
    stop_timeout_s: float = 10.0  # seconds that the command may take to end after it was stopped
    offline: bool = False  # use no network, only what was fetched or built before
    keep: bool = False  # keep the run's own checkout when the run has ended
