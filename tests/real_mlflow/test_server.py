"""A real `mlflow server`, killed in the middle of a run and behind a proxy that loses answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.tracking import open_store
from projrun.tracking.entities import Metric
from tests.conftest import MakeProject, Projrun
from tests.support.flaky_proxy import flaky_proxy
from tests.support.mlflow_clients import MLFLOW_FULL, Client
from tests.support.mlflow_server import free_port, mlflow_server


def test_nothing_is_lost_and_nothing_twice_on_a_real_server(
    client_python: Client,
    projrun: Projrun,
    make_project: MakeProject,
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    python, port = client_python("", *MLFLOW_FULL), free_port()
    flag, gone = tmp_path / "running", tmp_path / "gone"
    url = f"http://127.0.0.1:{port}"
    command = f"echo spoken; touch {flag}; until test -e {gone}; do sleep 0.05; done"
    project = make_project(MLproject=f"name: far\nentry_points:\n  main:\n    command: '{command}'\n")

    with mlflow_server(python, tmp_path, port), flaky_proxy(url) as proxy:
        with closing(open_store(home, proxy.url)) as remote:
            proxy.lost = {"runs/create": 1, "runs/log-batch": 1, "experiments/create": 1}
            experiment = remote.create_experiment("flaky")
            run_id = remote.create_run(experiment, run_name="once").run_id
            remote.log_batch(run_id, [Metric("loss", 0.5, 1, 0), Metric("loss", 0.25, 2, 1)])
            found, _ = remote.search_runs([experiment])
            assert [run.run_id for run in found] == [run_id]
            assert [metric.value for metric in remote.get_metric_history(run_id, "loss")] == [0.5, 0.25]
        process = subprocess.Popen(
            [sys.executable, "-m", "projrun", "run", str(project), "--env-manager", "local"],
            env={**os.environ, "MLFLOW_TRACKING_URI": url},
            stderr=subprocess.PIPE,
            text=True,
        )
        while not flag.exists():
            assert process.poll() is None
            time.sleep(0.05)
    gone.touch()  # the server was killed while the command ran
    _, said = process.communicate()
    assert process.returncode == 0 and "`projrun runs sync` delivers it" in said, said

    with mlflow_server(python, tmp_path, port), closing(open_store(home, url)) as remote:
        (run,), _ = remote.search_runs(["0"])
        assert run.status == "RUNNING"
        for _ in range(2):
            assert projrun("runs", "sync", environ={"MLFLOW_TRACKING_URI": url}).returncode == 0
        (run,), _ = remote.search_runs(["0"])
        assert (run.status, run.tags["projrun.exit_code"]) == ("FINISHED", "0") and run.end_time
        with remote.open_artifact(run.run_id, "projrun/output.log") as log:
            assert b"spoken" in log.read()
        files = {info.path for info in remote.list_artifacts(run.run_id, "projrun")}
        assert "projrun/record.json" in files
