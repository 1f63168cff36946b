"""A tracking server that loses answers, or is away when a run ends: nothing twice, nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.errors import TrackingError
from projrun.record import OUTPUT_ARTIFACT, RECORD_ARTIFACT
from projrun.server.endpoint import Endpoint
from projrun.tracking import Store, open_store
from projrun.tracking.entities import Metric
from projrun.tracking.rest import RestStore
from projrun.tracking.rest.outbox import list_outboxes
from tests.conftest import MakeProject, Projrun
from tests.support.flaky_proxy import Flaky, flaky_proxy

PROJECT = "name: far\nentry_points:\n  main:\n    command: '{}'\n"


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Store]:
    """The store behind the team's server."""
    with closing(open_store(Home(tmp_path / "team-cache", tmp_path / "team-data"))) as store:
        yield store


@pytest.fixture
def proxy(team: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flaky]:
    with closing(Endpoint(team)) as endpoint, flaky_proxy(endpoint.url) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", endpoint.token)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        yield proxy


@pytest.fixture
def remote(home: Home, proxy: Flaky) -> Iterator[Store]:
    with closing(open_store(home, proxy.url)) as store:
        yield store


def runs_of(team: Store) -> list[str]:
    found, _ = team.search_runs([], run_view_type="ALL")
    return [run.run_id for run in found]


def test_a_run_whose_creation_was_not_answered_is_there_once(
    remote: Store, proxy: Flaky, team: Store
) -> None:
    proxy.lost = {"runs/create": 2}
    run_id = remote.create_run("0", run_name="once").run_id
    assert runs_of(team) == [run_id]


def test_a_run_that_was_not_made_is_made_by_the_next_try(remote: Store, proxy: Flaky, team: Store) -> None:
    proxy.is_away = True
    with pytest.raises(TrackingError) as caught:
        remote.create_run("0")
    assert caught.value.error_code == "TEMPORARILY_UNAVAILABLE" and runs_of(team) == []
    proxy.is_away = False
    run_id = remote.create_run("0").run_id
    assert runs_of(team) == [run_id]


def test_an_experiment_whose_creation_was_not_answered_is_the_one_that_was_made(
    remote: Store, proxy: Flaky, team: Store
) -> None:
    proxy.lost = {"experiments/create": 1}
    made = team.get_experiment(remote.create_experiment("new"))
    assert made.name == "new"


def test_metrics_whose_answer_was_lost_are_not_sent_again(remote: Store, proxy: Flaky, team: Store) -> None:
    run_id = team.create_run("0").run_id
    proxy.lost = {"runs/log-batch": 1}
    metrics = [Metric("loss", value, 1, step) for step, value in enumerate((0.5, float("nan"), float("inf")))]
    remote.log_batch(run_id, metrics, tags={"a": "b"})
    assert len(team.get_metric_history(run_id, "loss")) == 3
    assert team.get_run(run_id).tags["a"] == "b"
    assert sum(path.endswith("log-batch") for path in proxy.asked) == 2


def test_only_a_run_that_this_process_supervises_may_wait(
    remote: Store, proxy: Flaky, team: Store, home: Home
) -> None:
    run_id = team.create_run("0").run_id
    proxy.is_away = True
    with pytest.raises(TrackingError):
        remote.log_batch(run_id, tags={"a": "b"})
    assert not home.outbox.exists()


def test_what_a_server_that_is_away_should_hear_waits_in_order_and_is_delivered(
    home: Home, proxy: Flaky, team: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = team.create_run("0").run_id
    with closing(open_store(home, proxy.url)) as remote:
        remote.log_file(run_id, "logs/out.txt").write_text("so far")
        proxy.is_away = True
        remote.update_run(run_id, status="RUNNING")
        remote.write_artifact(run_id, "a.txt", b"hello")
        remote.log_batch(run_id, tags={"projrun.reason": "first"})
        remote.log_batch(run_id, tags={"projrun.reason": "last"})
        remote.finish_file(run_id, "logs/out.txt")
        remote.update_run(run_id, status="FAILED", end_time=7)
    said = capsys.readouterr().err
    assert "projrun runs sync" in said and run_id in said and said.count("is kept on this machine") == 1
    proxy.is_away = False
    with closing(open_store(home, proxy.url)) as store:
        assert isinstance(store, RestStore)
        (place,) = list_outboxes(home.outbox)
        assert place.acquire() and place.server == proxy.url
        store.delivery.deliver(place)
        store.delivery.deliver(place)  # twice does what once does
        place.release(keep=False)
    run = team.get_run(run_id)
    assert (run.status, run.end_time, run.tags["projrun.reason"]) == ("FAILED", 7, "last")
    assert {info.path for info in team.list_artifacts(run_id)} == {"a.txt", "logs"}
    with team.open_artifact(run_id, "logs/out.txt") as file:
        assert file.read() == b"so far"
    assert not list(home.outbox.iterdir())


def test_a_run_ends_well_though_its_server_went_away(
    projrun: Projrun, make_project: MakeProject, proxy: Flaky, team: Store, home: Home, tmp_path: Path
) -> None:
    """The command itself tells when it runs; then the server goes."""
    flag, gone = tmp_path / "running", tmp_path / "gone"
    command = f"echo spoken; touch {flag}; until test -e {gone}; do sleep 0.05; done"
    project = make_project(MLproject=PROJECT.format(command))
    with subprocess.Popen(
        [sys.executable, "-m", "projrun", "run", str(project), "--env-manager", "local"],
        env={**os.environ, "MLFLOW_TRACKING_URI": proxy.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for(flag)
        proxy.is_away = True
        gone.touch()
        _, said = process.communicate()
    assert process.returncode == 0, said
    (run_id,) = runs_of(team)
    assert "`projrun runs sync` delivers it" in said and run_id in said and "Traceback" not in said
    assert team.get_run(run_id).status == "RUNNING"
    environ = {"MLFLOW_TRACKING_URI": proxy.url}
    assert projrun("runs", "sync", environ=environ).returncode == 125  # still away
    proxy.is_away = False
    other = projrun("runs", "sync")
    assert other.returncode == 125 and f"waits for {proxy.url}" in other.stderr
    synced = projrun("runs", "sync", environ=environ)
    assert synced.returncode == 0 and f"delivered run {run_id} to {proxy.url}\n" in synced.stderr
    run = team.get_run(run_id)
    assert run.status == "FINISHED" and run.end_time and run.tags["projrun.exit_code"] == "0"
    with team.open_artifact(run_id, OUTPUT_ARTIFACT) as log:
        assert b"spoken" in log.read()
    with team.open_artifact(run_id, RECORD_ARTIFACT) as record:
        assert run_id.encode() in record.read()
    assert "nothing waits" in projrun("runs", "sync", environ=environ).stderr
    assert runs_of(team) == [run_id]


def test_a_server_that_comes_back_before_the_end_hears_it_all_in_order(
    projrun: Projrun, make_project: MakeProject, proxy: Flaky, team: Store, home: Home, tmp_path: Path
) -> None:
    """It goes, a client of the run logs, it comes back, another one logs: nobody has to deliver anything."""
    gone, back = tmp_path / "gone", tmp_path / "back"
    files = {
        "log.py": (
            "import json, os, sys, urllib.request as web\n"
            "body = json.dumps({'run_id': os.environ['MLFLOW_RUN_ID'], 'key': 'loss',\n"
            "    'value': float(sys.argv[1]), 'timestamp': 1, 'step': int(sys.argv[1])}).encode()\n"
            "headers = {'Content-Type': 'application/json'}\n"
            "headers['Authorization'] = 'Bearer ' + os.environ['MLFLOW_TRACKING_TOKEN']\n"
            "url = os.environ['MLFLOW_TRACKING_URI'] + '/api/2.0/mlflow/runs/log-metric'\n"
            "print(web.urlopen(web.Request(url, body, headers)).status)\n"
        )
    }
    waits = f"touch {gone}; until test -e {back}; do sleep 0.05; done"
    command = f"python log.py 1 && {waits} && python log.py 2"
    project = make_project(MLproject=PROJECT.format(command), **files)
    argv = [sys.executable, "-m", "projrun", "run", str(project), "--env-manager", "local"]
    environ = {**os.environ, "MLFLOW_TRACKING_URI": proxy.url, "no_proxy": "127.0.0.1"}
    with subprocess.Popen(argv, env=environ, stderr=subprocess.PIPE, text=True) as process:
        wait_for(gone)
        proxy.is_away = True
        time.sleep(0.3)
        proxy.is_away = False
        back.touch()
        _, said = process.communicate()
    assert process.returncode == 0, said
    (run_id,) = runs_of(team)
    run = team.get_run(run_id)
    assert run.status == "FINISHED"
    assert [metric.value for metric in team.get_metric_history(run_id, "loss")] == [1.0, 2.0]
    assert "nothing waits" in projrun("runs", "sync", environ={"MLFLOW_TRACKING_URI": proxy.url}).stderr
    with team.open_artifact(run_id, RECORD_ARTIFACT) as record:
        assert run_id.encode() in record.read()


def test_what_a_killed_supervisor_leaves_is_settled_and_delivered(
    projrun: Projrun, make_project: MakeProject, proxy: Flaky, team: Store, tmp_path: Path
) -> None:
    flag = tmp_path / "running"
    project = make_project(MLproject=PROJECT.format(f"echo last words; touch {flag}; sleep 60"))
    environ = {"MLFLOW_TRACKING_URI": proxy.url}
    with subprocess.Popen(
        [sys.executable, "-m", "projrun", "run", str(project), "--env-manager", "local"],
        env={**os.environ, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_for(flag)
        assert "still being performed" in projrun("runs", "sync", environ=environ).stderr
        process.send_signal(signal.SIGKILL)
    (run_id,) = runs_of(team)
    assert f"delivered run {run_id}" in projrun("runs", "sync", environ=environ).stderr
    assert team.get_run(run_id).status == "FAILED"
    with team.open_artifact(run_id, OUTPUT_ARTIFACT) as log:
        assert b"last words" in log.read()


def test_a_server_that_is_away_at_the_start_is_one_line_with_the_next_step(
    projrun: Projrun, make_project: MakeProject, proxy: Flaky, home: Home
) -> None:
    proxy.is_away = True
    project = make_project(MLproject=PROJECT.format("touch ran"))
    done = projrun("run", project, "--env-manager", "local", environ={"MLFLOW_TRACKING_URI": proxy.url})
    assert done.returncode == 125 and not (project / "ran").exists()
    assert proxy.url in done.stderr and "or unset it to keep runs in projrun's own store" in done.stderr


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)
