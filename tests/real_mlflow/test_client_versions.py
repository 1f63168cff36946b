"""mlflow clients of every age, as they are, in projects that `projrun run` runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeProject, Projrun
from tests.support.mlflow_clients import (
    FIRST_MLFLOW,
    FIRST_MLFLOW_FULL,
    MLFLOW_FULL,
    MODELS,
    OF_2022,
    OLD_MLFLOW_FULL,
    OLD_MODELS,
    Client,
)

SCRIPT = Path(__file__).with_name("real_use_script.py")
CLIENTS = {
    "newest full": ("", MLFLOW_FULL),
    "newest skinny": ("", MODELS),
    "2.22 full": ("3.11", OLD_MLFLOW_FULL),
    "2.22 skinny": ("3.11", OLD_MODELS),
    "2.0 full": ("3.11", ("mlflow==2.0.*", *OF_2022)),
    "2.0 skinny": ("3.11", ("mlflow-skinny==2.0.*", *OF_2022)),
    "1.30 full": ("3.11", FIRST_MLFLOW_FULL),
    "1.30 skinny": ("3.11", FIRST_MLFLOW),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_script_of_real_use_runs_as_it_is(
    projrun: Projrun, make_project: MakeProject, client_python: Client, client: str
) -> None:
    version, packages = CLIENTS[client]
    python = client_python(version, *packages)
    release, kind = client.split()
    command = f"{python} train.py {kind}"
    project = make_project(
        MLproject=f"name: real\nentry_points:\n  main:\n    command: '{command}'\n",
        **{"train.py": SCRIPT.read_text()},
    )
    done = projrun("run", project, "--env-manager", "local")
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"')))
    has_aliases = release not in ("1.30", "2.0")
    if release not in ("1.30", "2.0"):
        assert seen.pop("table") == ["a", "b"]
    if kind == "full":
        assert seen.pop("figure") == ["plots/line.png"]
    assert seen.pop("needs")
    assert seen == {
        "big": [["big.bin", 6 << 20]],
        "loaded": [2.0] * (5 if has_aliases else 4),
        "autolog": ["True", "LinearRegression"],
        "found": [True],
        "children": [True],
        "history": [1.0, 1 / 2, 1 / 3],
        "text": "spoken",
        "stage": "Production",
    }
    (parent,) = (run for run in runs(projrun) if "projrun.project" in run["tags"])
    assert parent["status"] == "FINISHED" and parent["params"]["depth"] == "3"


def runs(projrun: Projrun) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(projrun("runs", "list", "--json").stdout)
    return found
