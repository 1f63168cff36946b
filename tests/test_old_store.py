"""A store that projrun 0.1.0 wrote keeps working: it is read, verified, compared, packed and added to."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from projrun.disk import Home
from tests.conftest import MakeProject, Projrun

STORE = Path(__file__).parent / "stores" / "0.1.0"
"""tracking.db as SQL, and the artifacts, of two runs of one project with alpha=0.5 and alpha=0.25."""
FIRST, SECOND = "62ede9d5cfbb9a204979f87b8a8111f8", "7123bbf3fd4571d421743f26ecdbc115"


@pytest.fixture(autouse=True)
def old_store(home: Home) -> None:
    shutil.copytree(STORE / "artifacts", home.data / "artifacts")
    with closing(sqlite3.connect(home.data / "tracking.db")) as database:
        database.executescript((STORE / "tracking.sql").read_text())


def test_its_runs_are_listed_and_shown(projrun: Projrun) -> None:
    runs = json.loads(projrun("runs", "list", "--json").stdout)
    assert [(run["run_id"], run["status"], run["exit_code"]) for run in runs] == [
        (SECOND, "FINISHED", 0),
        (FIRST, "FINISHED", 0),
    ]
    shown = json.loads(projrun("runs", "show", FIRST[:8], "--json").stdout)
    assert shown["params"] == {"alpha": "0.5"}
    assert shown["metrics"]["loss"] == pytest.approx(0.5 / 3)
    assert shown["record"]["outputs"][0]["path"] == "result.txt"
    assert projrun("runs", "logs", FIRST).stdout == "alpha=0.5\n"


def test_its_runs_are_verified_from_their_records(projrun: Projrun) -> None:
    report = json.loads(projrun("verify", FIRST, "--format", "json").stdout)
    results = {result["name"]: result["verdict"] for result in report["findings"]}
    assert results["loss"] == results["result.txt"] == "same"


def test_its_runs_are_compared_and_packed(projrun: Projrun, tmp_path: Path) -> None:
    difference = projrun("diff", FIRST, SECOND)
    assert difference.returncode == 1
    assert "0.25" in difference.stdout
    bundle = tmp_path / "run.zip"
    projrun("bundle", FIRST, "-o", str(bundle))
    assert "loss" in projrun("verify", str(bundle)).stdout


def test_new_runs_are_added_to_it(projrun: Projrun, make_project: MakeProject) -> None:
    projrun(
        "run", make_project(MLproject="entry_points: {main: {command: 'true'}}"), "--env-manager", "local"
    )
    assert len(json.loads(projrun("runs", "list", "--json").stdout)) == 3
