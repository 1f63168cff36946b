"""What the user asked for, before anything is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for, in the words of `mlflow.projects.run`."""

    uri: str
    entry_point: str = "main"
    version: str = ""
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
    build_image: bool = False
    docker_auth: Mapping[str, str] = {}
    docker_image: str = ""
    read_only_source: bool = False
