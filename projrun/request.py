"""The user's request, before anything is looked at."""

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
    strict_python: bool = False  # refuse another patch of Python than the one that the project names
    build_image: bool = False
    docker_auth: Mapping[str, str] = {}
    # Environment variables for the command, with values that nobody else may see
    variables: Mapping[str, str] = {}
    mask_output: bool = True  # mask those values also in what the command prints
    docker_image: str = ""  # what the image of the environment is made from
    read_only_source: bool = False  # in a container: the project's tree cannot be written to
    timeout_s: float | None = None  # how long the command may take
    stop_timeout_s: float = 10.0  # how long the command may take to end after it was asked to
    offline: bool = False  # ask no network: what was fetched or built before must do
    keep: bool = False  # let the run's own checkout stay when the run has ended
