"""A real engine, and images made on this machine. Nothing here takes the name of an official image."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from projrun.disk.file_locks import hold_lock
from projrun.environments.docker.images import STAGE_LABEL
from tests.containers import slim_image
from tests.support.waiting import eventually as eventually

BASE = "projrun-test/python:base"
SHELL = "projrun-test/shell:base"


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def containers_of(run_id: str) -> list[str]:
    return docker("ps", "--all", "--quiet", "--filter", f"label=projrun.run={run_id}").split()


def gone(run_id: str) -> bool:
    """Waits for the last will to be executed."""
    return eventually(lambda: not containers_of(run_id))


def stages() -> set[str]:
    """Images of the stages of builds, which go at its end; what is made from them has an empty label."""
    found = docker("images", "--quiet", "--filter", f"label={STAGE_LABEL}").split()
    label = f'{{{{.Id}}}} {{{{index .Config.Labels "{STAGE_LABEL}"}}}}'
    inspect = ["docker", "inspect", "--format", label, *found]  # those of other tests may go meanwhile
    told = subprocess.run(inspect, capture_output=True, text=True).stdout.splitlines() if found else []
    return {words[0] for line in told if len(words := line.split()) == 2}


def no_stage_is_left(before: set[str]) -> bool:
    """Waits for the stages of other tests, which build meanwhile."""
    return eventually(lambda: stages() <= before)


@pytest.fixture(scope="session")
def engine() -> None:
    """Skips where no engine answers, unless the machine promised one."""
    try:
        answer = subprocess.run(["docker", "version"], capture_output=True, text=True)
        problem = "" if answer.returncode == 0 else answer.stderr.strip()
    except FileNotFoundError:
        problem = "the docker program is not installed"
    if problem and os.environ.get("PROJRUN_TEST_ENGINES") == "1":
        pytest.fail(problem)
    if problem:
        pytest.skip(problem)


@pytest.fixture(scope="session")
def base_image(engine: None, shared_directory: Path) -> str:
    """An image like python:X.Y-slim."""
    _make_once(BASE, shared_directory, python=True)
    return BASE


@pytest.fixture(scope="session")
def shell_image(engine: None, shared_directory: Path) -> str:
    """An image with a shell and a few programs."""
    _make_once(SHELL, shared_directory, python=False)
    return SHELL


def _make_once(tag: str, shared_directory: Path, *, python: bool) -> None:
    """For all processes of this session of tests."""
    name = tag.replace("/", "-").replace(":", "-")
    with hold_lock(shared_directory / f"{name}.lock"):
        mark = shared_directory / f"{name}.made"
        if not mark.exists():
            slim_image.make(tag, python=python)
            mark.touch()


@pytest.fixture(params=["directly", "by-client"])
def way(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Choose how containers are started: who configures the docker program gets that program."""
    if request.param == "by-client":
        place = tmp_path_factory.mktemp("docker")
        (place / "config.json").write_text('{"HttpHeaders": {"X-Way": "by-client"}}')
        monkeypatch.setenv("DOCKER_CONFIG", str(place))
    return str(request.param)


@pytest.fixture
def on_base(base_image: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Projects without an image of their own are built on ours."""
    monkeypatch.setenv("PROJRUN_DOCKER_BASE_IMAGE", base_image)
    return base_image


def runs_of(projrun: Callable[..., subprocess.CompletedProcess[str]]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(projrun("runs", "list", "--json").stdout)
    return found


def artifact(run: dict[str, object], name: str) -> str:
    uri = str(run["artifact_uri"]).removeprefix("file://")
    return (Path(uri) / name).read_text()
