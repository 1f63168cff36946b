"""Runs in control groups of their own: what neither group nor environment betrays ends all the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from projrun.errors import LaunchError
from projrun.processes.cgroups import (
    Cgroup,
    _kill_each,
    command_in_cgroup,
    command_outside_runs,
    new_cgroup,
    own_cgroup_directory,
    remove_abandoned,
)
from projrun.processes.child import TOKEN_VARIABLE, Child
from tests.conftest import MakeProject, Projrun
from tests.processes.test_child import ends, is_alive, wait_for

LOCAL = ("--env-manager", "local")
DAEMON = """
import os, sys, time
if len(sys.argv) > 2:
    while time.process_time() < 0.3: pass
    open(sys.argv[1] + '.new', 'w').write(str(os.getpid()))
    os.rename(sys.argv[1] + '.new', sys.argv[1])
    time.sleep(600)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3): os.dup2(null, fd)
        os.execve(sys.executable, [sys.executable, *sys.argv, 'daemon'], {})
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1]): time.sleep(0.01)
print('started', flush=True)
"""
"""A program that leaves a daemon behind which has nothing of it: no group, no parent, no variable."""


@pytest.fixture(autouse=True)
def possible() -> None:
    if (cgroup := new_cgroup()) is None:
        pytest.skip("no control group of version 2 can be made here")
    shown = subprocess.run(
        command_in_cgroup(cgroup.path, ["cat", "/proc/self/cgroup"], os.environ),
        capture_output=True,
        text=True,
    )
    cgroup.end()
    if cgroup.path.name not in shown.stdout:
        pytest.skip("no process can be put into a control group here")


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    made = new_cgroup()
    assert made is not None
    yield made
    made.end()


@pytest.fixture
def daemon(tmp_path: Path) -> Path:
    program = tmp_path / "daemon.py"
    program.write_text(DAEMON)
    return program


def contained(argv: list[str], log: Path, environ: dict[str, str] | None = None) -> Child:
    return Child(argv, cwd=None, environ=environ, log=log, contained=True, masks=())


def place_of(pid: int | str) -> Path:
    path = next(
        line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::")
    )
    own = own_cgroup_directory()
    assert own is not None
    return own / Path(path).name


def test_a_process_is_in_its_group_before_it_does_anything(tmp_path: Path) -> None:
    assert contained(["bash", "-c", "(cat /proc/self/cgroup)"], tmp_path / "log").wait() == 0
    (said,) = [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("0::")]
    assert Path(said).name.startswith("projrun-run-")
    own = own_cgroup_directory()
    assert own is not None and not (own / Path(said).name).exists()


def test_a_daemon_that_has_nothing_of_its_parent_ends_with_it(tmp_path: Path, daemon: Path) -> None:
    pid_file = tmp_path / "pid"
    supervised = contained([sys.executable, str(daemon), str(pid_file)], tmp_path / "log")
    assert supervised.wait() == 0
    assert not is_alive(int(pid_file.read_text()))
    assert supervised.usage is not None
    assert supervised.usage.cpu_s >= 0.3  # nobody waited for it


def test_such_a_daemon_ends_when_the_command_is_stopped(tmp_path: Path, daemon: Path) -> None:
    pid_file = tmp_path / "pid"
    command = f"{sys.executable} {daemon} {pid_file}; sleep 600"
    supervised = contained(["bash", "-c", command], tmp_path / "log")
    pid = int(wait_for(pid_file))
    assert supervised.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert not is_alive(pid)


@pytest.fixture
def project(make_project: MakeProject, tmp_path: Path) -> Path:
    command = f"{sys.executable} daemon.py {tmp_path}/pid && sleep 600"
    return make_project(
        MLproject=f"entry_points: {{main: {{command: '{command}'}}}}", **{"daemon.py": DAEMON}
    )


def supervisor_of(project: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "projrun", "run", str(project), *LOCAL]
    supervisor = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == "started\n"
    return supervisor


def test_such_a_daemon_ends_with_a_supervisor_that_is_killed(project: Path, tmp_path: Path) -> None:
    with supervisor_of(project) as supervisor:
        pid = int((tmp_path / "pid").read_text())
        supervisor.kill()
        assert ends(pid)


def test_what_a_killed_supervisor_and_its_watcher_left_ends_with_the_next_command(
    project: Path, tmp_path: Path, projrun: Projrun
) -> None:
    with supervisor_of(project) as supervisor:
        pid = int((tmp_path / "pid").read_text())
        place = place_of(pid)
        for watcher in children_of(supervisor.pid):
            if "projrun-watcher" in Path(f"/proc/{watcher}/cmdline").read_text():
                os.kill(watcher, signal.SIGKILL)
        supervisor.kill()
        supervisor.wait()
        assert is_alive(pid) and place.exists()
        (run,) = json.loads(projrun("runs", "list", "--json").stdout)
    assert run["status"] == "FAILED"
    assert ends(pid) and not place.exists()


def children_of(pid: int) -> list[int]:
    listed = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [other for other in listed if parent_of(other) == pid]


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_a_group_of_a_living_supervisor_is_not_abandoned(cgroup: Cgroup) -> None:
    with subprocess.Popen(command_in_cgroup(cgroup.path, ["sleep", "600"], os.environ)) as sleeper:
        wait_until_entered(cgroup.path)
        remove_abandoned(cgroup.path.parent)
        assert sleeper.poll() is None
        cgroup.end()
        assert sleeper.wait() == -signal.SIGKILL


def wait_until_entered(place: Path) -> None:
    while not (place / "cgroup.procs").read_text():
        time.sleep(0.01)


def test_a_kernel_that_cannot_kill_a_group_at_once(cgroup: Cgroup) -> None:
    inner = cgroup.path / "inner"
    inner.mkdir()
    with subprocess.Popen(command_in_cgroup(inner, ["sleep", "600"], os.environ)) as sleeper:
        wait_until_entered(inner)
        _kill_each(cgroup.path)
        assert sleeper.wait() == -signal.SIGKILL


def test_a_command_that_may_not_enter_runs_all_the_same(tmp_path: Path) -> None:
    argv = command_in_cgroup(tmp_path / "nowhere", ["echo", "a b"], os.environ)
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("a b\n", "")


def test_a_missing_program_is_a_clear_error_still(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="cannot start 'no-such-program'"):
        contained(["no-such-program"], tmp_path / "log")


@pytest.mark.parametrize("odd", [{}, {"A.B": "1", "BASH_FUNC_f%%": "() {  echo f\n}"}], ids=["plain", "odd"])
def test_variables_arrive_as_they_are(tmp_path: Path, odd: dict[str, str]) -> None:
    (tmp_path / "env.sh").write_text("echo read once\n")
    environ = {"PATH": os.environ["PATH"], "BASH_ENV": str(tmp_path / "env.sh"), "PWD": "/wrong", "X": "a\nb"}
    argv = ["bash", "-c", "env -0 | sort -z"]
    said = []
    for place in (False, True):
        log = tmp_path / f"log-{place}"
        child = Child(argv, cwd=tmp_path, environ={**environ, **odd}, log=log, contained=place, masks=())
        assert child.wait() == 0
        lines = log.read_bytes().split(b"\0")
        said.append([line for line in lines if not line.startswith(TOKEN_VARIABLE.encode())])
    assert said[0] == said[1]
    assert bool(odd) == (b"A.B=1" in b"".join(said[1]))


def test_what_is_to_outlive_a_run_starts_outside_of_it(cgroup: Cgroup) -> None:
    script = (
        "import os, subprocess\n"
        "from projrun.processes.cgroups import new_cgroup, command_outside_runs\n"
        "print(new_cgroup().path.parent.name)\n"
        "subprocess.run(command_outside_runs(['cat', '/proc/self/cgroup'], os.environ))\n"
    )
    argv = command_in_cgroup(cgroup.path, [sys.executable, "-c", script], os.environ)
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert cgroup.path.name in said
    own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    assert own in said
    assert command_outside_runs(["true"], os.environ) == ["true"]
