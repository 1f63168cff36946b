"""What other conda tools leave in a project: their locks, which take the place of solving, and pixi.toml."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from projrun.digests import sha256_file
from projrun.errors import ProjectError
from projrun.plan import Descriptor
from projrun.project.reading import PIXI, PIXI_LOCK
from projrun.urls import channel_without_credentials

_EXPLICIT = rb"(?:^|\n)\s*@EXPLICIT\b"
_SYSTEMS = {"linux": "linux", "darwin": "osx"}
_MACHINES = {"x86_64": "64", "amd64": "64"}


def platform_name() -> str:
    """What conda calls this machine: linux-64, osx-arm64, …"""
    machine = os.uname().machine
    return f"{_SYSTEMS.get(sys.platform, sys.platform)}-{_MACHINES.get(machine, machine)}"


def is_explicit(path: Path) -> bool:
    """Whether it is a list of package URLs, as `conda list --explicit` writes it."""
    try:
        with path.open("rb") as file:
            return re.search(_EXPLICIT, file.read(2000)) is not None
    except OSError:
        return False


def from_explicit(directory: Path, file: str) -> Descriptor:
    return _with(Descriptor(kind="conda_env", file=file), directory, file)


def from_pixi(directory: Path, file: str) -> Descriptor:
    from projrun import tomlfile  # late: most projects have no TOML

    document = tomlfile.load(directory / file, file)
    workspace = _table(document, "workspace", file) or _table(document, "project", file)
    lock = os.path.join(os.path.dirname(file), PIXI_LOCK)
    if not (directory / lock).is_file():
        raise ProjectError("has no pixi.lock beside it", "run: pixi lock", file=file)
    specs = [_spec(name, value) for name, value in _table(document, "dependencies", file).items()]
    channels = [
        item.get("channel") if isinstance(item, dict) else item for item in _channels(workspace, file)
    ]
    variables = _table(_table(document, "activation", file), "env", file)
    descriptor = Descriptor(
        kind="conda_env",
        file=file,
        conda_specs=tuple(specs),
        conda_dependencies=tuple(spec for spec in specs if not re.match(r"(python|pip)\b(?!-)", spec)),
        channels=tuple(channel_without_credentials(str(channel)) for channel in channels),
        variables={str(name): str(value) for name, value in variables.items()},
    )
    return _with(descriptor, directory, lock)


def with_lock(descriptor: Descriptor, directory: Path) -> Descriptor:
    """The descriptor with the lock that lies beside its file."""
    base = os.path.dirname(descriptor.file)
    names = ["conda-lock.yml", f"conda-{platform_name()}.lock"]
    if not (directory / base / PIXI).exists():
        names.append(PIXI_LOCK)
    for name in names:
        if (directory / base / name).is_file():
            return _with(descriptor, directory, os.path.join(base, name))
    return descriptor


def _with(descriptor: Descriptor, directory: Path, lock: str) -> Descriptor:
    digest = sha256_file(directory / lock)
    return msgspec.structs.replace(descriptor, conda_lock_file=lock, conda_lock_sha256=digest)


def _spec(name: str, value: object) -> str:
    """`>=1` or `{version = ">=1", build = "py*"}` as a match spec."""
    if not isinstance(value, dict):
        return name if value in ("", "*") else f"{name} {value}"
    keys = ((key, value[key]) for key in ("version", "build", "channel", "subdir") if value.get(key))
    inside = ", ".join(f"{key}='{text}'" for key, text in keys if text != "*")
    return f"{name}[{inside}]" if inside else name


def _channels(workspace: dict[str, Any], file: str) -> list[Any]:
    channels = workspace.get("channels", [])
    if not isinstance(channels, list):
        raise ProjectError("'channels' is not a list", 'write channels = ["conda-forge"]', file=file)
    return channels


def _table(document: dict[str, Any], key: str, file: str) -> dict[str, Any]:
    table = document.get(key, {})
    if not isinstance(table, dict):
        raise ProjectError(f"'{key}' is not a table", f"write [{key}] with lines below it", file=file)
    return table
