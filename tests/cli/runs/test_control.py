"""Searching, comparing, tagging, deleting, exporting and checking runs."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.tracking import Store, open_store
from projrun.tracking.entities import Metric
from tests.conftest import Projrun


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    with closing(open_store(home)) as store:
        yield store


@pytest.fixture
def two(store: Store) -> list[str]:
    ids = []
    for number, name in enumerate(("first", "second")):
        run_id = store.create_run("0", run_name=name, status="FINISHED").run_id
        store.log_batch(
            run_id, [Metric("loss", 0.5 - number / 4, 1, number)], {"depth": str(number), "same": "x"}
        )
        store.write_artifact(run_id, "plots/a.txt", name.encode())
        ids.append(run_id)
    return ids


def test_runs_are_found_by_mlflows_search_language(projrun: Projrun, two: list[str]) -> None:
    done = projrun("runs", "search", "metrics.loss < 0.4 and params.depth = '1'", "--json")
    assert [run["run_id"] for run in json.loads(done.stdout)] == [two[1]]
    ordered = projrun("runs", "search", "--order-by", "metrics.loss ASC", "--csv")
    rows = list(csv.DictReader(ordered.stdout.splitlines()))
    assert [(row["run_id"], row["params.depth"], row["metrics.loss"]) for row in rows] == [
        (two[1], "1", "0.25"),
        (two[0], "0", "0.5"),
    ]
    shown = csv.DictReader(projrun("runs", "show", two[1], "--csv").stdout.splitlines())
    assert [(row["run_id"], row["metrics.loss"]) for row in shown] == [(two[1], "0.25")]
    wrong = projrun("runs", "search", "metrics.")
    assert wrong.returncode == 125 and len(wrong.stderr.splitlines()) == 1


def test_runs_are_compared_by_what_differs(projrun: Projrun, two: list[str]) -> None:
    shown = projrun("runs", "compare", *two).stdout
    assert "depth" in shown and "loss" in shown and "same" not in shown
    assert "same" in projrun("runs", "compare", "--all", *two).stdout
    compared = json.loads(projrun("runs", "compare", "--json", *two).stdout)
    assert compared["params"] == {"depth": ["0", "1"]} and compared["metrics"] == {"loss": [0.5, 0.25]}
    assert projrun("runs", "compare", two[0]).returncode == 2


def test_a_deleted_run_comes_back(projrun: Projrun, store: Store, two: list[str]) -> None:
    assert projrun("runs", "delete", two[0]).returncode == 0
    assert store.get_run(two[0]).lifecycle_stage == "deleted"
    assert two[0][:8] in projrun("runs", "search", "--deleted").stdout
    for verb in ("delete", "show"):
        done = projrun("runs", verb, two[0][:8])
        assert done.returncode == 125
        assert f"run '{two[0][:8]}' is deleted; bring it back with: projrun runs restore" in done.stderr
    assert projrun("runs", "restore", two[0]).returncode == 0
    assert store.get_run(two[0]).lifecycle_stage == "active"
    assert f"run '{two[0]}' is not deleted" in projrun("runs", "restore", two[0]).stderr
    running = store.create_run("0").run_id
    assert projrun("runs", "delete", two[0], running).returncode == 125
    assert store.get_run(two[0]).lifecycle_stage == "active"


def test_runs_that_a_client_made_inside_a_run_show_its_project_and_their_metrics(
    projrun: Projrun, store: Store
) -> None:
    above = ""
    for name, tags in (
        ("outer", {"projrun.project": "search", "mlflow.project.entryPoint": "main"}),
        ("middle", {"mlflow.source.name": "/somewhere/search.py"}),
        ("inner", {"mlflow.source.name": "/somewhere/search.py"}),
        ("stray", {"mlflow.parentRunId": "0" * 32}),
    ):
        above = store.create_run("0", run_name=name, tags={"mlflow.parentRunId": above, **tags}).run_id
    store.log_batch(above, [Metric(name, 0.25, 1, 0) for name in "dcba"])
    header, *lines = projrun("runs", "list").stdout.splitlines()
    assert header.split()[-4:] == ["ENTRY", "POINT", "NAME", "METRICS"]
    for row in ("search main outer", "search search.py middle", "search search.py inner"):
        assert row.split() in [line.split()[-3:] for line in lines]
    [stray] = [line for line in lines if "stray" in line]
    assert stray.split()[-5:] == ["stray", "a=0.25", "b=0.25", "c=0.25", "…"]
    _, alone = projrun("runs", "search", "attributes.run_name = 'inner'").stdout.splitlines()
    assert alone.split()[-3:] == ["search", "search.py", "inner"]


def test_tags_are_set_and_removed(projrun: Projrun, store: Store, two: list[str]) -> None:
    assert projrun("runs", "tag", two[0], "a=b=c", "d=").returncode == 0
    assert projrun("runs", "tag", two[0], "--remove", "d").returncode == 0
    tags = store.get_run(two[0]).tags
    assert tags["a"] == "b=c" and "d" not in tags
    assert projrun("runs", "tag", two[0], "nothing").returncode == 2


def test_artifacts_are_listed_and_copied(projrun: Projrun, two: list[str], tmp_path: Path) -> None:
    listed = json.loads(projrun("runs", "artifacts", two[0], "--json").stdout)
    assert listed == [{"path": "plots/a.txt", "file_size": 5}]
    assert projrun("runs", "artifacts", two[0], "--csv").stdout == "path,file_size\nplots/a.txt,5\n"
    assert projrun("runs", "artifacts", two[0], "plots/a.txt", "--download", tmp_path).returncode == 0
    assert (tmp_path / "plots" / "a.txt").read_text() == "first"
    assert projrun("runs", "artifacts", two[0], "none").returncode == 125


def test_a_run_is_exported_whole(projrun: Projrun, two: list[str], tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert projrun("runs", "export", two[0], target).returncode == 0
    content = json.loads((target / "run.json").read_text())
    assert content["run_id"] == two[0] and content["metric_history"]["loss"][0]["value"] == 0.5
    assert (target / "artifacts" / "plots" / "a.txt").read_text() == "first"
    assert projrun("runs", "export", two[0], target).returncode == 2


def test_a_store_that_lost_something_is_told(projrun: Projrun, home: Home, two: list[str]) -> None:
    assert projrun("runs", "check").returncode == 0
    with closing(sqlite3.connect(home.tracking_db)) as db:
        db.execute("DELETE FROM runs WHERE run_id = ?", (two[0],))
        db.commit()
    done = projrun("runs", "check")
    assert done.returncode == 1 and two[0] in done.stdout and "belong to no run" in done.stdout


def test_what_killed_uploads_left_is_removed_but_not_what_is_coming_in(projrun: Projrun, home: Home) -> None:
    home.artifacts.mkdir(parents=True)
    for name, age_s in ((".upload-old", 25 * 3600), (".upload-new", 60)):
        file = home.artifacts / name
        file.write_bytes(b"x")
        os.utime(file, (time.time() - age_s,) * 2)
    done = projrun("runs", "check")
    assert done.returncode == 0 and "removed 1 uploads" in done.stderr
    assert [file.name for file in home.artifacts.iterdir()] == [".upload-new"]
