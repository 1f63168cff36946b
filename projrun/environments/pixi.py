"""Environments of pixi projects: the packages of their pixi.lock, read and installed by rattler.

Nothing is solved: `pixi lock` does that. The channels and the variables of [activation.env] are those of
pixi.toml, or of [tool.pixi] in pyproject.toml; the packages those of the lock's environment `default`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from projrun import environments
from projrun.disk.file_operations import sha256_file
from projrun.documents import toml_file
from projrun.environments.conda import conda_manager
from projrun.environments.conda.condarc import read_settings
from projrun.environments.conda.lock_stamp import PIXI_LOCK
from projrun.environments.conda.rattler import Channels, PypiPackage, pylock_of_packages, read_project_lock
from projrun.errors import BuildError, UsageError
from projrun.net import channel_without_credentials
from projrun.plan import CONDA_LOCK_ARTIFACT, PYLOCK_ARTIFACT, Descriptor, LocalRequirement, Lock
from projrun.record import Environment

# The part of the project's manifest that counts: a descriptor read from pyproject.toml lacks it
MANIFEST_ARTIFACT = "projrun/pixi.toml"

BUILDS = True
IN_CONTAINERS = False
LOCK_ARTIFACTS: tuple[str, ...] = (CONDA_LOCK_ARTIFACT, MANIFEST_ARTIFACT, PYLOCK_ARTIFACT)
PYLOCK_IS_COMPLETE = False
LOCKS_ONE_PLATFORM = True
suits = environments.suits_none
container_images = environments.no_container_images
holds = environments.holds_always
record = environments.record
download_packages = environments.refuse_download
key = conda_manager.key
build = conda_manager.build
unhealthy = conda_manager.unhealthy
contents = conda_manager.contents
launch = conda_manager.launch


def find_lock(descriptor: Descriptor, directory: Path) -> str:
    name = os.path.join(os.path.dirname(descriptor.file), PIXI_LOCK)
    return name if (directory / name).is_file() else ""


def settings(descriptor: Descriptor, directory: Path) -> dict[str, object]:
    base = directory / os.path.dirname(descriptor.file)
    files = [base / name for name in (PIXI_LOCK, "pixi.toml", "pyproject.toml")]
    digests = {file.name: sha256_file(file) for file in files if file.is_file()}
    return {"conda": read_settings().facts(), "pixi": digests}


def staleness(descriptor: Descriptor, directory: Path) -> str:
    return ""  # pixi alone knows: its lock does not say what it was made from


def lock(descriptor: Descriptor, directory: Path, log: Path, as_of: str = "") -> Lock:
    manifest = _read_manifest(directory / os.path.dirname(descriptor.file))
    name = find_lock(descriptor, directory)
    if not name:
        raise BuildError(f"the project has no {PIXI_LOCK}", "run `pixi lock`")
    facts = _facts(manifest)
    channels = Channels(facts["channels"], read_settings(), directory)
    answer = read_project_lock(name, directory, [], channels, read_settings(), log)
    local = [package for package in answer.pypi if _is_path(package)]
    released = [package for package in answer.pypi if not _is_path(package)]
    base = os.path.dirname(name)
    return Lock(
        manager="pixi",
        files={
            CONDA_LOCK_ARTIFACT: answer.lock,
            MANIFEST_ARTIFACT: toml_file.dump(manifest),
            PYLOCK_ARTIFACT: pylock_of_packages(released),
        },
        facts=facts,
        python=next((package.version for package in answer.packages if package.name == "python"), ""),
        local=tuple(
            LocalRequirement(name=package.name, path=os.path.normpath(os.path.join(base, package.location)))
            for package in local
        ),
    )


def new_lock(request: environments.LockRequest) -> NoReturn:
    raise UsageError(f"{PIXI_LOCK} is the lock of another program", "update it: pixi lock")


unfit = new_lock


def from_record(environment: Environment, files: environments.LockFiles, descriptor: Descriptor) -> Lock:
    manifest = toml_file.parse(files.get(MANIFEST_ARTIFACT, ""), "pixi.toml")
    lock = conda_manager.from_record(environment, files, descriptor)
    return msgspec.structs.replace(lock, files=dict(files), facts=_facts(manifest))


class _Workspace(msgspec.Struct, frozen=True):
    channels: tuple[str | dict[str, Any], ...] = ()


class _Activation(msgspec.Struct, frozen=True):
    env: dict[str, str | int | float | bool] = {}


class _Manifest(msgspec.Struct, frozen=True):
    workspace: _Workspace = _Workspace()
    project: _Workspace = _Workspace()  # the table `workspace` under the name that it had before
    activation: _Activation = _Activation()


def _read_manifest(base: Path) -> dict[str, Any]:
    """Return the part of the manifest in `base` that counts, in the form of a pixi.toml."""
    document, file = None, "pixi.toml"
    if (base / file).is_file():
        document = toml_file.load(base / file, file)
    elif (base / "pyproject.toml").is_file():
        file = "pyproject.toml"
        document = (toml_file.load(base / file, file).get("tool") or {}).get("pixi")
    if document is None:
        raise BuildError(
            "the project has no pixi.toml and no [tool.pixi] in a pyproject.toml",
            "write one with `pixi init`, or use another --env-manager",
        )
    try:
        manifest = msgspec.convert(document, _Manifest)
    except msgspec.ValidationError as error:
        raise BuildError(f"{file} is no manifest of pixi: {error}", "correct it, then run it again") from None
    written = manifest.workspace.channels or manifest.project.channels
    channels = [item.get("channel", "") if isinstance(item, dict) else item for item in written]
    return {
        "workspace": {"channels": [channel_without_credentials(str(channel)) for channel in channels]},
        "activation": {"env": {name: str(value) for name, value in manifest.activation.env.items()}},
    }


def _facts(manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        "channels": manifest["workspace"]["channels"],
        "variables": manifest["activation"]["env"],
    }


def _is_path(package: PypiPackage) -> bool:
    return "://" not in package.location and "+" not in package.location
