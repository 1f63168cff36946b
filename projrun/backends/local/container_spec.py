"""Translation of simple arguments of `docker run` to a request of the engine's API.

If all of them are known here, and the docker program's configuration adds nothing, `engine_container` creates
the container; a test compares it with the one that `docker run` makes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

_FLAGS = {
    "--init": "HostConfig.Init",
    "--interactive": "OpenStdin",
    "--privileged": "HostConfig.Privileged",
    "--read-only": "HostConfig.ReadonlyRootfs",
    "--tty": "Tty",
}
_TEXTS = {
    "--hostname": "Hostname",
    "--ipc": "HostConfig.IpcMode",
    "--user": "User",
    "--userns": "HostConfig.UsernsMode",
    "--workdir": "WorkingDir",
}
_SIZES = {"--memory": "HostConfig.Memory", "--shm-size": "HostConfig.ShmSize"}
_UNITS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30}
_CLIENT_VARIABLES = (
    "DOCKER_API_VERSION",
    "DOCKER_CONTENT_TRUST",
    "DOCKER_CUSTOM_HEADERS",
    "DOCKER_DEFAULT_PLATFORM",
)


class RunArguments(msgspec.Struct, frozen=True):
    """Arguments of `docker run`."""

    options: Sequence[str]  # options, each as `--name` or `--name=value`
    variables: Mapping[str, str]
    image: str
    command: Sequence[str]


class CreateRequest(msgspec.Struct, frozen=True):
    body: bytes  # JSON of the request that creates the container, with the values of its variables
    tty: bool
    stdin: bool


class _UnsupportedError(Exception):
    """An argument that only the docker program understands."""


def make_create_request(given: RunArguments) -> CreateRequest | None:
    """Return the request that creates the container, or None if only the docker program can."""
    host: dict[str, Any] = {"NetworkMode": "default", "RestartPolicy": {"Name": "no"}}
    config: dict[str, Any] = {
        "Image": given.image,
        "Cmd": given.command,
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": host,
    }
    try:
        for option in given.options:
            _add(config, host, *option.partition("="))
        config.setdefault("Env", []).extend(
            f"{name}={value}" for name, value in sorted(given.variables.items())
        )
        stdin, tty = config.get("OpenStdin", False), config.get("Tty", False)
        if stdin and tty:
            return None  # our own terminal would have to be put into raw mode
        body = msgspec.json.encode({**config, "AttachStdin": stdin, "StdinOnce": stdin})
        return CreateRequest(body, tty, stdin)
    except (_UnsupportedError, UnicodeEncodeError):
        return None


def _add(config: dict[str, Any], host: dict[str, Any], name: str, equals: str, value: str) -> None:
    if name in _FLAGS and not equals:
        _set(config, _FLAGS[name], True)
    elif not value:
        raise _UnsupportedError
    elif name in _TEXTS:
        _set(config, _TEXTS[name], value)
    elif name in _SIZES:
        _set(config, _SIZES[name], _parse_size(value))
    elif name == "--env" and "=" in value:
        config.setdefault("Env", []).append(value)
    elif name == "--network" and re.fullmatch(r"\w[\w.-]*", value) and host["NetworkMode"] == "default":
        host["NetworkMode"] = value
    elif name == "--label":
        config.setdefault("Labels", {})[value.partition("=")[0]] = value.partition("=")[2]
    elif name == "--tmpfs":
        host.setdefault("Tmpfs", {})[value.partition(":")[0]] = value.partition(":")[2]
    elif name == "--mount":
        host.setdefault("Mounts", []).append(_parse_bind(value))
    elif name == "--volume" and re.match(r"(/[^:]*|\w[\w.-]+):/", value):
        host.setdefault("Binds", []).append(value)
    elif not (name == "--name" and re.fullmatch(r"\w[\w.-]+", value, re.ASCII)):
        raise _UnsupportedError


def _set(config: dict[str, Any], path: str, value: object) -> None:
    outer, dot, last = path.rpartition(".")
    (config[outer] if dot else config)[last] = value


def _parse_size(text: str) -> int:
    match = re.fullmatch(r"(\d+)([bkmg]?)", text, re.ASCII | re.IGNORECASE)
    if not match:
        raise _UnsupportedError
    return int(match[1]) << _UNITS[match[2].lower()]


def _parse_bind(text: str) -> dict[str, object]:
    """Parse a --mount of the form that projrun itself writes."""
    kind, source, target, *more = [*text.split(","), "", ""]
    known = kind == "type=bind" and source.startswith("source=/") and target.startswith("target=/")
    if not known or more not in (["", ""], ["readonly", "", ""]):
        raise _UnsupportedError
    return {
        "Type": "bind",
        "Source": source.removeprefix("source="),
        "Target": target.removeprefix("target="),
        "ReadOnly": "readonly" in more,
    }


def is_client_plain() -> bool:
    """Tell whether the docker program's configuration adds nothing to a container, such as proxies."""
    if any(os.environ.get(name) for name in _CLIENT_VARIABLES):
        return False
    directory = Path(os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"))
    try:
        settings = (directory / "config.json").read_bytes()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return b'"proxies"' not in settings and b'"HttpHeaders"' not in settings
