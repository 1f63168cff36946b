"""A run is three calls, fetch, make_plan and perform; a detached supervisor is handed a plan."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
import pytest

from projrun import api
from projrun.backends import reclaim_stored
from projrun.disk import Home
from projrun.record import RECORD_ARTIFACT, Record, from_json
from projrun.request import Request
from projrun.runner import detached
from projrun.runner.planner import make_plan
from projrun.runner.run import fetch, perform
from projrun.tracking import Store
from projrun.tracking.entities import Run
from projrun.tracking.recorder import Recorder, identify_plan, identify_record, identify_request
from projrun.tracking.supervision import settled_store, supervising
from tests.conftest import MakeProject
from tests.support.git_server import GitServer

PROJECT = """
entry_points:
  main:
    parameters: {x: {type: string, default: "0"}}
    command: "echo value {x}"
  gate:
    command: >-
      echo $PWD; echo $TOKEN; touch GATE/up; while [ ! -e GATE/open ]; do sleep 0.02; done; cat MLproject
"""
SECRET = "swordfish-9"


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    gate = tmp_path / "gate"
    gate.mkdir()
    return gate


@pytest.fixture
def mlproject(gate: Path) -> str:
    return PROJECT.replace("GATE", str(gate))


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


def finished(run_id: str, home: Home) -> Run:
    with closing(settled_store(home, reclaim_stored)) as store:
        return detached.wait(store, home, run_id)


def log_of(store: Store, run_id: str) -> str:
    with store.open_artifact(run_id, "projrun/output.log") as file:
        return file.read().decode()


def record_of(store: Store, run_id: str) -> Record:
    with store.open_artifact(run_id, RECORD_ARTIFACT) as file:
        return from_json(file.read())


def checkouts(home: Home) -> list[Path]:
    return [path for path in home.checkouts.glob("*") if path.is_dir()] if home.checkouts.exists() else []


def test_one_fetch_serves_the_plans_of_a_sweep(git_server: GitServer, mlproject: str, home: Home) -> None:
    upstream = git_server.upstream()
    upstream.commit(MLproject=mlproject)
    request = Request(uri=f"{git_server.url}/project.git", env_manager="local", experiment_name="sweep")
    with ExitStack() as stack:
        store = stack.enter_context(closing(settled_store(home, reclaim_stored)))
        supervision = stack.enter_context(supervising(home, store))
        checkout, captured = fetch(request, home, stack)
        asked = len(git_server.requests)
        records = []
        for value in "123":
            one = msgspec.structs.replace(request, parameters={"x": value}, run_name=f"x={value}")
            planned = make_plan(one, checkout, captured, home)
            run = Recorder(store, identify_request(one), supervision.name).open(planned.plan)
            records.append(perform(store, run, planned, home))
        assert len(git_server.requests) == asked
        assert checkouts(home) == [checkout.root.parent]
        for value, record in zip("123", records, strict=True):
            assert record.plan.parameters == {"x": value}
            assert record.plan.source.commit == upstream.head
            assert record.closure == captured.closure
            assert record_of(store, record.run_id) == record
            assert log_of(store, record.run_id) == f"value {value}\n"
            run = store.get_run(record.run_id)
            assert (run.run_name, run.status, run.params) == (f"x={value}", "FINISHED", {"x": value})
    assert not checkouts(home)


@pytest.mark.parametrize("keep", [False, True])
def test_a_detached_run_fetches_once_and_keeps_its_checkout_to_the_end(
    git_server: GitServer, mlproject: str, gate: Path, home: Home, keep: bool
) -> None:
    upstream = git_server.upstream()
    upstream.commit(MLproject=mlproject)
    request = Request(
        uri=f"{git_server.url}/project.git",
        entry_point="gate",
        env_manager="local",
        keep=keep,
        variables={"TOKEN": SECRET},
    )
    run_id, supervisor = detached.start(request, home, silent=True)
    assert supervisor is not None
    asked = len(git_server.requests)
    git_server.requests.clear()
    wait_for(gate / "up")
    command_line = Path(f"/proc/{supervisor.pid}/cmdline").read_bytes()
    assert b"--plan-fd" in command_line and SECRET.encode() not in command_line
    # What claims a checkout removes those whose owner is gone.
    with ExitStack() as stack:
        fetch(Request(uri=request.uri, version=upstream.head, offline=True), home, stack)
        assert len(checkouts(home)) == 2
    (gate / "open").touch()
    assert finished(run_id, home).status == "FINISHED"
    supervisor.wait()
    assert asked and not git_server.requests
    assert len(checkouts(home)) == keep
    with closing(settled_store(home, reclaim_stored)) as store:
        directory, token, *rest = log_of(store, run_id).splitlines()
        assert (Path(directory).parent.parent, token) == (home.checkouts, "***")
        assert "\n".join(rest).strip() == mlproject.strip()
        assert record_of(store, run_id).closure is not None
    for file in (*home.data.rglob("*"), *home.cache.rglob("*")):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()


DETACH = """
import os, sys
from projrun.disk import home_from
from projrun.request import Request
from projrun.runner.detached import start
run_id, _ = start(Request(uri=sys.argv[1], entry_point="gate", env_manager="local"), home_from(), silent=True)
print(run_id, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_detached_run_of_an_archive_outlives_its_killed_parent(
    tmp_path: Path, mlproject: str, gate: Path, home: Home
) -> None:
    archive = tmp_path / "project.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("project/MLproject", mlproject)
    parent = subprocess.run([sys.executable, "-c", DETACH, archive], capture_output=True, text=True)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    wait_for(gate / "up")
    with ExitStack() as stack:
        fetch(Request(uri=str(archive)), home, stack)
        assert len(checkouts(home)) == 2
    (gate / "open").touch()
    assert finished(parent.stdout.strip(), home).status == "FINISHED"


KILLED_HALFWAY = """
import os, sys
from projrun.disk import home_from
from projrun.request import Request
from projrun.runner import detached
started = detached.start_detached
def start(*arguments, **options):
    process = started(*arguments, **options)
    os.kill(os.getpid(), 9)
detached.start_detached = start
detached.start(Request(uri=sys.argv[1], env_manager="local"), home_from(), silent=True)
"""


def test_a_parent_that_is_killed_before_it_wrote_the_plan_leaves_a_failed_run(
    make_project: MakeProject, mlproject: str, home: Home
) -> None:
    project = make_project(MLproject=mlproject)
    killed = subprocess.run([sys.executable, "-c", KILLED_HALFWAY, project], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with closing(settled_store(home, reclaim_stored)) as store:
        (run,), _ = store.search_runs(["0"])
        assert detached.wait(store, home, run.run_id).status == "FAILED"
    assert not list(home.supervisors.iterdir())


def test_a_plan_that_fails_gives_the_id_of_a_failed_run(
    make_project: MakeProject, mlproject: str, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project(MLproject=mlproject)
    for request in (
        Request(uri=str(project), entry_point="nowhere", env_manager="local"),
        Request(uri=str(project / "missing"), env_manager="local"),
        Request(uri=str(project), env_manager="local", parameters={"a=b": "a name that MLflow refuses"}),
    ):
        run_id, supervisor = detached.start(request, home, silent=True)
        assert supervisor is None
        run = finished(run_id, home)
        assert run.status == "FAILED"
        assert run.tags["projrun.reason"] in capsys.readouterr().err
    assert not list(home.supervisors.iterdir())


def test_a_path_that_is_not_utf8_is_handed_over() -> None:
    path = Path(os.fsdecode(b"/tmp/\xff"))
    assert detached._decode_path(Path, detached._encode_path(path)) == path


def test_a_plan_and_a_record_give_the_identity_that_their_request_gave(
    make_project: MakeProject, mlproject: str, home: Home
) -> None:
    project = make_project(MLproject=mlproject)
    request = Request(uri=str(project), env_manager="local")
    run_id = api.run(str(project), env_manager="local").run_id
    with closing(settled_store(home, reclaim_stored)) as store:
        record = record_of(store, run_id)
    assert identify_request(request) == identify_plan(record.plan, record.root) == identify_record(record)
