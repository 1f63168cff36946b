"""The driver of the contract: every member of every manager, images aside, which tests/containers builds."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click import Option

from projrun.cli import run as run_verb
from projrun.disk import Home
from projrun.environments import KINDS, LockRequest, ProjectLock, images_of, manager_for, manager_named
from projrun.environments.lock_store import decode_lock
from projrun.environments.requirement_access import with_access
from projrun.errors import RecordError, UsageError
from projrun.plan import Descriptor
from projrun.project import read_project

SIX = "dependencies: [six==1.16.0]\n"
OF_PYPI = {"python_env.yaml": SIX}
PROJECTS = {
    "conda": {"environment.yml": "dependencies: [python, tinylib=1]\nvariables: {MODE: fast}\n"},
    "pixi": {"pixi.toml": "[workspace]\nchannels = []\nplatforms = []\n[activation.env]\nMODE = 'fast'\n"},
}
DRIVEN = [name for name in KINDS if manager_named(name).BUILDS and name != "docker"]
SUITED = {"python_env": "uv", "docker_env": "docker", "conda_env": "uv", "none": "uv"}


@pytest.mark.parametrize("name", DRIVEN)
def test_every_member_keeps_its_promise(name: str, home: Home, tmp_path: Path, pixi_lock: str) -> None:
    directory = tmp_path / "project"
    directory.mkdir()
    for file, text in PROJECTS.get(name, OF_PYPI).items():
        (directory / file).write_text(text)
    if name == "pixi":
        (directory / "pixi.lock").write_text(pixi_lock)
    descriptor, log = read_project(directory).descriptor, tmp_path / "log"
    manager = manager_named(name)
    assert manager.find_lock(descriptor, directory) == ("pixi.lock" if name == "pixi" else "")
    settings = manager.settings(descriptor, directory)
    assert msgspec.json.encode(settings) == msgspec.json.encode(manager.settings(descriptor, directory))

    lock = manager.lock(descriptor, directory, log)
    assert lock.manager == name
    assert set(lock.files) == set(manager.LOCK_ARTIFACTS)
    assert any(lock.files.values())
    stored = tmp_path / "lock.json"
    stored.write_bytes(msgspec.json.encode(lock))
    read = decode_lock(stored.read_bytes())
    assert manager.holds(read, stored)
    key = manager.key(lock)
    assert msgspec.json.encode(manager.key(read)) == msgspec.json.encode(key)

    recorded = manager.record(lock)
    assert (recorded.manager, recorded.python, recorded.key) == (name, lock.python, "")
    again = manager.from_record(recorded, read.files, descriptor)
    assert msgspec.json.encode(manager.key(again)) == msgspec.json.encode(key)

    dest = tmp_path / ".environment.abc.tmp"
    manager.build(with_access(again, descriptor, directory), dest, log)
    final = tmp_path / "environment"
    dest.rename(final)
    assert manager.unhealthy(final) is None
    contents = manager.contents(final)
    assert contents == tuple(sorted(contents, key=lambda package: package.name))
    assert {"six", "tinylib"} & {package.name for package in contents}
    launch = manager.launch(final)
    assert str(final / "bin") in launch.path_entries
    assert launch.variables.get("MODE") == ("fast" if "MODE" in str(PROJECTS.get(name)) else None)
    assert (launch.container is not None) == manager.IN_CONTAINERS

    target = tmp_path / "packages"
    target.mkdir()
    try:
        manager.download_packages(recorded, read.files, target, tmp_path / "download.log")
        assert [file.name for file in target.iterdir()] == ["six-1.16.0-py2.py3-none-any.whl"]
    except RecordError as error:
        assert "cannot be taken along" in error.message
    request = LockRequest(descriptor=descriptor, directory=directory, name="pylock.toml", log=log)
    try:
        assert "there is no" in manager.unfit(request)
        new = manager.new_lock(request)
        assert isinstance(new, ProjectLock)
        assert any(new.files.values())
    except UsageError:
        assert name == "pixi"


@pytest.mark.parametrize("name", KINDS)
def test_a_manager_in_containers_has_images_and_no_other(name: str) -> None:
    manager = manager_named(name)
    assert (manager.container_images() is not None) == manager.IN_CONTAINERS
    if not manager.IN_CONTAINERS:
        with pytest.raises(UsageError, match="has no images"):
            images_of(name)


def test_the_help_of_a_run_names_every_manager() -> None:
    options = {option.name: option for option in run_verb.run.params if isinstance(option, Option)}
    text = options["env_manager"].help or ""
    assert [name for name in KINDS if name not in text] == []


@pytest.mark.parametrize(("kind", "manager"), SUITED.items())
def test_exactly_one_manager_suits_a_descriptor(kind: str, manager: str) -> None:
    descriptor = msgspec.convert({"kind": kind, "conda_dependencies": ["numpy"]}, Descriptor)
    assert manager_for(descriptor) == manager
    assert [name for name in KINDS if manager_named(name).suits(descriptor)] == [manager]
