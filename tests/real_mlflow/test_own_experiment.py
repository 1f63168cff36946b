"""Scripts that name an experiment themselves, and projects that run projects, with real clients."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeProject, Projrun
from tests.support.mlflow_clients import MLFLOW, OLD_MLFLOW, Client

CLIENTS = {
    "newest": ("", MLFLOW),
    "2.22": ("3.11", OLD_MLFLOW),
    "1.30": ("3.9", ("mlflow-skinny==1.30.*", "setuptools<81")),
}
NAMES = """
import mlflow
mlflow.set_experiment("named")
with mlflow.start_run():
    mlflow.log_metric("m", 1)
    mlflow.log_param("p", 1)
    open("made.txt", "w").write("made")
    mlflow.log_artifact("made.txt")
"""
PEEKS = """
from mlflow.tracking import MlflowClient
import mlflow
client = MlflowClient()
client.search_runs([client.get_experiment_by_name("named").experiment_id])
with mlflow.start_run():
    mlflow.log_metric("m", 1)
"""
NESTS = (
    NAMES
    + """
mlflow.projects.run(".", entry_point="inner", env_manager="local")
"""
)
INNER = """
import mlflow
with mlflow.start_run():
    mlflow.log_metric("inner", 1)
"""
HANGS = """
import json, os, time, urllib.request
tags = [{"key": "mlflow.parentRunId", "value": os.environ["MLFLOW_RUN_ID"]}]
request = urllib.request.Request(
    os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/create",
    json.dumps({"experiment_id": "0", "tags": tags}).encode(),
    {"Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"], "Content-Type": "application/json"},
)
urllib.request.urlopen(request).read()
print("started", flush=True)
time.sleep(600)
"""


def made(make_project: MakeProject, client: Path) -> Path:
    entry_points = {
        "main": {"command": f"{client} names.py"},
        "peeks": {"command": f"{client} peeks.py"},
        "nests": {"command": f"{client} nests.py"},
        "inner": {"command": f"{client} inner.py"},
        "hangs": {"command": f"{client} hangs.py"},
        "twice": {"command": f"{client} names.py && {client} names.py"},
    }
    return make_project(
        **{
            "MLproject": json.dumps({"name": "named", "entry_points": entry_points}),
            "names.py": NAMES,
            "peeks.py": PEEKS,
            "nests.py": NESTS,
            "inner.py": INNER,
            "hangs.py": HANGS,
        }
    )


@pytest.fixture
def project(make_project: MakeProject, client_python: Client) -> Path:
    return made(make_project, client_python("", *MLFLOW))


def found(projrun: Projrun, *arguments: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(projrun("runs", "list", *arguments, "--json").stdout)
    return listed


@pytest.mark.parametrize("version", CLIENTS)
def test_every_client_names_its_experiment_and_runs_projects(
    projrun: Projrun, make_project: MakeProject, client_python: Client, version: str
) -> None:
    python, packages = CLIENTS[version]
    project = made(make_project, client_python(python, *packages))
    done = projrun("run", project, "--env-manager", "local", "-e", "nests")
    assert done.returncode == 0, done.stderr
    (outer,) = (run for run in found(projrun) if run["tags"]["mlflow.project.entryPoint"] == "nests")
    assert (outer["status"], outer["metrics"], outer["params"]) == ("FINISHED", {"m": 1.0}, {"p": "1"})
    assert outer in found(projrun, "--experiment-name", "named")
    (inner,) = (run for run in found(projrun) if run["tags"]["mlflow.project.entryPoint"] == "inner")
    assert inner["tags"]["mlflow.parentRunId"] == outer["run_id"]
    assert (inner["status"], inner["metrics"]) == ("FINISHED", {"inner": 1.0})


def test_the_run_goes_to_the_experiment_whole(projrun: Projrun, project: Path) -> None:
    done = projrun("run", project, "--env-manager", "local", "-e", "twice")
    assert done.returncode == 0, done.stderr
    (run,) = found(projrun, "--experiment-name", "named")
    assert (run["status"], run["metrics"], run["params"]) == ("FINISHED", {"m": 1.0}, {"p": "1"})
    shown = projrun("runs", "show", run["run_id"]).stdout
    assert "made.txt" in shown and "projrun/record.json" in shown and "projrun/output.log" in shown
    place = Path(run["artifact_uri"].removeprefix("file://"))
    assert sorted(place.parent.parent.glob("*/*")) == [place], "nothing stays where it was"


def test_an_experiment_of_the_command_line_stays(projrun: Projrun, project: Path) -> None:
    done = projrun("run", project, "--env-manager", "local", "--experiment-name", "given")
    assert done.returncode == 0, done.stderr
    (run,) = found(projrun, "--experiment-name", "given")
    assert (run["metrics"], len(found(projrun))) == ({"m": 1.0}, 1)
    assert "made.txt" in projrun("runs", "show", run["run_id"]).stdout


def test_looking_into_an_experiment_moves_nothing(projrun: Projrun, project: Path) -> None:
    projrun("run", project, "--env-manager", "local")
    done = projrun("run", project, "--env-manager", "local", "-e", "peeks")
    assert done.returncode == 0, done.stderr
    newest = found(projrun)[0]
    assert (newest["experiment_id"], newest["metrics"]) == ("0", {"m": 1.0})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_runs_that_clients_made_end_with_the_run(
    projrun: Projrun, make_project: MakeProject, number: int
) -> None:
    project = made(make_project, Path(sys.executable))
    argv = [sys.executable, "-m", "projrun", "run", str(project), "--env-manager", "local", "-e", "hangs"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        first = supervisor.stdout.readline()
        supervisor.send_signal(number)
    assert first == "started\n"
    listed = found(projrun)
    assert len(listed) == 2
    assert {run["status"] for run in listed} <= {"FAILED", "KILLED"}
