"""The contract of `Backend`, as a driver that every kind passes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import cast

import msgspec
import pytest

from projrun.backends import KINDS, Backend, Handle, Job, Limits, handle_to_text, reclaim_stored
from projrun.disk import Home
from projrun.errors import LaunchError
from projrun.plan import Checkout, Descriptor, Launch, Plan, PlannedEnvironment, Source
from projrun.tracking.entities import HANDLE_TAG, SUPERVISOR_TAG
from projrun.tracking.supervision import enlist, settle_lost_runs, settled_store
from tests.backends import queue_backend
from tests.conftest import MakeProject

SECRET = "swordfish-9"

MakeJob = Callable[..., Job]


@pytest.fixture(params=[*KINDS, "queue"])
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "queue":
        return cast(Backend, queue_backend)
    return cast(Backend, import_module(KINDS[request.param]))


@pytest.fixture
def make_job(tmp_path: Path) -> MakeJob:
    """Make a job whose turn has come where there is a queue."""
    (tmp_path / "turn").touch()

    def make(command: str, *, launch: Launch = Launch(), limits: Limits = Limits(), **planned: object) -> Job:  # noqa: B008
        source = Source(kind="local", uri=str(tmp_path))
        environment = PlannedEnvironment(manager="local", descriptor=Descriptor(kind="none"))
        plan = Plan(source=source, project="p", entry_point="main", command=command, environment=environment)
        return Job(
            run_id=os.urandom(16).hex(),
            plan=msgspec.structs.replace(plan, **planned),
            launch=launch,
            checkout=Checkout(source=source, root=tmp_path, directory=tmp_path),
            log=tmp_path / "output.log",
            masks=(SECRET,),
            limits=limits,
        )

    return make


def start(backend: Backend, job: Job) -> Handle:
    backend.warm_up(job.plan)
    return backend.start(backend.prepare(job))


def test_a_job_runs_to_its_end(backend: Backend, make_job: MakeJob) -> None:
    job = make_job(
        'echo "$WORD in $PWD"; echo $THEIRS >&2; exit 7',
        launch=Launch(variables={"WORD": "hello", "THEIRS": SECRET}),
    )
    handle = start(backend, job)
    end = backend.wait(handle, "ended")
    assert (end.phase, end.exit_code) == ("ended", 7)
    assert backend.poll(handle) == backend.wait(handle, "running") == end, "it stays until it is reclaimed"
    assert backend.cancel(handle, signal.SIGTERM) == end
    log = backend.logs(handle).read_text()
    assert f"hello in {job.checkout.directory}" in log
    assert SECRET not in log
    backend.reclaim(handle)
    backend.reclaim(handle)


def test_a_running_job_is_asked_for_and_cancelled(
    backend: Backend, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job("trap 'exit 5' TERM; touch up; while :; do sleep 0.01; done")
    handle = start(backend, job)
    assert backend.wait(handle, "running").phase == "running"
    while not (tmp_path / "up").exists():
        time.sleep(0.01)
    assert backend.poll(handle).phase == backend.wait(handle, "ended", 0.05).phase == "running"
    assert backend.cancel(handle, signal.SIGTERM).exit_code == 5
    backend.reclaim(handle)


def test_a_job_that_heeds_no_signal_is_killed_after_its_grace(
    backend: Backend, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job("trap '' TERM INT; touch up; while :; do sleep 0.01; done", limits=Limits(grace_s=0.1))
    handle = start(backend, job)
    while not (tmp_path / "up").exists():
        backend.poll(handle)
        time.sleep(0.01)
    began = time.monotonic()
    assert backend.cancel(handle, signal.SIGINT).exit_code == 128 + signal.SIGKILL
    assert time.monotonic() - began < 5
    backend.reclaim(handle)


@pytest.mark.parametrize("started", [True, False])
def test_reclaiming_leaves_nothing_of_a_job(
    backend: Backend, make_job: MakeJob, tmp_path: Path, started: bool
) -> None:
    prepared = backend.prepare(make_job("echo $$ >up; exec sleep 600"))
    if started:
        handle = backend.start(prepared)
        while not (tmp_path / "up").exists() or not (tmp_path / "up").read_text():
            backend.poll(handle)
            time.sleep(0.01)
    backend.reclaim(prepared.handle)
    if started:
        pid = int((tmp_path / "up").read_text())
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    else:
        assert not (tmp_path / "up").exists()


def test_two_jobs_of_one_process_do_not_meet(backend: Backend, make_job: MakeJob) -> None:
    handles = [start(backend, make_job(f"exit {code}")) for code in (3, 4)]
    assert [backend.wait(handle, "ended").exit_code for handle in handles] == [3, 4]
    for handle in handles:
        backend.reclaim(handle)


def test_a_missing_program_is_told_with_its_hint(backend: Backend, make_job: MakeJob) -> None:
    job = make_job("true", programs={"no-such-program": "install it"})
    prepared = backend.prepare(job)
    with pytest.raises(LaunchError, match="no-such-program"):
        backend.poll(backend.start(prepared))
    backend.reclaim(prepared.handle)


def test_a_handle_holds_no_secret_and_is_plain_data(backend: Backend, make_job: MakeJob) -> None:
    job = make_job("true", launch=Launch(variables={"THEIRS": SECRET}), variables={"THEIRS": "***"})
    handle = start(backend, job)
    backend.wait(handle, "ended")
    text = msgspec.json.encode(handle)
    assert SECRET.encode() not in text
    assert msgspec.json.decode(text, type=Handle) == handle
    backend.reclaim(handle)


QUEUED_RUN = """
import sys, threading, time
from pathlib import Path
import projrun
from projrun import backends
backends.KINDS["queue"] = "tests.backends.queue_backend"
project = Path(sys.argv[1])
def look():
    from projrun.disk import home_from
    from projrun.backends import reclaim_stored
    from projrun.tracking.supervision import settled_store
    store = settled_store(home_from(), reclaim_stored)
    while not (runs := store.search_runs(["0"])[0]) or "projrun.environment.key" not in runs[0].tags:
        time.sleep(0.01)
    time.sleep(0.2)
    print(store.get_run(runs[0].run_id).status)
    (project / "turn").touch()
    while not (project / "up").exists():
        time.sleep(0.01)
    time.sleep(0.2)
    print(store.get_run(runs[0].run_id).status)
    (project / "down").touch()
looking = threading.Thread(target=look)
looking.start()
print(projrun.run(str(project), env_manager="local", backend="queue").get_status())
looking.join()
"""


def test_a_run_in_a_queue_is_not_running(make_project: MakeProject) -> None:
    command = "touch up; while [ ! -e down ]; do sleep 0.01; done"
    project = make_project(MLproject=f"entry_points: {{main: {{command: '{command}'}}}}")
    done = subprocess.run(
        [sys.executable, "-c", QUEUED_RUN, str(project)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["SCHEDULED", "RUNNING", "FINISHED"], done.stderr


def test_a_job_of_a_killed_process_is_reclaimed_by_its_stored_handle(
    backend: Backend, make_job: MakeJob, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    reclaimed: list[Handle] = []
    monkeypatch.setattr(backend, "reclaim", reclaimed.append)
    monkeypatch.setitem(KINDS, "queue", queue_backend.__name__)
    kind = "queue" if backend.QUEUES else "local"
    with closing(settled_store(home, reclaim_stored)) as store:
        supervision = enlist(home, store, 0)
        lost, other = (store.create_run("0", tags={SUPERVISOR_TAG: supervision.name}) for _ in range(2))
        handle = Handle(kind, lost.run_id, "job-7", "/log")
        for run in (lost, other):
            store.log_batch(run.run_id, tags={HANDLE_TAG: handle_to_text(handle)})
        supervision.lock.release()
        settle_lost_runs(home, store, reclaim_stored)
        assert {run.status for run in store.search_runs(["0"])[0]} == {"FAILED"}
    assert reclaimed == [handle], "the handle of another run is left alone"


@pytest.mark.parametrize("text", ["", "{}", '{"backend":"gone","run_id":"1","id":"x","log":"/log"}'])
def test_a_handle_that_is_not_ours_is_left_alone(text: str) -> None:
    reclaim_stored("1", text)
