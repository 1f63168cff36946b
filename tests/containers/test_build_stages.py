"""Test that what a build leaves on the engine is removed, also after an interruption or a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.environments.docker import images
from projrun.environments.docker.dockerfile_template import render_standalone
from projrun.environments.docker.image_build import SHELF_LABEL, shelf_name
from projrun.plan import Lock
from tests.conftest import MakeProject, Projrun
from tests.containers.conftest import docker, eventually
from tests.containers.test_built_image import MLPROJECT, SIX

PACKAGE = """
[project]
name = 'endless'
version = '1'
[build-system]
requires = []
build-backend = 'backend'
backend-path = ['.']
"""
BACKEND = "import time\ndef build_wheel(*_, **__): time.sleep(300)\n"


@pytest.fixture
def endless(on_base: str, make_project: MakeProject) -> Path:
    """A project whose image is built for ever."""
    return make_project(
        MLproject=MLPROJECT.format("echo"),
        **{"python_env.yaml": SIX.replace("six==1.16.0", "./endless")},
        **{"endless/pyproject.toml": PACKAGE, "endless/backend.py": BACKEND},
    )


def left_by_builds(home: Home) -> list[str]:
    """Ids of the containers, and of the images that have no name, of builds that are or were under way."""
    ours = f"label={SHELF_LABEL}={shelf_name(home.environments / 'docker')}"
    containers = docker("ps", "--all", "--quiet", "--filter", "label=projrun.stage", "--filter", ours)
    unnamed = docker("images", "--all", "--quiet", "--filter", "dangling=true", "--filter", ours)
    return [*containers.split(), *unnamed.split()]


@pytest.mark.parametrize(
    ("number", "verb"), [(signal.SIGINT, ("run",)), (signal.SIGKILL, ("env", "build"))], ids=("^C", "killed")
)
def test_a_build_that_does_not_end_leaves_nothing_on_the_engine(
    number: signal.Signals, verb: tuple[str, ...], endless: Path, projrun: Projrun, home: Home
) -> None:
    null = subprocess.DEVNULL
    argv = [sys.executable, "-m", "projrun", *verb, str(endless), "--env-manager", "docker"]
    with subprocess.Popen(argv, stdin=null, stdout=null, stderr=null, start_new_session=True) as builder:
        try:
            ours = f"label={SHELF_LABEL}={shelf_name(home.environments / 'docker')}"
            assert eventually(lambda: docker("ps", "--quiet", "--filter", ours) or builder.poll() is not None)
            assert projrun("env", "list").stderr == ""  # it looks, and takes nothing from a living build
            assert docker("ps", "--quiet", "--filter", ours)
            builder.send_signal(number)
            builder.wait()
        finally:
            builder.kill()
    if number == signal.SIGKILL:
        assert left_by_builds(home)
        listed = projrun("env", "list")
        assert listed.stderr == "projrun: took away what a killed build of an image had left\n"
    assert left_by_builds(home) == []
    assert not list(home.environments.rglob("*.building"))


def test_an_image_made_from_an_environments_is_not_taken_for_it_and_its_base_stays(
    base_image: str, make_project: MakeProject, projrun: Projrun, home: Home, tmp_path: Path
) -> None:
    """It has the same labels. And engines remove images without a name along with what stands on them."""
    (tmp_path / "Dockerfile").write_text(f"FROM {base_image}\nRUN echo base\n")
    base = docker("build", "--quiet", str(tmp_path))
    project = make_project(MLproject=MLPROJECT.format("ls"), **{"python_env.yaml": SIX})
    environ = {"PROJRUN_DOCKER_BASE_IMAGE": base}
    built = projrun("env", "build", project, "--env-manager", "docker", environ=environ)
    key = Path(built.stdout.strip()).name
    (tmp_path / "Dockerfile").write_text(f"FROM projrun-environment:{key}\nRUN echo derived\n")
    derived = docker("build", "--quiet", str(tmp_path))
    try:
        assert docker("inspect", "--format", '{{index .Config.Labels "projrun.environment"}}', derived) == key
        found = images.find_environment_image(key)
        assert found and found.id != derived
        docker("rmi", derived)
        assert projrun("env", "remove", key).returncode == 0
        assert docker("inspect", "--format", "{{.Id}}", base) == base
        assert left_by_builds(home) == []
    finally:
        docker("rmi", "--force", base)


def test_labels_say_what_they_are_given() -> None:
    lock = Lock(manager="docker", files={}, python="3.11.7", facts={"image": "base", "platform": ""})
    text = render_standalone(lock, "python3", {"title": 'R&D "ü" $HOME \\ it\'s <b>\nFROM other'}, "/code")
    assert 'LABEL title="R&D \\"ü\\" \\$HOME \\\\ it\'s <b> FROM other"\n' in text
