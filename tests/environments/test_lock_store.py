"""Locks that version 0.1.0 stored, with a field for everything that any manager needed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from projrun import engine
from projrun.disk import Home
from projrun.environments import lock_digest, manager_named
from projrun.environments.environment_store import provide
from projrun.environments.lock_store import decode_lock
from projrun.plan import Descriptor

FORMER: dict[str, Any] = {
    "manager": "",
    "python": "3.11.7",
    "interpreter": "",
    "pylock": 'lock-version = "1.0"\n',
    "local": [],
    "conda": "",
    "channels": [],
    "variables": {},
    "image": "",
    "platform": "",
    "tag": "",
    "kept": True,
    "packages": "",
    "notices": ["a notice"],
    "access": None,
}
MACHINE = [sys.platform, os.uname().machine]
OF_UV = {
    "pylock": FORMER["pylock"],
    "local": [],
    "python": "3.11.7",
    "interpreter": "/usr/bin/python3",
    "platform": MACHINE,
}
CONDA = {"conda": "version: 6\n", "channels": ["conda-forge"], "variables": {"A": "1"}}
IMAGE = {"image": "debian@sha256:0", "platform": "x86_64-manylinux_2_36", "tag": "debian:stable"}
OF_CONDA = {"conda": CONDA["conda"], "variables": CONDA["variables"]}
OF_DOCKER = {"image": IMAGE["image"], "pylock": FORMER["pylock"], "engine": engine.address()}
KEYS = [
    ("uv", {"interpreter": "/usr/bin/python3"}, OF_UV),
    ("virtualenv", {"interpreter": "/usr/bin/python3"}, OF_UV),
    ("conda", CONDA, {"pylock": FORMER["pylock"], "local": [], "platform": MACHINE, **OF_CONDA}),
    ("docker", IMAGE, OF_DOCKER),
    ("docker", {**IMAGE, **CONDA}, {**OF_DOCKER, **OF_CONDA}),
]


@pytest.mark.parametrize(("manager", "facts", "key"), KEYS)
def test_a_former_lock_names_the_same_environment(
    manager: str, facts: dict[str, Any], key: dict[str, Any]
) -> None:
    lock = decode_lock(json.dumps({**FORMER, "manager": manager, **facts}).encode())
    assert lock.notices == ("a notice",)
    assert lock.pylock == FORMER["pylock"]
    assert manager_named(manager).key(lock) == key
    if manager == "docker":
        assert manager_named(manager).record(lock).image == IMAGE["image"]


def test_the_digest_of_a_lock_is_that_of_its_conda_packages_and_its_pylock() -> None:
    from projrun.disk.file_operations import sha256_text

    lock = decode_lock(json.dumps({**FORMER, **CONDA}).encode())
    assert lock_digest(lock.files) == sha256_text(CONDA["conda"] + FORMER["pylock"])
    assert lock_digest(decode_lock(json.dumps({**FORMER, "pylock": ""}).encode()).files) == ""


@pytest.mark.parametrize("name", ["uv", "virtualenv"])
def test_a_former_lock_is_not_resolved_again(
    name: str, home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    descriptor = Descriptor(kind="python_env", file="python_env.yaml")
    with provide(name, descriptor, tmp_path, home, tmp_path / "log") as first:
        (stored,) = home.locks.rglob("lock.json")
        fields = {field: getattr(first.lock, field) for field in ("python", "interpreter", "pylock")}
        stored.write_text(json.dumps({**FORMER, "manager": name, **fields}))
    capsys.readouterr()
    with provide(name, descriptor, tmp_path, home, tmp_path / "log") as again:
        assert again.environment.key == first.environment.key
        assert again.lock.notices == ("a notice",)
    assert capsys.readouterr().err == ""
