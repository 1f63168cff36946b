"""Logged models in the embedded store."""

from __future__ import annotations

import math
from contextlib import closing
from sqlite3 import connect

import pytest

from projrun.disk import Home
from projrun.tracking import sqlite
from projrun.tracking.entities import Metric
from projrun.tracking.models import Dataset, ModelOrder
from projrun.tracking.sqlite import SqliteStore
from projrun.tracking.sqlite.database import MIGRATIONS
from tests.tracking.test_contract import refused


def test_a_model_is_made_filled_finished_and_deleted(kept: SqliteStore) -> None:
    models = kept.models.logged
    model = models.create("0", name="ridge", model_type="t", params={"a": "1"}, tags={"b": "2"})
    assert (model.status, model.params, model.tags) == ("PENDING", {"a": "1"}, {"b": "2"})
    assert model.artifact_uri == f"{kept.artifact_root}/0/models/{model.model_id}"
    models.log_params(model.model_id, {"a": "1", "c": "3"})
    assert models.set_tags(model.model_id, {"b": "4", "d": "5"}).tags == {"b": "4", "d": "5"}
    models.delete_tag(model.model_id, "d")
    ready = models.finalize(model.model_id, "READY")
    assert (ready.status, ready.params, ready.tags) == ("READY", {"a": "1", "c": "3"}, {"b": "4"})
    models.delete(model.model_id)
    refused("RESOURCE_DOES_NOT_EXIST", lambda: models.get(model.model_id))
    assert models.get(model.model_id, allow_deleted=True).lifecycle_stage == "deleted"
    assert models.search(["0"]) == ([], "")


def test_a_model_without_a_name_gets_one(kept: SqliteStore) -> None:
    assert kept.models.logged.create("0").name.count("-") == 2


def test_what_a_model_may_not_be_is_refused(kept: SqliteStore) -> None:
    models = kept.models.logged
    model_id = models.create("0", name="m", params={"a": "1"}).model_id
    for name in ("a/b", "a:b", "a.b", "a%b", "a'b", 'a"b', "x" * 501, "\ud800"):
        refused("INVALID_PARAMETER_VALUE", lambda name=name: models.create("0", name=name))  # type: ignore[misc]
    refused("RESOURCE_DOES_NOT_EXIST", lambda: models.create("99"))
    refused("INVALID_PARAMETER_VALUE", lambda: models.log_params(model_id, {"a": "2"}))
    refused("INVALID_PARAMETER_VALUE", lambda: models.finalize(model_id, "DONE"))
    refused("RESOURCE_DOES_NOT_EXIST", lambda: models.delete_tag(model_id, "none"))
    number = kept.create_experiment("gone")
    kept.delete_experiment(number)
    refused("INVALID_PARAMETER_VALUE", lambda: models.create(number))


def test_an_unknown_model_does_not_exist_for_any_call(kept: SqliteStore) -> None:
    models, unknown = kept.models.logged, "m-" + "0" * 32
    run_id = kept.create_run("0").run_id
    for call in (
        lambda: models.get(unknown),
        lambda: models.finalize(unknown, "READY"),
        lambda: models.delete(unknown),
        lambda: models.set_tags(unknown, {"a": "b"}),
        lambda: models.delete_tag(unknown, "a"),
        lambda: models.log_params(unknown, {}),
        lambda: models.artifacts(unknown),
        lambda: kept.log_batch(run_id, [Metric("m", 1.0, 1, 0, unknown)], {"p": "1"}),
    ):
        refused("RESOURCE_DOES_NOT_EXIST", call)
    assert kept.get_run(run_id).params == {}  # all of a batch or nothing


def test_metrics_belong_to_the_run_and_to_the_model(kept: SqliteStore) -> None:
    run_id = kept.create_run("0").run_id
    model_id = kept.models.logged.create("0", source_run_id=run_id).model_id
    measured = Metric("rmse", math.nan, 1, 2, model_id, "houses", "d1")
    kept.log_batch(run_id, [measured, Metric("other", 1.0, 1), measured])
    (metric,) = kept.models.logged.get(model_id).metrics
    assert (metric.key, metric.step, metric.run_id, metric.dataset_name, metric.dataset_digest) == (
        "rmse",
        2,
        run_id,
        "houses",
        "d1",
    )
    assert math.isnan(metric.value)
    assert set(kept.get_run(run_id).metrics) == {"rmse", "other"}
    refused(
        "INVALID_PARAMETER_VALUE",
        lambda: kept.log_batch(run_id, [Metric("a", 1.0, 1, 0, model_id, "n", "d" * 37)]),
    )


def test_a_run_knows_the_models_that_it_made_and_read(kept: SqliteStore) -> None:
    run_id, model_id = kept.create_run("0").run_id, kept.models.logged.create("0").model_id
    kept.models.logged.log_outputs(run_id, {model_id: 3})
    kept.models.logged.log_outputs(run_id, {model_id: 4})
    kept.models.logged.log_inputs(run_id, [model_id, "m-of-another-server"])
    run = kept.get_run(run_id)
    assert run.model_outputs == {model_id: 4}
    assert run.model_inputs == tuple(sorted([model_id, "m-of-another-server"]))
    refused("RESOURCE_DOES_NOT_EXIST", lambda: kept.models.logged.log_outputs("0" * 32, {}))


def test_the_artifacts_of_a_model_are_its_own(kept: SqliteStore) -> None:
    first, second = (kept.models.logged.create("0").model_id for _ in range(2))
    files = kept.models.logged.artifacts(first)
    files.write("d/a.txt", b"a")
    assert [info.path for info in files.list_entries("d")] == ["d/a.txt"]
    with files.open_file("d/a.txt") as file:
        assert file.read() == b"a"
    assert kept.models.logged.artifacts(second).list_entries("") == []
    for path in ("../x", f"../{second}/x", "/etc/passwd", "", "."):
        refused("INVALID_PARAMETER_VALUE", lambda path=path: files.write(path, b"x"))  # type: ignore[misc]
    files.delete("d")
    assert files.list_entries("") == []


def test_the_models_of_an_experiment_elsewhere_are_elsewhere(kept: SqliteStore) -> None:
    number = kept.create_experiment("e", artifact_location="s3://bucket/place")
    model = kept.models.logged.create(number)
    assert model.artifact_uri == f"s3://bucket/place/models/{model.model_id}/artifacts"


@pytest.fixture
def zoo(kept: SqliteStore) -> SqliteStore:
    """ant, bee and cat, made in that order; losses on two data sets; cat was never measured."""
    run_id = kept.create_run("0").run_id
    for name, loss in (("ant", 0.5), ("bee", 0.25)):
        model = kept.models.logged.create("0", name=name, source_run_id=run_id, params={"legs": "6"})
        old, new = Metric("loss", 9.0, 1, 0, model.model_id, "train"), Metric("loss", loss, 2, 1)
        tested = Metric("loss", 1.0 - loss, 3, 1, model.model_id, "test", "t1")
        kept.log_batch(run_id, [old, tested, Metric(new.key, loss, 2, 1, model.model_id, "train")])
    cat = kept.models.logged.create("0", name="cat", model_type="pet", tags={"fur": "yes"})
    kept.models.logged.finalize(cat.model_id, "READY")
    kept.models.logged.create(kept.create_experiment("other"), name="dog")
    return kept


@pytest.mark.parametrize(
    ("filter_string", "expected"),
    [
        ("", "cat bee ant"),
        ("name = 'ant'", "ant"),
        ("attributes.name ILIKE 'A%' AND params.legs = '6'", "ant"),
        ("name IN ('ant', 'cat')", "cat ant"),
        ("tags.fur = 'yes' AND status = 'READY' AND model_type = 'pet'", "cat"),
        ("metrics.loss = 0.25", "bee"),
        ("metrics.loss > 8 AND creation_timestamp > 0", "bee ant"),
        ("params.legs IS NULL", "cat"),
        ("name = 'x'' OR 1=1 --'", ""),
    ],
)
def test_models_are_found_by_what_is_known_of_them(
    zoo: SqliteStore, filter_string: str, expected: str
) -> None:
    found, _ = zoo.models.logged.search(["0"], filter_string)
    assert [model.name for model in found] == expected.split()


def test_models_are_found_by_the_data_that_they_were_measured_on(zoo: SqliteStore) -> None:
    def names(filter_string: str, *datasets: Dataset) -> list[str]:
        return [model.name for model in zoo.models.logged.search(["0"], filter_string, datasets)[0]]

    assert names("", Dataset("test", "t1")) == ["bee", "ant"]
    assert names("", Dataset("test", "t2")) == []
    assert names("metrics.loss = 0.75", Dataset("test")) == ["bee"]
    assert names("metrics.loss = 0.75", Dataset("train")) == []
    refused("INVALID_PARAMETER_VALUE", lambda: names("", Dataset("")))


def test_models_are_ordered_by_their_last_metrics_and_come_in_pages(zoo: SqliteStore) -> None:
    def names(*orders: ModelOrder) -> list[str]:
        return [model.name for model in zoo.models.logged.search(["0"], order_by=orders)[0]]

    assert names(ModelOrder("metrics.loss", True, Dataset("train"))) == ["bee", "ant", "cat"]
    assert names(ModelOrder("metrics.loss")) == ["ant", "bee", "cat"]
    assert names(ModelOrder("metrics.loss", False)) == ["bee", "ant", "cat"]
    assert names(ModelOrder("name", False)) == ["cat", "bee", "ant"]
    for field in ("colour", "tags.fur", "metrics.", "1; DROP"):
        refused("INVALID_PARAMETER_VALUE", lambda field=field: names(ModelOrder(field)))  # type: ignore[misc]
    first, token = zoo.models.logged.search(["0", "1"], max_results=3)
    last, end = zoo.models.logged.search(["0", "1"], max_results=3, page_token=token)
    assert [model.name for model in (*first, *last)] == ["dog", "cat", "bee", "ant"] and end == ""
    refused("INVALID_PARAMETER_VALUE", lambda: zoo.models.logged.search(["0"], max_results=0))
    refused("INVALID_PARAMETER_VALUE", lambda: zoo.models.logged.search(["0"] * 40_000))


def test_a_database_from_before_models_keeps_its_runs_and_gets_them(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr("projrun.tracking.sqlite.database.MIGRATIONS", MIGRATIONS[:1])
        sqlite.open_store(home).close()
    with closing(connect(home.tracking_db)) as db:
        assert db.execute("SELECT name FROM migrations").fetchall() == [("0001_runs",)]
        db.execute(
            "INSERT INTO runs (run_id, experiment_id, name, user_id, status, start_time)"
            " VALUES ('r', 0, 'old', '', 'FINISHED', 1)"
        )
        db.commit()
    with closing(sqlite.open_store(home)) as store:
        assert store.get_run("r").run_name == "old"
        assert store.models.logged.create("0") and store.models.registry.create_model("m")
