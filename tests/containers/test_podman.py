"""Podman instead of Docker, through the API of Docker that its service speaks: what users need most."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from projrun.environments.docker import images
from tests.conftest import MakeProject, Projrun
from tests.containers import slim_image
from tests.containers.conftest import artifact, docker, eventually, gone, runs_of

IMAGE = "projrun-test/podman:base"
SETTINGS = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
"""For machines without systemd and without the right to raise limits."""
CLIENT = """
import os, urllib.request
address = os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/get?run_id=" + os.environ["MLFLOW_RUN_ID"]
headers = {"Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"]}
print(urllib.request.urlopen(urllib.request.Request(address, headers=headers)).status)
open("made.txt", "w").close()
"""


def unusable() -> str:
    """Why Podman cannot run containers here, or nothing."""
    for program in ("podman", "docker", "runc", "catatonit"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return "" if os.getuid() == 0 else "without root, Podman takes a setup that tests cannot make"


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """Address of a service with a store of its own, which has the base image."""
    problem = unusable()
    if problem and os.environ.get("PROJRUN_TEST_ENGINES") == "1":
        pytest.fail(problem)
    if problem:
        pytest.skip(problem)
    place = Path(tempfile.mkdtemp(prefix="podman-"))  # pytest's are too long for the name of a socket
    settings, address = place / "containers.conf", f"unix://{place}/socket"
    settings.write_text(SETTINGS)
    argv = ["podman", "--root", str(place / "root"), "--runroot", str(place / "run")]
    environ = {**os.environ, "CONTAINERS_CONF": str(settings)}
    with (place / "log").open("wb") as log, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", address)
        with subprocess.Popen(
            [*argv, "system", "service", "--time", "0", address], env=environ, stderr=log
        ) as it:
            try:
                assert eventually((place / "socket").exists), (place / "log").read_text()
                slim_image.make(IMAGE)
                yield address
            finally:
                it.terminate()
    subprocess.run(["umount", str(place / "root" / "overlay")], capture_output=True)
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def on_podman(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", service)
    monkeypatch.setenv("PROJRUN_DOCKER_BASE_IMAGE", IMAGE)


def docker_env(command: str) -> str:
    section = f"docker_env: {{image: '{IMAGE}', volumes: ['./data:/data']}}\n"
    return f"{section}entry_points: {{main: {{command: {command}}}}}\n"


def test_a_project_runs_in_its_image(on_podman: None, projrun: Projrun, make_project: MakeProject) -> None:
    mlproject = docker_env("'pwd; cat /data/word; python client.py; exit 125'")
    project = make_project(MLproject=mlproject, **{"client.py": CLIENT, "data/word": "there\n"})
    for arguments in ((), ("--build-image", "-A", "user=0")):
        done = projrun("run", project, *arguments)
        assert done.stdout.split() == ["/mlflow/projects/code", "there", "200"], done.stderr
        assert done.returncode == 125
        assert (project / "made.txt").exists()
    run = runs_of(projrun)[0]
    assert run["exit_code"] == 125
    assert gone(str(run["run_id"]))


def test_any_project_runs_in_an_image_that_is_made_for_it(
    on_podman: None, projrun: Projrun, make_project: MakeProject
) -> None:
    version = ".".join(map(str, sys.version_info[:2]))
    command = "python -c 'import six; print(six.__version__)'"
    project = make_project(
        MLproject=f"python_env: p.yaml\nentry_points: {{main: {{command: {command}}}}}\n",
        **{"p.yaml": f"python: '{version}'\ndependencies: [six==1.16.0]\n"},
    )
    done = projrun("run", project, "--env-manager", "docker")
    assert done.stdout == "1.16.0\n", done.stderr
    environment = json.loads(artifact(runs_of(projrun)[0], "projrun/record.json"))["environment"]
    (listed,) = json.loads(projrun("env", "list", "--json").stdout)
    assert (listed["key"], listed["complete"]) == (environment["key"], True)
    assert listed["image"].startswith("sha256:")
    assert projrun("env", "remove", listed["key"]).stdout == f"removed docker/{listed['key']}\n"
    assert not docker("images", "--quiet", "--filter", "label=projrun.environment")


def test_an_image_of_its_own_is_in_no_registry(on_podman: None) -> None:
    """Podman has a digest for it all the same, by which nobody could pull it."""
    name = "localhost/projrun-test/own:1"
    slim_image.make(name, python=False)
    try:
        assert docker("inspect", "--format", "{{.RepoDigests}}", name) != "[]"
        image = images.find_image(name)
        assert image and image.pin == image.id
    finally:
        docker("rmi", name)


def test_an_interrupted_run_leaves_no_container(
    on_podman: None, projrun: Projrun, make_project: MakeProject
) -> None:
    project = make_project(
        MLproject=docker_env("'sleep 300 & touch started; sleep 300'"), **{"data/word": ""}
    )
    null = subprocess.DEVNULL
    argv = [sys.executable, "-m", "projrun", "run", str(project)]
    with subprocess.Popen(argv, stdin=null, stdout=null, stderr=null, start_new_session=True) as supervisor:
        try:
            assert eventually((project / "started").exists)
            supervisor.send_signal(signal.SIGINT)
            assert supervisor.wait() == 130
        finally:
            supervisor.kill()
    (run,) = runs_of(projrun)
    assert run["status"] == "KILLED"
    assert gone(str(run["run_id"]))
