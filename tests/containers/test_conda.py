"""Conda environments in images, from a channel on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from projrun.environments.interpreters import Interpreter, choose
from tests.conftest import MakeProject, Projrun
from tests.containers.conftest import artifact, no_stage_is_left, runs_of, stages
from tests.support import conda_packages
from tests.support.conda_packages import PLACEHOLDER, Channel

RUNNING = ".".join(map(str, sys.version_info[:3]))
MLPROJECT = "conda_env: c.yaml\nentry_points: {main: {command: %s}}\n"
SAY = """
import os, six, subprocess, sys, tinylib
print(sys.prefix, tinylib.__version__, six.__version__, os.environ["AUTHOR"], os.environ["NATIVE"])
print(*(subprocess.check_output([name], text=True).strip() for name in ("tiny", "native", "inner")))
"""


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    """Its Python is the image's own, by links, so that every machine can make it."""
    channel = Channel(tmp_path_factory.mktemp("conda") / "channel")
    here = Path(f"/usr/local/bin/python{RUNNING.rpartition('.')[0]}")
    conda_packages.add_python(channel, Interpreter(here, choose("")[0].version))
    conda_packages.add_library(channel, "1.0.0")
    activation = f"export NATIVE=$AUTHOR-$CONDA_PREFIX PATH={PLACEHOLDER}/libexec:$PATH\n"
    files = {
        "bin/native": f"#!/bin/sh\ncat {PLACEHOLDER}/share/word\n".encode(),
        "share/word": b"found\n",
        "libexec/inner": b"#!/bin/sh\necho inner\n",
        "etc/conda/activate.d/native.sh": activation.encode(),
    }
    channel.add(
        "native", "1.0", files, prefixes={"bin/native": "text", "etc/conda/activate.d/native.sh": "text"}
    )
    channel.add("needs-glibc", "1.0", {"share/x": b""}, depends=("__glibc >=99",))
    channel.add("scripted", "1.0", {"bin/.scripted-post-link.sh": b"touch $PREFIX/scripted\n"})
    return channel.index()


@pytest.fixture(autouse=True)
def settings(channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDA_CHANNELS", channel.url)
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler"))


def test_a_conda_environment_is_the_same_in_an_image(
    on_base: str, make_project: MakeProject, projrun: Projrun, channel: Channel
) -> None:
    before_it = stages()
    wanted = [f"python={RUNNING}", "tinylib", "native", {"pip": ["six==1.16.0"]}]
    written = {"channels": [channel.url], "dependencies": wanted, "variables": {"AUTHOR": "it's $5"}}
    conda = json.dumps(written)
    project = make_project(MLproject=MLPROJECT % "python say.py", **{"c.yaml": conda, "say.py": SAY})
    done = projrun("run", project, "--env-manager", "docker")
    assert done.stdout.splitlines() == [
        "/opt/projrun 1.0.0 1.16.0 it's $5 it's $5-/opt/projrun",
        "tinylib 1.0.0 found inner",
    ], done.stderr
    run = runs_of(projrun)[0]
    environment = json.loads(artifact(run, "projrun/record.json"))["environment"]
    try:
        assert {one["name"]: one["version"] for one in environment["packages"]} == {
            "native": "1.0",
            "python": RUNNING,
            "python_abi": RUNNING.rpartition(".")[0],
            "six": "1.16.0",
            "tinylib": "1.0.0",
        }
        assert "native-1.0-0.conda" in artifact(run, "projrun/pixi.lock")
        assert "six" in artifact(run, "projrun/pylock.toml")
        assert projrun("lock", project).returncode == 0
        locked = projrun("run", project, "--env-manager", "docker", "--locked")
        assert (locked.stdout, "building" in locked.stderr) == (done.stdout, False), locked.stderr
        again = projrun("reproduce", str(run["run_id"]))
        assert again.stdout == done.stdout, again.stderr
        assert no_stage_is_left(before_it)
    finally:
        assert projrun("env", "remove", environment["key"]).returncode == 0


def test_an_interpreter_of_condas_own_needs_none_in_the_image(
    shell_image: str, make_project: MakeProject, projrun: Projrun, tmp_path: Path
) -> None:
    python = choose("")[0]
    if not conda_packages.relocatable(python):
        pytest.skip("the running Python cannot be packed: it is spread over /usr")
    channel = Channel(tmp_path / "pythons")
    conda_packages.add_whole_python(channel, python)
    conda_packages.add_library(channel, "2.0.0")
    conda = json.dumps({"channels": [channel.index().url], "dependencies": ["python", "tinylib"]})
    command = """'tiny && python -c "import sys; print(sys.prefix)"'"""
    project = make_project(MLproject=MLPROJECT % command, **{"c.yaml": conda})
    done = projrun("run", project, "--env-manager", "docker", "--docker-image", shell_image)
    try:
        assert done.stdout == "tinylib 2.0.0\n/opt/projrun\n", done.stderr
    finally:
        projrun("env", "prune", "--unused")


@pytest.mark.parametrize(
    ("package", "told"),
    [
        ("needs-glibc", "__glibc"),
        ("scripted", "scripted: wants to run a script of its own at installation"),
    ],
)
def test_what_cannot_be_in_an_image_is_told(
    package: str, told: str, on_base: str, make_project: MakeProject, projrun: Projrun, channel: Channel
) -> None:
    project = make_project(
        MLproject=MLPROJECT % "echo",
        **{"c.yaml": json.dumps({"dependencies": [package], "channels": [channel.url]})},
    )
    done = projrun("run", project, "--env-manager", "docker")
    assert done.returncode == 125
    assert told in done.stderr.splitlines()[-1]
    refused = projrun("dockerfile", project)
    assert refused.returncode == 125
    assert "no Dockerfile can bring its conda packages along" in refused.stderr.splitlines()[-1]
