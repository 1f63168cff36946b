"""An entry point that calls the real `mlflow.run`, with the environment managers that its version knows.

docs/migrating-from-mlflow.md says what comes of it without `env_manager`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeProject, Projrun
from tests.support.mlflow_clients import FIRST_MLFLOW, MLFLOW, OLD_MLFLOW, Client

VERSION = "{}.{}.{}".format(*sys.version_info[:3])
CLIENTS = {
    "newest": ("", MLFLOW),
    "2.22": ("3.11", OLD_MLFLOW),
    "1.30": ("3.11", FIRST_MLFLOW),
}
INNER = "name: inner\n{}entry_points: {{main: {{command: 'python -c \"import sys\"'}}}}\n"
NESTS = """
import json, sys
import mlflow
for uri, manager in json.loads(sys.argv[1]):
    try:
        mlflow.run(uri, env_manager=manager, run_name=f"{uri} {manager}")
    except mlflow.exceptions.ExecutionException as error:
        print(error)
"""
MANAGERS = {
    "newest": {"python": (None, "uv"), "conda": (None, "uv", "local"), "plain": ("local",)},
    "2.22": {"python": (None, "uv"), "conda": (None, "local"), "plain": ("local",)},
    "1.30": {"python": (None,), "conda": (None, "local"), "plain": (None, "local")},
}
"""Of each version of the client: project -> what its `env_manager` is, None where it is not given."""


@pytest.fixture
def pyenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mlflow has its interpreters from pyenv: this one has the running Python under every version."""
    if find_spec("ensurepip") is None:
        pytest.skip("this Python cannot make environments: it has no ensurepip")
    if shutil.which("conda"):
        pytest.skip("there is a conda on this machine")
    for version in (VERSION, "3.11.0"):
        python = tmp_path / "pyenv" / "versions" / version / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.symlink_to(os.path.realpath(sys.executable))
    program = tmp_path / "bin" / "pyenv"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" != root ] || echo {tmp_path}/pyenv\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join((str(program.parent), os.environ["PATH"])))
    monkeypatch.setenv("MLFLOW_ENV_ROOT", str(tmp_path / "envs"))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")


@pytest.mark.usefixtures("pyenv")
@pytest.mark.parametrize("client", CLIENTS)
def test_projects_that_the_clients_run_are_children(
    projrun: Projrun, make_project: MakeProject, client_python: Client, client: str
) -> None:
    version, packages = CLIENTS[client]
    wanted = [[uri, manager] for uri, managers in MANAGERS[client].items() for manager in managers]
    entry = {"command": f"{client_python(version, *packages)} nests.py '{json.dumps(wanted)}'"}
    project = make_project(
        **{
            "MLproject": json.dumps({"name": "outer", "entry_points": {"main": entry}})
            .replace("[[", "[ [")
            .replace("]]", "] ]"),
            "nests.py": NESTS,
            "python/MLproject": INNER.format("python_env: python_env.yaml\n"),
            "python/python_env.yaml": f"python: '{VERSION}'\ndependencies: []\n",
            "conda/MLproject": INNER.format("conda_env: conda.yaml\n"),
            "conda/conda.yaml": f"dependencies: [python={VERSION}]\n",
            "plain/MLproject": INNER.format(""),
        }
    )
    done = projrun("run", project, "--env-manager", "local")
    assert done.returncode == 0, done.stdout + done.stderr
    outer, *children = sorted(runs(projrun), key=lambda run: run["start_time"])
    assert outer["status"] == "FINISHED"
    assert {child["tags"]["mlflow.parentRunId"] for child in children} == {outer["run_id"]}
    # A conda environment needs conda, and to 1.30 a project that says nothing is one: there is no way
    # to tell mlflow otherwise. It says so, and the run that it had begun is over.
    names = {f"{uri} {manager}" for uri, manager in wanted}
    refused = names & {"conda None", "plain None"}
    assert done.stdout.count("Could not find Conda executable") == len(refused)
    assert {child["run_name"] for child in children if child["status"] == "FINISHED"} == names - refused
    assert [child["status"] for child in children].count("FAILED") == len(refused)
    assert len(children) == len(names)


def runs(projrun: Projrun) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(projrun("runs", "list", "--json").stdout)
    return found
