"""Stories of `projrun runs`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.tracking import open_store
from projrun.tracking.entities import Metric
from tests.conftest import MakeProject, Projrun

pytestmark = pytest.mark.dates

KEYS = {
    "run_id",
    "experiment_id",
    "run_name",
    "status",
    "start_time",
    "end_time",
    "exit_code",
    "params",
    "tags",
    "metrics",
    "artifact_uri",
}


@pytest.fixture
def two_runs(projrun: Projrun, make_project: MakeProject) -> list[str]:
    """The ids of a finished run and of a failed one, oldest first."""
    text = "name: pair\nentry_points: {main: {command: 'echo fine'}, bad: {command: 'echo no >&2; exit 3'}}"
    project = make_project(MLproject=text)
    for entry_point in ("main", "bad"):
        projrun("run", project, "--env-manager", "local", "-e", entry_point)
    return [run["run_id"] for run in reversed(json.loads(projrun("runs", "list", "--json").stdout))]


def test_an_empty_store_has_no_runs(projrun: Projrun) -> None:
    assert projrun("runs", "list", "--json").stdout == "[]\n"
    assert projrun("runs", "list").stdout.splitlines() == [
        "RUN  STATUS  EXIT  STARTED  SECONDS  PROJECT  ENTRY POINT  NAME"
    ]


def test_runs_are_listed_newest_first_in_mlflows_words(projrun: Projrun, two_runs: list[str]) -> None:
    listed = json.loads(projrun("runs", "list", "--json").stdout)
    assert [(run["run_id"], run["status"], run["exit_code"]) for run in listed] == [
        (two_runs[1], "FAILED", 3),
        (two_runs[0], "FINISHED", 0),
    ]
    assert all(set(run) == KEYS for run in listed)
    lines = projrun("runs", "list").stdout.splitlines()
    assert lines[1].startswith(f"{two_runs[1][:8]}  FAILED")
    assert len(projrun("runs", "list", "-n", "1").stdout.splitlines()) == 2


def test_a_run_is_shown_by_the_beginning_of_its_id(projrun: Projrun, two_runs: list[str]) -> None:
    shown = projrun("runs", "show", two_runs[0][:10]).stdout
    assert two_runs[0] in shown
    assert "projrun/record.json" in shown
    as_json = json.loads(projrun("runs", "show", two_runs[0][:10], "--json").stdout)
    assert set(as_json) == {*KEYS, "record"}
    assert as_json["record"]["run_id"] == two_runs[0]


def test_logs_are_what_the_command_wrote(projrun: Projrun, two_runs: list[str]) -> None:
    assert [projrun("runs", "logs", run).stdout for run in two_runs] == ["fine\n", "no\n"]


@pytest.mark.parametrize("verb", ["show", "logs"])
@pytest.mark.parametrize("run_id", ["ffffffff", "not-an-id", "'; DROP TABLE runs"])
def test_an_unknown_run_is_one_clear_line(projrun: Projrun, verb: str, run_id: str) -> None:
    done = projrun("runs", verb, run_id)
    assert done.returncode == 125
    assert len(done.stderr.splitlines()) == 1
    assert "projrun runs list" in done.stderr


def test_an_ambiguous_beginning_asks_for_more(projrun: Projrun, home: Home) -> None:
    store = open_store(home)
    for _ in range(20):  # 16 first digits
        store.create_run("0")
    store.close()
    ids = [run["run_id"] for run in json.loads(projrun("runs", "list", "--json").stdout)]
    shared = next(first for first in "0123456789abcdef" if sum(run.startswith(first) for run in ids) > 1)
    assert "give more of its id" in projrun("runs", "show", shared).stderr


def test_numbers_that_json_does_not_have_travel_as_text(projrun: Projrun, home: Home) -> None:
    store = open_store(home)
    run = store.create_run("0")
    values = {"nan": math.nan, "up": math.inf, "down": -math.inf, "one": 1.5}
    store.log_batch(run.run_id, metrics=[Metric(key, value, 0) for key, value in values.items()])
    store.close()
    shown = json.loads(projrun("runs", "show", run.run_id, "--json").stdout)
    assert shown["metrics"] == {"nan": "NaN", "up": "Infinity", "down": "-Infinity", "one": 1.5}


def test_a_run_that_never_started_shows_what_its_environment_said(
    projrun: Projrun, make_project: MakeProject
) -> None:
    project = make_project(
        **{
            "MLproject": "python_env: e.yaml\nentry_points: {main: {command: x}}",
            "e.yaml": "dependencies: [six==0.0.1]",
        }
    )
    done = projrun("run", project)
    assert done.returncode == 125
    assert "six==0.0.1" in done.stderr.splitlines()[-1]
    (run,) = json.loads(projrun("runs", "list", "--json").stdout)
    assert (run["status"], run["exit_code"]) == ("FAILED", None)
    assert "six==0.0.1" in run["tags"]["projrun.reason"]
    assert "six==0.0.1" in projrun("runs", "logs", run["run_id"]).stdout


def test_a_broken_store_is_a_clear_error(projrun: Projrun, home: Home, tmp_path: Path) -> None:
    home.data.mkdir()
    home.tracking_db.write_text("this is no database, " * 100)
    done = projrun("runs", "list")
    assert done.returncode == 125
    assert str(home.tracking_db) in done.stderr
    assert len(done.stderr.splitlines()) == 1
