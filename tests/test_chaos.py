"""What may happen to a machine while runs go on."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from projrun.home import Home
from tests.chaos import chaos
from tests.conftest import MakeProject, Projrun

LOCAL = ("--env-manager", "local")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found through /proc")
def test_killed_at_random_moments_nothing_is_left(tmp_path: Path) -> None:
    chaos(tmp_path, rounds=6, chance=random.Random())


def test_fifty_runs_of_one_project_at_once(projrun: Projrun, make_project: MakeProject) -> None:
    project = make_project(MLproject="entry_points: {main: {command: 'true'}}")
    argv = [sys.executable, "-m", "projrun", "run", str(project), *LOCAL]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [subprocess.Popen(argv, **quiet) for _ in range(50)]  # type: ignore[call-overload]
    assert [process.wait() for process in started] == [0] * 50
    listed = json.loads(projrun("runs", "list", "--json").stdout)
    assert [run["status"] for run in listed] == ["FINISHED"] * 50


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount", path="/bin:/usr/bin:/sbin")
    options = ["-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if mount is None or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_store_on_a_full_disk(projrun: Projrun, make_project: MakeProject, small_disk: Path) -> None:
    command = "head -c 5000000 /dev/zero; exit 4"
    project = make_project(MLproject=f"entry_points: {{main: {{command: '{command}'}}}}")
    environ = {"PROJRUN_HOME": str(small_disk)}
    done = projrun("run", project, *LOCAL, environ=environ)
    assert done.returncode in (4, 125)
    assert "Traceback" not in done.stderr and "a bug" not in done.stderr
    assert "is not complete" in done.stderr
    for log in small_disk.rglob("output.log"):
        log.unlink()
    listed = projrun("runs", "list", "--json", environ=environ)
    assert [run["status"] for run in json.loads(listed.stdout)] == ["FAILED"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_read_only_home(projrun: Projrun, make_project: MakeProject, home: Home) -> None:
    home.data.mkdir(parents=True)
    home.data.chmod(0o500)
    done = projrun("run", make_project(MLproject="entry_points: {main: {command: 'true'}}"), *LOCAL)
    assert done.returncode == 125
    assert len(done.stderr.splitlines()) == 1


class _Dying(BaseHTTPRequestHandler):
    """A tracking server that dies when the first run is made."""

    def handle_one_request(self) -> None:
        self.close_connection = True
        self.connection.close()


def test_a_tracking_server_that_dies_is_one_clear_line(projrun: Projrun, make_project: MakeProject) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Dying)

    def answer_once_and_die() -> None:
        server.handle_request()
        server.server_close()

    thread = threading.Thread(target=answer_once_and_die)
    thread.start()
    environ = {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{server.server_port}",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "no_proxy": "127.0.0.1",
    }
    project = make_project(MLproject="entry_points: {main: {command: 'true'}}")
    done = projrun("run", project, *LOCAL, environ=environ)
    thread.join()
    assert done.returncode == 125
    assert "Traceback" not in done.stderr
