"""No container outlives its run, however that ends; and what engines say becomes one line."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from projrun import engine
from projrun.disk import Home
from projrun.server.endpoint import Endpoint
from projrun.tracking import open_store
from tests.conftest import MakeProject, Projrun
from tests.containers.conftest import containers_of, docker, eventually, gone, runs_of
from tests.support.chaos import chaos_of_containers

SLEEPS = (
    "docker_env: {{image: {}}}\nentry_points:\n  main:\n    command: 'sleep 300 & touch started; sleep 300'\n"
)


@contextmanager
def running(project: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`projrun run` whose command has started."""
    null = subprocess.DEVNULL
    argv = [sys.executable, "-m", "projrun", "run", str(project)]
    with subprocess.Popen(argv, stdin=null, stdout=null, stderr=null, start_new_session=True) as supervisor:
        try:
            assert eventually((project / "started").exists)
            yield supervisor
        finally:
            supervisor.kill()


@pytest.fixture
def project(base_image: str, make_project: MakeProject) -> Path:
    return make_project(MLproject=SLEEPS.format(base_image))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_run_is_killed_and_its_container_goes(
    project: Path, projrun: Projrun, number: signal.Signals
) -> None:
    with running(project) as supervisor:
        supervisor.send_signal(number)
        assert supervisor.wait() == 128 + number
    (run,) = runs_of(projrun)
    assert run["status"] == "KILLED"
    assert gone(str(run["run_id"]))


def test_a_detached_run_is_waited_for_and_stopped(
    base_image: str, make_project: MakeProject, project: Path, projrun: Projrun
) -> None:
    entry = "docker_env: {image: %s}\nentry_points: {main: {command: 'echo inside; exit 4'}}\n"
    quick = make_project("quick", MLproject=entry % base_image)
    run_id = projrun("run", quick, "--detach").stdout.strip()
    assert projrun("runs", "wait", run_id).returncode == 4
    assert "inside" in projrun("runs", "logs", run_id).stdout
    slow = projrun("run", project, "--detach").stdout.strip()
    assert eventually((project / "started").exists)
    assert projrun("runs", "stop", slow).returncode == 0
    assert {run["status"] for run in runs_of(projrun)} == {"FAILED", "KILLED"}
    assert gone(run_id) and gone(slow)


@pytest.mark.usefixtures("way")
def test_the_container_goes_with_a_lost_supervisor(project: Path, projrun: Projrun) -> None:
    with running(project) as supervisor:
        run_id = str(runs_of(projrun)[0]["run_id"])
        assert containers_of(run_id)
        supervisor.kill()
        supervisor.wait()
        assert gone(run_id)
    assert runs_of(projrun)[0]["status"] == "FAILED"


def test_the_next_command_ends_what_a_lost_run_left(base_image: str, project: Path, projrun: Projrun) -> None:
    """The will is not executed when everything is killed at once: here, the container comes afterwards."""
    with running(project) as supervisor:
        run_id = str(runs_of(projrun)[0]["run_id"])
        supervisor.kill()
        supervisor.wait()
        assert gone(run_id)
        docker("run", "--detach", "--label", f"projrun.run={run_id}", base_image, "sleep", "300")
    assert runs_of(projrun)[0]["status"] == "FAILED"
    assert not containers_of(run_id)


def test_killed_at_random_moments_no_container_is_left(base_image: str, tmp_path: Path) -> None:
    chaos_of_containers(tmp_path, base_image, rounds=3, chance=random.Random())


def test_the_endpoint_for_containers_hears_no_other_network(base_image: str, home: Home) -> None:
    gateway = engine.find_gateway()
    device = engine.find_device(gateway)
    connect = "import socket, sys; socket.create_connection((sys.argv[1], sys.argv[2]), 3); print('heard')"
    other = f"projrun-test-{os.getpid()}"
    docker("network", "create", other)
    try:
        with closing(open_store(home)) as store, closing(Endpoint(store, gateway, device)) as endpoint:
            assert endpoint.url.startswith(f"http://{gateway}:")
            port = endpoint.url.rpartition(":")[2]
            heard = {}
            for network in ("bridge", other):
                argv = ["docker", "run", "--rm", "--network", network, base_image]
                argv += ["python3", "-c", connect, gateway, port]
                heard[network] = subprocess.run(argv, capture_output=True, text=True).stdout
    finally:
        docker("network", "rm", other)
    assert heard == {"bridge": "heard\n", other: ""}


@pytest.mark.parametrize(
    ("said", "told", "step"),
    [
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///docker.sock",
            "may not use the container engine",
            "group docker",
        ),
        (
            "Cannot connect to the Docker daemon. Is the docker daemon running?",
            "no container engine",
            "start",
        ),
        ("write /var/lib/docker/tmp/x: no space left on device", "disk is full", "free some space"),
        (
            "no matching manifest for linux/arm64/v8",
            "not made for this machine",
            "platform",
        ),
        ("exec /usr/bin/sh: exec format error", "not made for this machine", "platform"),
        ("manifest for python:9 not found: manifest unknown", "no such image", "name and tag"),
        (
            "pull access denied for x, repository does not exist",
            "refuses",
            "log in",
        ),
        ("unauthorized: authentication required", "registry refuses", "docker login"),
        (
            "Get https://r.example/v2/: dial tcp: lookup r.example: no such host",
            "reach",
            "network",
        ),
        (
            'Get "http://localhost:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
            "the registry cannot be reached",
            "network",
        ),
        (
            'Get "https://r.example/v2/x/manifests/1": unauthorized: access to the resource is denied',
            "registry refuses",
            "docker login",
        ),
        (
            'error during connect: Get "http://nowhere:2375/v1.50/x": dial tcp: lookup nowhere: no such host',
            "leads to no container engine",
            "unix:///PATH",
        ),
    ],
)
def test_what_engines_say_becomes_one_line_with_the_next_step(said: str, told: str, step: str) -> None:
    error = engine.engine_error(f"docker: Error response from daemon: {said}.\nSee 'docker run --help'.")
    assert told in error.message
    assert step in error.hint
    assert "\n" not in str(error)


def test_the_engine_is_that_of_the_docker_programs_context(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert engine.address() == engine.DEFAULT_ADDRESS
    elsewhere = "host=unix:///run/user/1000/docker.sock"
    docker("context", "create", "mine", "--docker", elsewhere)
    assert engine.address() == engine.DEFAULT_ADDRESS
    docker("context", "use", "mine")
    assert engine.address() == "unix:///run/user/1000/docker.sock"
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert engine.address() == engine.DEFAULT_ADDRESS
    monkeypatch.setenv("DOCKER_CONTEXT", "lost")
    with pytest.raises(engine.EngineError, match=r"'lost' is not there.*docker context ls"):
        engine.address()
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    assert engine.address() == "tcp://127.0.0.1:1"


def test_a_socket_without_an_engine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{place}/socket")
        listening.listen()

        def answer() -> None:
            with listening.accept()[0] as caller:
                caller.recv(1 << 16)
                caller.sendall(b"220 hello\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{place}/socket")
        with pytest.raises(engine.EngineError, match="is not a container engine"):
            engine.inspect_image("any")
        answering.join()
