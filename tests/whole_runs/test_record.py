"""Test what a record says of a run: what it made, what it measured, and where it ran."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped,unused-ignore]
import pytest

from projrun.disk import Home
from projrun.schemas import make_schemas
from projrun.tracking import open_store
from tests.conftest import MakeProject, Projrun

LOG = """
import json, os, sys, urllib.request
run = os.environ["MLFLOW_RUN_ID"]
def send(path, method, body):
    request = urllib.request.Request(os.environ["MLFLOW_TRACKING_URI"] + path, body, method=method)
    request.add_header("Authorization", "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"])
    request.add_header("Content-Type", "application/json")
    urllib.request.urlopen(request).read()
for key, value in (("rmse", 0.1), ("rmse", 0.25), ("loss", "NaN")):
    body = {"run_id": run, "key": key, "value": value, "timestamp": 1, "step": int(value == 0.25)}
    send("/api/2.0/mlflow/runs/log-metric", "POST", json.dumps(body).encode())
root = "/api/2.0/mlflow-artifacts/artifacts/" + os.environ["MLFLOW_EXPERIMENT_ID"] + "/" + run + "/artifacts/"
send(root + "plots/a.txt", "PUT", b"plotted")
"""


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def record_of(projrun: Projrun) -> dict[str, Any]:
    run_id = json.loads(projrun("runs", "list", "--json").stdout)[0]["run_id"]
    record: dict[str, Any] = json.loads(projrun("runs", "show", run_id, "--json").stdout)["record"]
    jsonschema.Draft202012Validator(make_schemas()["run-record.schema.json"]).validate(record)
    return record


def outputs_of(projrun: Projrun) -> dict[str, tuple[str, str]]:
    """Path -> (what became of it, digest)."""
    return {one["path"]: (one["change"], one["sha256"]) for one in record_of(projrun)["outputs"]}


def test_files_that_the_run_made_changed_or_removed_are_in_the_record(
    projrun: Projrun, make_project: MakeProject
) -> None:
    command = (
        "echo new > made.txt; mkdir deep; echo 1 > deep/b.csv; echo more >> old.txt; rm gone.txt;"
        " touch ignored.log; ln -s made.txt link; cat kept.txt;"
        " mkdir __pycache__; echo x > __pycache__/c.pyc"
    )
    project = make_project(
        MLproject=f"entry_points: {{main: {{command: {json.dumps(command)}}}}}",
        **{"old.txt": "old\n", "gone.txt": "", "kept.txt": "kept", ".gitignore": "*.log\n"},
    )
    assert projrun("run", project, "--env-manager", "local").returncode == 0
    assert outputs_of(projrun) == {
        "made.txt": ("made", sha256("new\n")),
        "deep/b.csv": ("made", sha256("1\n")),
        "old.txt": ("changed", sha256("old\nmore\n")),
        "gone.txt": ("deleted", ""),
        "ignored.log": ("made", sha256("")),
        "link": ("made", ""),
    }


def test_metrics_and_logged_artifacts_are_in_the_record(projrun: Projrun, make_project: MakeProject) -> None:
    project = make_project(MLproject="entry_points: {main: {command: 'python log.py'}}", **{"log.py": LOG})
    assert projrun("run", project, "--env-manager", "local").returncode == 0
    assert record_of(projrun)["metrics"] == {"loss": "NaN", "rmse": 0.25}
    assert outputs_of(projrun) == {"plots/a.txt": ("logged", sha256("plotted"))}


def test_a_failed_run_has_outputs_and_one_that_never_started_has_none(
    projrun: Projrun, make_project: MakeProject
) -> None:
    project = make_project(MLproject="entry_points: {main: {command: 'echo 1 > a; exit 3'}}")
    assert projrun("run", project, "--env-manager", "local").returncode == 3
    assert outputs_of(projrun) == {"a": ("made", sha256("1\n"))}
    (project / "python_env.yaml").write_text("dependencies: [/nowhere/to/be/found]\n")
    assert projrun("run", project).returncode == 125
    assert record_of(projrun)["outputs"] is None


def test_files_that_will_be_compared_by_value_are_kept(
    projrun: Projrun, make_project: MakeProject, home: Home
) -> None:
    text = """
entry_points: {main: {command: 'echo 1 > a.csv; echo 2 > b.csv; mkdir d; echo 3 > d/c.csv; echo 4 > e.txt'}}
verify: {outputs: {b.csv: ignore, "*.csv": {rtol: 1e-6}}}
"""
    project = make_project(MLproject=text)
    assert projrun("run", project, "--env-manager", "local").returncode == 0
    record = record_of(projrun)
    assert record["plan"]["verify"]["outputs"]["*.csv"] == {"how": "value", "rtol": 1e-6, "atol": 0.0}
    [kept] = home.artifacts.glob("*/*/projrun/outputs")
    names = {path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()}
    assert names == {"a.csv", "d/c.csv"}


def test_projruns_own_directories_in_the_tree_are_no_outputs(
    projrun: Projrun, make_project: MakeProject
) -> None:
    project = make_project(MLproject="entry_points: {main: {command: 'true'}}")
    environ = {"PROJRUN_HOME": str(project / "data"), "PROJRUN_CACHE_DIR": str(project / "cache")}
    assert projrun("run", project, "--env-manager", "local", environ=environ).returncode == 0
    shown = projrun("runs", "list", "--json", environ=environ)
    run_id = json.loads(shown.stdout)[0]["run_id"]
    record = json.loads(projrun("runs", "show", run_id, "--json", environ=environ).stdout)["record"]
    assert record["outputs"] == []


def test_a_name_that_is_not_utf8_is_recorded(projrun: Projrun, make_project: MakeProject) -> None:
    project = make_project(MLproject="entry_points: {main: {command: 'touch $(printf \"a\\\\377\")'}}")
    assert projrun("run", project, "--env-manager", "local").returncode == 0
    assert os.listdir(bytes(project)).count(b"a\xff") == 1
    assert list(outputs_of(projrun)) == ["a\\xff"]


def test_the_record_says_where_it_ran_and_no_secret(projrun: Projrun, make_project: MakeProject) -> None:
    project = make_project(MLproject="entry_points: {main: {command: 'true'}}")
    environ = {"OMP_NUM_THREADS": "3", "TZ": "Asia/Tokyo", "MY_TOKEN": "s3cret", "HF_TOKEN": "s3cret"}
    assert projrun("run", project, "--env-manager", "local", environ=environ).returncode == 0
    platform = record_of(projrun)["platform"]
    assert platform["variables"]["OMP_NUM_THREADS"] == "3"
    assert platform["timezone"] == "Asia/Tokyo"
    assert platform["cpus"] == len(os.sched_getaffinity(0))
    assert re.fullmatch(r"\d{4}", platform["umask"])
    assert "s3cret" not in json.dumps(record_of(projrun))


def test_a_large_output_is_hashed_in_threads_and_rightly(projrun: Projrun, make_project: MakeProject) -> None:
    command = "for i in 1 2 3; do head -c 8000000 /dev/zero > $i; done"
    project = make_project(MLproject=f"entry_points: {{main: {{command: '{command}'}}}}")
    assert projrun("run", project, "--env-manager", "local").returncode == 0
    zeros = hashlib.sha256(bytes(8_000_000)).hexdigest()
    assert outputs_of(projrun) == dict.fromkeys("123", ("made", zeros))


def test_a_record_of_a_newer_version_is_refused_in_one_line(
    projrun: Projrun, make_project: MakeProject, home: Home
) -> None:
    from projrun.errors import RecordError
    from projrun.record import RECORD_ARTIFACT, from_json, to_json

    project = make_project(MLproject="entry_points: {main: {command: 'true'}}")
    projrun("run", project, "--env-manager", "local")
    store = open_store(home)
    run = store.search_runs([])[0][0]
    with store.open_artifact(run.run_id, RECORD_ARTIFACT) as file:
        text = file.read()
    assert to_json(from_json(text)) == text
    with pytest.raises(RecordError, match=r"has version 99, this projrun reads up to \d+; install a newer"):
        from_json(re.sub(rb'"record_version": \d+', b'"record_version": 99', text))
    with pytest.raises(RecordError, match="not the record of a run"):
        from_json(b"[]")


OLD = Path(__file__).parent.parent / "records"


@pytest.mark.parametrize("file", sorted(OLD.glob("*.json")), ids=lambda file: file.stem)
def test_records_that_older_versions_wrote_can_be_read(file: Path) -> None:
    from projrun.record import from_json

    record = from_json(file.read_bytes())
    assert record.outcome.status == "FINISHED"
    assert record.plan.parameters
