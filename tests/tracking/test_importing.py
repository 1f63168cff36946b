"""Runs that real mlflow clients wrote to stores of mlflow's own, brought into projrun's."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from projrun.home import Home
from projrun.tracking import Store, open_store
from tests.clients import MLFLOW_FULL, OLD_MLFLOW_FULL, Client
from tests.conftest import Projrun


class Old(NamedTuple):
    place: Path
    runs: list[str]
    has_inputs: bool


CLIENTS = {
    "3.17 sqlite": ("", MLFLOW_FULL, "sqlite:///mlflow.db"),
    "2.22 sqlite": ("3.11", OLD_MLFLOW_FULL, "sqlite:///mlflow.db"),
    "2.22 mlruns": ("3.11", OLD_MLFLOW_FULL, "mlruns"),
    "1.30 mlruns": ("3.9", ("mlflow-skinny==1.30.*", "scikit-learn", "pandas", "setuptools<81"), "mlruns"),
}


@pytest.fixture(params=CLIENTS)
def old(request: pytest.FixtureRequest, client_python: Client, tmp_path: Path) -> Old:
    """What a script left that logs as scripts do."""
    version, packages, uri = CLIENTS[request.param]
    directory = tmp_path / "old"
    directory.mkdir()
    done = subprocess.run(
        [client_python(version, *packages), Path(__file__).with_name("old_store_script.py"), uri],
        cwd=directory,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return Old(
        directory / uri.removeprefix("sqlite:///"),
        json.loads(done.stdout.splitlines()[-1]),
        "1.30" not in request.param,
    )


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    with closing(open_store(home)) as store:
        yield store


def test_runs_come_in_whole_and_once(projrun: Projrun, old: Old, store: Store) -> None:
    before = fingerprint(old.place)
    assert projrun("runs", "import", old.place, "--experiment-name", "another").returncode == 0
    (run,), _ = store.search_runs([])
    assert run.metrics["z"].value == 1 and store.get_experiment_by_name("old times") is None
    unknown = projrun("runs", "import", old.place, "--experiment-name", "nobody's")
    assert unknown.returncode == 2 and "nobody's" in unknown.stderr
    done = projrun("runs", "import", old.place)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    assert "imported 3 runs and 1 experiments; 1 runs were there already" in done.stderr
    first, inner, gone = (store.get_run(run_id) for run_id in old.runs)
    assert (first.run_name, first.status, first.tags["team"]) == ("first", "FINISHED", "blue")
    assert first.params == {"depth": "3", "a/b": "x" * 300}
    assert first.end_time and first.end_time >= first.start_time > 1_600_000_000_000
    assert [metric.value for metric in store.get_metric_history(first.run_id, "loss")] == [1, 1 / 2, 1 / 3]
    assert [metric.step for metric in store.get_metric_history(first.run_id, "loss")] == [0, 1, 2]
    last = {key: repr(metric.value) for key, metric in first.metrics.items()}
    assert last == {"loss": repr(1 / 3), "nan": "nan", "inf": "inf", "ninf": "-inf"}
    with store.open_artifact(first.run_id, "files/ä b.txt") as file:
        assert file.read() == b"hello"
    assert (inner.status, inner.tags["mlflow.parentRunId"]) == ("FAILED", first.run_id)
    assert gone.lifecycle_stage == "deleted"
    experiment = store.get_experiment(first.experiment_id)
    assert (experiment.name, experiment.tags["owner"]) == ("old times", "me")
    if old.has_inputs:
        (data,) = first.inputs
        assert (data.name, data.tags) == ("two rows", {"mlflow.data.context": "training"})
        assert data.digest and "num_rows" in data.profile and "x" in data.schema
    again = projrun("runs", "import", old.place)
    assert "imported 0 runs and 0 experiments; 4 runs were there already" in again.stderr
    assert len(store.get_metric_history(first.run_id, "loss")) == 3
    assert fingerprint(old.place) == before
    assert projrun("runs", "check").returncode == 0


def fingerprint(place: Path) -> list[tuple[str, bytes]]:
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    return [(str(path), path.read_bytes()) for path in files]


def file_store(root: Path, run_id: str = "a" * 32) -> Path:
    """What the file store of mlflow 1.x writes, in short."""
    run = root / "1" / run_id
    for directory in ("metrics", "params", "tags", "artifacts"):
        (run / directory).mkdir(parents=True)
    (root / "1" / "meta.yaml").write_text("{name: small, experiment_id: '1', lifecycle_stage: active}")
    (run / "meta.yaml").write_text(f"{{run_uuid: '{run_id}', status: 3, start_time: 5, end_time: 6}}")
    (run / "metrics" / "loss").write_text("1 0.5\n2 0.25 7\nnonsense\n")
    return run


def test_lines_of_the_first_versions_are_read_and_damaged_ones_named(
    projrun: Projrun, store: Store, tmp_path: Path
) -> None:
    file_store(tmp_path / "mlruns")
    done = projrun("runs", "import", tmp_path / "mlruns")
    assert done.returncode == 0 and "'nonsense' is no value of a metric" in done.stderr
    history = store.get_metric_history("a" * 32, "loss")
    assert [(metric.timestamp, metric.value, metric.step) for metric in history] == [
        (1, 0.5, 0),
        (2, 0.25, 7),
    ]


@pytest.mark.parametrize("run_id", ["../../../escaped", "x", "A" * 32])
def test_a_strangers_run_id_is_no_path(
    projrun: Projrun, home: Home, store: Store, tmp_path: Path, run_id: str
) -> None:
    run = file_store(tmp_path / "mlruns")
    (run / "meta.yaml").write_text(json.dumps({"run_id": run_id, "status": 3}))
    (run / "artifacts" / "a").touch()
    done = projrun("runs", "import", tmp_path / "mlruns")
    assert done.returncode == 0 and "is left out" in done.stderr
    assert store.search_runs([])[0] == [] and not list(home.data.rglob("escaped"))


def test_a_strangers_store_brings_no_files_of_this_machine(
    projrun: Projrun, store: Store, tmp_path: Path
) -> None:
    secret = tmp_path / "secrets"
    secret.mkdir()
    (secret / "key").write_text("hunter2")
    run = file_store(tmp_path / "mlruns")
    (run / "artifacts" / "link").symlink_to(secret)
    (run / "artifacts" / "file").symlink_to(secret / "key")
    (run / "artifacts" / "plain").write_text("mine")
    other = file_store(tmp_path / "mlruns" / "more", "b" * 32)
    other.parent.rename(tmp_path / "mlruns" / "2")
    moved = tmp_path / "mlruns" / "2"
    (moved / "meta.yaml").write_text("{name: other}")
    (moved / ("b" * 32) / "artifacts").rmdir()
    (moved / ("b" * 32) / "meta.yaml").write_text(
        json.dumps({"run_id": "b" * 32, "status": 3, "artifact_uri": secret.as_uri()})
    )
    done = projrun("runs", "import", tmp_path / "mlruns")
    assert done.returncode == 0 and "without their artifacts" in done.stderr
    assert [info.path for info in store.list_artifacts("a" * 32)] == ["plain"]
    assert store.list_artifacts("b" * 32) == []
    assert projrun("runs", "import", tmp_path / "mlruns", "--artifacts", tmp_path).returncode == 0


@pytest.mark.parametrize("kind", ["missing", "empty directory", "text", "other database"])
def test_what_is_no_store_of_mlflow_is_one_clear_line(projrun: Projrun, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    if kind == "empty directory":
        place.mkdir()
    elif kind == "text":
        place.write_text("no database at all, but long enough to look at\n" * 50)
    elif kind == "other database":
        with closing(sqlite3.connect(place)) as db:
            db.execute("CREATE TABLE runs (x)")
    done = projrun("runs", "import", place)
    assert done.returncode == 2 and str(place) in done.stderr and len(done.stderr.splitlines()) == 1
