"""Runs that real mlflow clients wrote to stores of mlflow's own, brought into projrun's."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from projrun.disk import Home
from projrun.errors import TrackingError
from projrun.tracking import Store, open_store
from tests.conftest import Projrun
from tests.support.mlflow_clients import FIRST_MLFLOW_FULL, MLFLOW_FULL, OLD_MLFLOW_FULL, Client


class Old(NamedTuple):
    place: Path
    runs: list[str]
    model_id: str
    """'' for clients before 3.0, which log none."""
    has_inputs: bool
    has_aliases: bool
    has_registry: bool


CLIENTS = {
    "3.17 sqlite": ("", MLFLOW_FULL, "sqlite:///mlflow.db"),
    "3.17 mlruns": ("", MLFLOW_FULL, "mlruns"),
    "2.22 sqlite": ("3.11", OLD_MLFLOW_FULL, "sqlite:///mlflow.db"),
    "2.22 mlruns": ("3.11", OLD_MLFLOW_FULL, "mlruns"),
    "1.30 sqlite": ("3.11", FIRST_MLFLOW_FULL, "sqlite:///mlflow.db"),
    "1.30 mlruns": ("3.11", FIRST_MLFLOW_FULL, "mlruns"),
}


@pytest.fixture(params=CLIENTS)
def old(request: pytest.FixtureRequest, client_python: Client, tmp_path: Path) -> Old:
    """Run a script that logs as users' scripts do, and return its store."""
    version, packages, uri = CLIENTS[request.param]
    directory = tmp_path / "old"
    directory.mkdir()
    done = subprocess.run(
        [client_python(version, *packages), Path(__file__).with_name("old_store_script.py"), uri],
        cwd=directory,
        env={**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    is_first = "1.30" in request.param
    run_ids, model_id = json.loads(done.stdout.splitlines()[-1])
    return Old(
        directory / uri.removeprefix("sqlite:///"),
        run_ids,
        model_id,
        has_inputs=not is_first,
        has_aliases=not is_first,
        has_registry=request.param != "1.30 mlruns",
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
    assert "imported 3 runs and 1 experiments" in done.stderr
    assert "1 runs were there already" in done.stderr
    first, inner, gone = (store.get_run(run_id) for run_id in old.runs)
    assert (first.run_name, first.status, first.tags["team"]) == ("first", "FINISHED", "blue")
    assert first.params == {"depth": "3", "a/b": "x" * 300}
    assert first.end_time and first.end_time >= first.start_time > 1_600_000_000_000
    assert [metric.value for metric in store.get_metric_history(first.run_id, "loss")] == [1, 1 / 2, 1 / 3]
    assert [metric.step for metric in store.get_metric_history(first.run_id, "loss")] == [0, 1, 2]
    last = {key: repr(metric.value) for key, metric in first.metrics.items() if key != "rmse"}
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
    if old.has_registry:
        check_models(store, old)
    again = projrun("runs", "import", old.place)
    assert (
        "imported 0 runs and 0 experiments, 0 logged models and 0 versions of registered ones;"
        " 4 runs were there already" in again.stderr
    )
    assert "warning" not in again.stderr
    assert len(store.get_metric_history(first.run_id, "loss")) == 3
    assert fingerprint(old.place) == before
    assert projrun("runs", "check").returncode == 0


def check_models(store: Store, old: Old) -> None:
    assert store.models
    registry, first = store.models.registry, old.runs[0]
    model = registry.get_model("prices")
    assert (model.description, model.tags) == ("what houses cost", {"team": "blue"})
    assert model.aliases == ({"champion": 1} if old.has_aliases else {})
    one, two = registry.get_version("prices", "1"), registry.get_version("prices", "2")
    assert (one.tags, one.run_id, one.creation_time > 1_600_000_000_000) == ({"checked": "yes"}, first, True)
    assert (one.stage, two.stage, two.description) == ("None", "Production", "the second")
    assert one.source == registry.location("prices", "1") == f"runs:/{first}/files"
    if not old.model_id:
        return
    assert registry.get_version("prices", "3").model_id == old.model_id
    assert registry.location("prices", "3") == f"models:/{old.model_id}"
    logged = store.models.logged.get(old.model_id)
    assert (logged.name, logged.status, logged.source_run_id) == ("line", "READY", first)
    assert (logged.params, logged.tags["kind"]) == ({"alpha": "1"}, "linear")
    values = [(metric.key, repr(metric.value), metric.step, metric.run_id) for metric in logged.metrics]
    assert sorted(values) == [("rmse", "0.5", 1, first), ("rmse", "nan", 2, first)]
    with store.models.logged.artifacts(old.model_id).open_file("ä b.txt") as file:
        assert file.read() == b"hello"
    assert store.get_run(first).model_outputs == {old.model_id: 2}


def fingerprint(place: Path) -> list[tuple[str, bytes]]:
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    return [(str(path), path.read_bytes()) for path in files]


def file_store(root: Path, run_id: str = "a" * 32) -> Path:
    """Write a small store of the kind that the file store of mlflow 1.x writes."""
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
    assert "without" not in projrun("runs", "import", tmp_path / "mlruns", "--artifacts", tmp_path).stderr
    assert [info.path for info in store.list_artifacts("b" * 32)] == ["key"]


def test_artifacts_are_found_where_the_store_was_moved_to(
    projrun: Projrun, client_python: Client, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "old").mkdir()
    script = Path(__file__).with_name("old_store_script.py")
    made = subprocess.run(
        [client_python("", *MLFLOW_FULL), script, "sqlite:///mlflow.db"],
        cwd=tmp_path / "old",
        capture_output=True,
        text=True,
    )
    (first, *_), model_id = json.loads(made.stdout.splitlines()[-1])
    (tmp_path / "old").rename(tmp_path / "new")
    done = projrun("runs", "import", tmp_path / "new" / "mlflow.db")
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    assert store.artifact_file(first, "files/ä b.txt")
    assert store.models
    assert [info.path for info in store.models.logged.artifacts(model_id).list_entries("")] == ["ä b.txt"]


def test_a_version_of_a_strangers_store_names_no_place_but_ours(
    projrun: Projrun, store: Store, tmp_path: Path
) -> None:
    run = file_store(tmp_path / "mlruns")
    model = tmp_path / "mlruns" / "models" / "prices"
    sources = [
        "/etc",
        "file:///etc/a",
        f"/x/{'a' * 32}/artifacts/../../y",
        f"s3://u:hunter2@b/{run.name}",
        "models:/m",
    ]
    for number, source in enumerate(sources, 1):
        (model / f"version-{number}").mkdir(parents=True)
        meta = {"version": number, "source": source, "run_id": run.name, "storage_location": source}
        (model / f"version-{number}" / "meta.yaml").write_text(json.dumps(meta))
    (model / "meta.yaml").write_text(json.dumps({"name": "prices"}))
    done = projrun("runs", "import", tmp_path / "mlruns")
    assert done.returncode == 0 and "prices/1, prices/2, prices/3 and 2 more" in done.stderr
    assert store.models
    versions, _ = store.models.registry.search_versions("name = 'prices'")
    assert {version.source for version in versions} == {"", f"s3://b/{run.name}"}
    for version in versions:
        with pytest.raises(TrackingError, match="no place"):
            store.models.registry.location("prices", str(version.version))


def test_what_has_the_same_name_here_stays_what_it_is(projrun: Projrun, store: Store, tmp_path: Path) -> None:
    run = file_store(tmp_path / "mlruns")
    model = tmp_path / "mlruns" / "models" / "prices"
    for number in (1, 2):
        (model / f"version-{number}").mkdir(parents=True)
        meta = {"version": number, "source": f"runs:/{run.name}/m", "run_id": run.name}
        (model / f"version-{number}" / "meta.yaml").write_text(json.dumps(meta))
    (model / "meta.yaml").write_text(json.dumps({"name": "prices", "description": "theirs"}))
    assert store.models
    own = store.create_run("0").run_id
    store.models.registry.create_model("prices", "ours")
    store.models.registry.create_version("prices", f"runs:/{own}/model")
    done = projrun("runs", "import", tmp_path / "mlruns")
    assert done.returncode == 0 and "other ones in projrun's store are left out: prices/1\n" in done.stderr
    assert store.models.registry.get_model("prices").description == "ours"
    runs = {version.version: version.run_id for version in store.models.registry.search_versions()[0]}
    assert runs == {1: own, 2: run.name}
    assert store.models.registry.create_version("prices", f"runs:/{own}/model").version == 3


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
