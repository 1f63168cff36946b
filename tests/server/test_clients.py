"""mlflow clients of every age, as they are, in projects that `projrun run` runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients import MLFLOW_FULL, OLD_MLFLOW_FULL, Client
from tests.conftest import MakeProject, Projrun

SCRIPT = Path(__file__).with_name("real_use_script.py")
OLD_ML = ("scikit-learn<1.3", "pandas<2.1", "numpy<1.24", "setuptools<81")
CLIENTS = {
    "newest": ("", MLFLOW_FULL, "full"),
    "2.22": ("3.11", OLD_MLFLOW_FULL, "full"),
    "2.0": ("3.9", ("mlflow-skinny==2.0.*", *OLD_ML), "skinny"),
    "1.30": ("3.9", ("mlflow-skinny==1.30.*", *OLD_ML), "skinny"),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_script_of_real_use_runs_as_it_is(
    projrun: Projrun, make_project: MakeProject, client_python: Client, client: str
) -> None:
    version, packages, kind = CLIENTS[client]
    python = client_python(version, *packages)
    command = f"{python} train.py {kind}"
    project = make_project(
        MLproject=f"name: real\nentry_points:\n  main:\n    command: '{command}'\n",
        **{"train.py": SCRIPT.read_text()},
    )
    done = projrun("run", project, "--env-manager", "local")
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"')))
    has_aliases = client not in ("1.30", "2.0")
    assert seen.pop("table", ["a", "b"]) == ["a", "b"]
    assert seen.pop("figure", ["plots/line.png"]) == ["plots/line.png"]
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
