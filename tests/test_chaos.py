"""Test runs on a machine on which things fail meanwhile."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Projrun
from tests.support.chaos import chaos, chaos_of_sources
from tests.support.git_server import make_upstream

LOCAL = ("--env-manager", "local")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found through /proc")
def test_killed_at_random_moments_nothing_is_left(tmp_path: Path) -> None:
    chaos(tmp_path, rounds=6, chance=random.Random())


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found through /proc")
def test_killed_while_a_tree_is_kept_it_is_whole_or_not_there(tmp_path: Path) -> None:
    chaos_of_sources(tmp_path, rounds=2, chance=random.Random())


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


def test_a_cache_without_room_for_a_repository(projrun: Projrun, tmp_path: Path, small_disk: Path) -> None:
    upstream = make_upstream(tmp_path / "served.git")
    upstream.commit(large=secrets.token_hex(3_000_000))
    uri = f"git+{upstream.bare.as_uri()}@main"
    done = projrun("run", uri, *LOCAL, environ={"PROJRUN_CACHE_DIR": str(small_disk / "cache")})
    assert done.returncode == 125
    assert "Traceback" not in done.stderr and "a bug" not in done.stderr
    assert "free some space" in done.stderr.splitlines()[-1]


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


def test_a_store_that_has_no_room_to_be_made(
    projrun: Projrun, make_project: MakeProject, small_disk: Path
) -> None:
    (small_disk / "fill").write_bytes(bytes(2 * 2**20 - 100_000))
    project = make_project(MLproject="entry_points: {main: {command: 'true'}}")
    done = projrun("run", project, *LOCAL, environ={"PROJRUN_HOME": str(small_disk)})
    assert done.returncode == 125
    (line,) = done.stderr.splitlines()
    assert "is full; free some space" in line
    (small_disk / "fill").unlink()
    assert projrun("run", project, *LOCAL, environ={"PROJRUN_HOME": str(small_disk)}).returncode == 0


def as_nobody() -> list[str]:
    """The beginning of a command that root may not do: root may write everywhere."""
    if os.getuid() != 0:
        return []
    if (program := shutil.which("setpriv")) is None:
        pytest.skip("this is root, and there is no setpriv")
    prefix = [program, "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    readable = [*prefix, sys.executable, "-c", "import projrun, click"]
    if subprocess.run(readable, capture_output=True).returncode:
        pytest.skip("nobody may not read this installation of projrun")
    return prefix


@pytest.mark.parametrize("read_only", ["data", "cache"])
def test_a_read_only_home(read_only: str) -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own directories are the user's alone
        root = Path(place)
        root.chmod(0o755)
        (root / "MLproject").write_text("entry_points: {main: {command: 'true'}}")
        (root / "python_env.yaml").write_text("dependencies: []")
        for name in ("data", "cache"):
            (root / name).mkdir()
            (root / name).chmod(0o555 if name == read_only else 0o777)
        environ = {"PROJRUN_HOME": str(root / "data"), "PROJRUN_CACHE_DIR": str(root / "cache"), "HOME": "/"}
        argv = [*as_nobody(), sys.executable, "-m", "projrun", "run", str(root)]
        done = subprocess.run(argv, env={**os.environ, **environ}, capture_output=True, text=True)
        assert done.returncode == 125
        assert "Traceback" not in done.stderr
        assert f"{root / read_only}" in done.stderr.splitlines()[-1]


CLOCK = """
import os, time
def jumping(real, unit):
    return lambda: real() + (int(open(os.environ["CLOCK_FILE"]).read() or 0) * unit)
time.time, time.time_ns = jumping(time.time, 1), jumping(time.time_ns, 10**9)
"""
"""As sitecustomize: the wall clock of this Python is off by what a file says, which may change."""


@pytest.mark.parametrize("jump_s", [-86400, 86400])
def test_a_clock_that_jumps_during_a_run(
    jump_s: int, projrun: Projrun, make_project: MakeProject, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    command = f"echo before; echo {jump_s} > {clock}; sleep 0.3; echo after >&2"
    project = make_project(MLproject=f"entry_points: {{main: {{command: '{command}'}}}}")
    environ = {"PYTHONPATH": str(tmp_path), "CLOCK_FILE": str(clock)}
    done = projrun("run", project, *LOCAL, "--timeout", "1h", environ=environ)
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(projrun("runs", "list", "--json").stdout)
    assert run["status"] == "FINISHED"
    assert run["end_time"] >= run["start_time"]
    shown = json.loads(projrun("runs", "show", run["run_id"], "--json").stdout)
    assert 0.3 <= shown["record"]["outcome"]["usage"]["wall_s"] < 3600
    assert projrun("runs", "logs", run["run_id"], "--stream", "err").stdout == "after\n"
    later = projrun("run", project, *LOCAL)  # with a clock that is right again
    assert later.returncode == 0


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
