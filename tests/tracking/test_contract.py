"""The contract of `Store`: each test runs on every kind, and on the view for the clients of a run."""

from __future__ import annotations

import io
import math
import re
import threading
from collections.abc import Callable
from itertools import pairwise

import pytest

from projrun.errors import TrackingError
from projrun.tracking import Store
from projrun.tracking.entities import CREATION_TAG, DatasetInput, Metric, Run

KEEPS_MODELS = pytest.mark.parametrize("store", ["sqlite", "view"], indirect=True)


def refused(error_code: str, call: Callable[[], object]) -> str:
    """The message of the refusal, which must have this code."""
    with pytest.raises(TrackingError) as caught:
        call()
    assert caught.value.error_code == error_code, caught.value
    assert "\n" not in str(caught.value)
    return str(caught.value)


def start(store: Store, **arguments: str) -> Run:
    return store.create_run("0", **arguments)  # type: ignore[arg-type]


def test_the_default_experiment_is_there_from_the_start(store: Store) -> None:
    default = store.get_experiment("0")
    assert (default.name, default.lifecycle_stage) == ("Default", "active")
    assert store.get_experiment_by_name("Default") == default


def test_an_experiment_lives_is_renamed_deleted_and_restored(store: Store) -> None:
    number = store.create_experiment("first", {"team": "blue"})
    assert store.get_experiment(number).tags == {"team": "blue"}
    store.rename_experiment(number, "second")
    store.set_experiment_tag(number, "team", "red")
    store.set_experiment_tag(number, "extra", "x")
    store.delete_experiment_tag(number, "extra")
    found = store.get_experiment_by_name("second")
    assert found and found.experiment_id == number and found.tags == {"team": "red"}
    run = store.create_run(number)
    store.delete_experiment(number)
    assert store.get_experiment(number).lifecycle_stage == "deleted"
    assert store.get_run(run.run_id).lifecycle_stage == "deleted"
    refused("INVALID_PARAMETER_VALUE", lambda: store.create_run(number))
    refused("RESOURCE_DOES_NOT_EXIST", lambda: store.delete_experiment(number))
    store.restore_experiment(number)
    assert store.get_run(run.run_id).lifecycle_stage == "active"


def test_experiment_names_are_unique_even_against_deleted_ones(store: Store) -> None:
    number = store.create_experiment("taken")
    refused("RESOURCE_ALREADY_EXISTS", lambda: store.create_experiment("taken"))
    refused("RESOURCE_ALREADY_EXISTS", lambda: store.rename_experiment("0", "taken"))
    store.delete_experiment(number)
    assert "restore" in refused("RESOURCE_ALREADY_EXISTS", lambda: store.create_experiment("taken"))


def test_an_unknown_experiment_does_not_exist(store: Store) -> None:
    refused("RESOURCE_DOES_NOT_EXIST", lambda: store.get_experiment("99"))
    refused("RESOURCE_DOES_NOT_EXIST", lambda: store.create_run("99"))


@pytest.mark.parametrize("experiment_id", ["nonsense", "-1", "0 OR 1=1", "9" * 30, "¹"])
def test_what_cannot_be_the_id_of_an_experiment_is_refused(store: Store, experiment_id: str) -> None:
    refused("INVALID_PARAMETER_VALUE", lambda: store.get_experiment(experiment_id))
    refused("INVALID_PARAMETER_VALUE", lambda: store.create_run(experiment_id))
    assert store.search_runs([experiment_id]) == ([], "")
    assert store.get_experiment_by_name(experiment_id) is None


def test_an_unknown_run_does_not_exist_for_any_call(store: Store) -> None:
    calls: list[Callable[[str], object]] = [
        store.get_run,
        lambda run: store.update_run(run, status="FINISHED"),
        store.delete_run,
        store.restore_run,
        lambda run: store.log_batch(run, tags={"a": "b"}),
        lambda run: store.delete_tag(run, "a"),
        lambda run: store.get_metric_history(run, "a"),
        store.list_artifacts,
        lambda run: store.open_artifact(run, "a").__enter__(),
        lambda run: store.write_artifact(run, "a", b""),
    ]
    for call in calls:
        refused("RESOURCE_DOES_NOT_EXIST", lambda call=call: call("0" * 32))  # type: ignore[misc]


def test_a_run_begins_scheduled_runs_and_finishes(store: Store) -> None:
    run = store.create_run(
        "0", run_name="mine", user_id="me", start_time=1_000, tags={"a": "b"}, status="SCHEDULED"
    )
    assert re.fullmatch("[0-9a-f]{32}", run.run_id)
    assert (run.status, run.user_id, run.start_time, run.end_time) == ("SCHEDULED", "me", 1_000, None)
    assert {**run.tags, CREATION_TAG: ""} == {"a": "b", "mlflow.runName": "mine", CREATION_TAG: ""}
    assert store.update_run(run.run_id, status="RUNNING").status == "RUNNING"
    finished = store.update_run(run.run_id, status="FINISHED", end_time=2_000, run_name="yours")
    assert (finished.status, finished.end_time, finished.run_name) == ("FINISHED", 2_000, "yours")
    assert finished.tags["mlflow.runName"] == "yours"
    assert store.get_run(run.run_id) == finished


def test_a_run_without_a_name_gets_a_readable_one(store: Store) -> None:
    names = {start(store).run_name for _ in range(5)}
    assert len(names) == 5
    assert all(re.fullmatch("[a-z]+-[a-z]+-[0-9]{1,3}", name) for name in names)


def test_a_runs_name_and_its_tag_are_one(store: Store) -> None:
    run = store.create_run("0", tags={"mlflow.runName": "tagged"})
    assert run.run_name == "tagged"
    store.log_batch(run.run_id, tags={"mlflow.runName": "retagged"})
    assert store.get_run(run.run_id).run_name == "retagged"
    refused(
        "INVALID_PARAMETER_VALUE",
        lambda: store.create_run("0", run_name="a", tags={"mlflow.runName": "b"}),
    )


def test_a_deleted_run_takes_nothing_until_it_is_restored(store: Store) -> None:
    run = start(store)
    store.delete_run(run.run_id)
    assert store.get_run(run.run_id).lifecycle_stage == "deleted"
    refused("INVALID_PARAMETER_VALUE", lambda: store.log_batch(run.run_id, tags={"a": "b"}))
    refused("INVALID_PARAMETER_VALUE", lambda: store.update_run(run.run_id, status="FAILED"))
    assert store.search_runs(["0"]) == ([], "")
    assert [r.run_id for r in store.search_runs(["0"], run_view_type="DELETED_ONLY")[0]] == [run.run_id]
    store.restore_run(run.run_id)
    store.log_batch(run.run_id, tags={"a": "b"})


def test_numbers_that_json_lacks_come_back_as_they_went(store: Store) -> None:
    run = start(store)
    values = [math.nan, math.inf, -math.inf, 0.1, -1.5, 1e308, 5e-324]
    store.log_batch(run.run_id, [Metric("m", value, 10, step) for step, value in enumerate(values)])
    history = store.get_metric_history(run.run_id, "m")
    assert [repr(metric.value) for metric in history] == [repr(value) for value in values]
    store.log_batch(run.run_id, [Metric("m", math.nan, 10, 99)])
    assert math.isnan(store.get_run(run.run_id).metrics["m"].value)


def test_the_last_metric_is_the_one_of_the_highest_step_then_time_then_value(store: Store) -> None:
    run = start(store)
    ordered = [(1.0, 50, -3), (2.0, 10, 0), (1.0, 20, 0), (9.0, 20, 0), (0.5, 5, 2**40)]
    for (value, timestamp, step), following in pairwise([*ordered, ordered[-1]]):
        store.log_batch(run.run_id, [Metric("m", value, timestamp, step), Metric("m", *following)])
        assert store.get_run(run.run_id).metrics["m"] == Metric("m", *following)
        store.log_batch(run.run_id, [Metric("m", value, timestamp, step)])
        assert store.get_run(run.run_id).metrics["m"] == Metric("m", *following)
    assert len(store.get_metric_history(run.run_id, "m")) == len(ordered)


@pytest.mark.parametrize("count", [1, 99, 100, 101, 999, 1000])
def test_a_batch_of_any_size_is_stored_whole_and_once(store: Store, count: int) -> None:
    run_id = store.create_run("0").run_id
    metrics = [
        Metric(f"m{i % 3}", math.nan if i == count - 1 else float(-i), 1, i // 2) for i in range(count)
    ]
    for _ in range(2):
        store.log_batch(run_id, metrics)
    found = [metric for key in ("m0", "m1", "m2") for metric in store.get_metric_history(run_id, key)]
    assert sorted(map(repr, found)) == sorted(map(repr, metrics))
    latest = store.get_run(run_id).metrics
    for key, last in latest.items():
        rivals = [metric for metric in metrics if metric.key == key]
        ranks = [(metric.step, not math.isnan(metric.value), metric.value) for metric in rivals]
        assert repr(last) == repr(rivals[ranks.index(max(ranks))])


def test_history_is_ordered_and_can_be_had_in_parts(store: Store) -> None:
    run = start(store)
    store.log_batch(run.run_id, [Metric("m", float(step), 1, step) for step in reversed(range(20))])
    assert [m.step for m in store.get_metric_history(run.run_id, "m")] == list(range(20))
    assert [m.step for m in store.get_metric_history(run.run_id, "m", 3, 5)] == [5, 6, 7]
    assert store.get_metric_history(run.run_id, "other") == []


def test_a_parameter_never_changes(store: Store) -> None:
    run = start(store)
    store.log_batch(run.run_id, params={"depth": "3"})
    store.log_batch(run.run_id, params={"depth": "3"})
    message = refused(
        "INVALID_PARAMETER_VALUE",
        lambda: store.log_batch(run.run_id, [Metric("m", 1.0, 1)], {"new": "1", "depth": "4"}, {"t": "v"}),
    )
    assert "'depth'" in message and "'3'" in message and "'4'" in message
    left = store.get_run(run.run_id)
    assert (left.params, left.metrics) == ({"depth": "3"}, {})
    assert "t" not in left.tags


def test_tags_change_and_go(store: Store) -> None:
    run = start(store)
    store.log_batch(run.run_id, tags={"a": "1"})
    store.log_batch(run.run_id, tags={"a": "2", "empty": ""})
    tags = store.get_run(run.run_id).tags
    assert (tags["a"], tags["empty"]) == ("2", "")
    store.delete_tag(run.run_id, "a")
    assert "a" not in store.get_run(run.run_id).tags
    refused("RESOURCE_DOES_NOT_EXIST", lambda: store.delete_tag(run.run_id, "a"))


def test_text_of_any_kind_is_kept(store: Store) -> None:
    text = "naïve 漢字 🚀 \"quoted\" 'single' `tick` \\ \n\t end; DROP TABLE runs; -- \x00"
    run = store.create_run("0", run_name="näme 🚀", tags={"t": text})
    store.log_batch(run.run_id, params={"p": text})
    again = store.get_run(run.run_id)
    assert (again.run_name, again.tags["t"], again.params["p"]) == ("näme 🚀", text, text)


def test_models_of_older_clients_are_listed_in_a_tag(store: Store) -> None:
    run = start(store)
    for path in ("a", "b"):
        model: dict[str, object] = {
            "run_id": run.run_id,
            "artifact_path": path,
            "utc_time_created": "now",
            "flavors": {},
        }
        store.log_model(run.run_id, model)
    history = store.get_run(run.run_id).tags["mlflow.log-model.history"]
    assert history.index('"artifact_path":"a"') < history.index('"artifact_path":"b"')


def test_datasets_are_inputs_of_a_run(store: Store) -> None:
    run = start(store)
    dataset = DatasetInput(
        name="iris",
        digest="abc",
        source_type="local",
        source="{}",
        schema="{}",
        tags={"mlflow.data.context": "x"},
    )
    store.log_inputs(run.run_id, [dataset])
    store.log_inputs(run.run_id, [dataset])
    assert store.get_run(run.run_id).inputs == (dataset,)
    assert len(store.search_runs(["0"], "dataset.name = 'iris' AND datasets.context LIKE 'x'")[0]) == 1
    assert store.search_runs(["0"], "dataset.digest IN ('zzz')")[0] == []


def test_what_exceeds_a_limit_of_mlflow_is_refused(store: Store) -> None:
    run = start(store).run_id
    batches: list[Callable[[], object]] = [
        lambda: store.log_batch(run, ones(1001)),
        lambda: store.log_batch(run, params={f"p{n}": "" for n in range(101)}),
        lambda: store.log_batch(run, tags={f"t{n}": "" for n in range(101)}),
        lambda: store.log_batch(run, ones(950), {str(n): "" for n in range(51)}),
        lambda: store.log_batch(run, [Metric("k" * 251, 1.0, 1)]),
        lambda: store.log_batch(run, [Metric("m", 1.0, -1)]),
        lambda: store.log_batch(run, params={"k" * 251: ""}),
        lambda: store.log_batch(run, tags={"k" * 251: ""}),
        lambda: store.create_experiment("n" * 501),
        lambda: store.create_experiment(""),
        lambda: store.set_experiment_tag("0", "k", "v" * 20_001),
        lambda: store.search_runs(["0"], max_results=50_001),
        lambda: store.search_runs(["0"], max_results=0),
        lambda: store.search_runs(["0"], page_token="nonsense"),
    ]  # fmt: skip
    for batch in batches:
        refused("INVALID_PARAMETER_VALUE", batch)


def ones(count: int) -> list[Metric]:
    return [Metric("m", 1.0, 1, step) for step in range(count)]


@pytest.mark.parametrize(
    "key", ["", ".", "..", "../a", "/a", "a//b", "a/", "./a", "a\nb", "a;b", "ключ\x00", "é'"]
)
def test_names_that_would_not_do_as_files_are_refused(store: Store, key: str) -> None:
    run = start(store).run_id
    refused("INVALID_PARAMETER_VALUE", lambda: store.log_batch(run, [Metric(key, 1.0, 1)]))
    refused("INVALID_PARAMETER_VALUE", lambda: store.log_batch(run, params={key: "v"}))
    refused("INVALID_PARAMETER_VALUE", lambda: store.log_batch(run, tags={key: "v"}))


@pytest.mark.parametrize("key", ["a", "a/b.c-d e:f_1", "ключ"])
def test_names_that_mlflow_allows_are_allowed(store: Store, key: str) -> None:
    run = start(store).run_id
    store.log_batch(run, [Metric(key, 1.0, 1)], {key: "v"}, {key: "v"})
    assert store.get_run(run).metrics[key].value == 1.0


def test_long_values_are_cut_as_mlflow_cuts_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(store).run_id
    store.log_batch(run, params={"p": "é" * 6001}, tags={"t": "é" * 8001})
    kept = store.get_run(run)
    assert (kept.params["p"], kept.tags["t"]) == ("é" * 6000, "é" * 8000)
    monkeypatch.setenv("MLFLOW_TRUNCATE_LONG_VALUES", "false")
    refused("INVALID_PARAMETER_VALUE", lambda: store.log_batch(run, params={"q": "v" * 6001}))


def test_pages_of_runs_follow_each_other(store: Store) -> None:
    for number in range(5):
        store.create_run("0", start_time=number)
    seen: list[int] = []
    token = ""
    while True:
        found, token = store.search_runs(["0"], max_results=2, page_token=token)
        seen += [run.start_time for run in found]
        if not token:
            break
    assert seen == [4, 3, 2, 1, 0]


def test_searching_no_experiment_in_particular_searches_all(store: Store) -> None:
    other = store.create_experiment("other")
    store.create_run("0")
    store.create_run(other)
    assert len(store.search_runs([])[0]) == 2
    assert len(store.search_runs([other])[0]) == 1
    assert store.search_runs(["77"])[0] == []


def test_experiments_are_searched_by_name_and_tag(store: Store) -> None:
    for name, team in (("Alpha", "blue"), ("beta", "red")):
        store.create_experiment(name, {"team": team})

    def names(filter_string: str, *order_by: str) -> list[str]:
        return [e.name for e in store.search_experiments(filter_string, order_by)[0]]

    assert names("", "name ASC") == ["Alpha", "Default", "beta"]
    assert names("", "name DESC") == ["beta", "Default", "Alpha"]
    assert names("name LIKE 'A%'") == ["Alpha"]
    assert names("name ILIKE '%A' AND tags.team = 'red'") == ["beta"]
    assert names("tags.team IS NULL") == ["Default"]
    found, token = store.search_experiments(order_by=["name"], max_results=2)
    assert [
        e.name for e in found + store.search_experiments(order_by=["name"], page_token=token)[0]
    ] == names("", "name")
    refused("INVALID_PARAMETER_VALUE", lambda: names("metrics.a > 1"))


def test_artifacts_are_written_listed_read_and_deleted(store: Store) -> None:
    run = start(store).run_id
    assert store.list_artifacts(run) == []
    store.write_artifact(run, "a.txt", b"one")
    store.write_artifact(run, "plots/ü 1%20.png", iter([b"tw", b"o"]))
    store.write_artifact(run, "plots/deep/empty", b"")
    assert [(info.path, info.is_dir, info.file_size) for info in store.list_artifacts(run)] == [
        ("a.txt", False, 3),
        ("plots", True, None),
    ]
    assert [info.path for info in store.list_artifacts(run, "plots")] == ["plots/deep", "plots/ü 1%20.png"]
    assert store.list_artifacts(run, "a.txt") == store.list_artifacts(run, "nowhere") == []
    store.write_artifact(run, "a.txt", b"replaced")
    assert read(store, run, "a.txt") == b"replaced"
    assert read(store, run, "plots/ü 1%20.png") == b"two"
    assert read(store, run, "plots/deep/empty") == b""
    store.delete_artifact(run, "plots")
    store.delete_artifact(run, "a.txt")
    assert store.list_artifacts(run) == []
    refused("RESOURCE_DOES_NOT_EXIST", lambda: read(store, run, "a.txt"))
    refused("RESOURCE_DOES_NOT_EXIST", lambda: store.delete_artifact(run, "a.txt"))


def read(store: Store, run_id: str, path: str) -> bytes:
    with store.open_artifact(run_id, path) as file:
        return file.read()


def test_a_file_is_not_a_directory_nor_a_directory_a_file(store: Store) -> None:
    run = start(store).run_id
    store.write_artifact(run, "d/f", b"x")
    for call in (
        lambda: read(store, run, "d"),
        lambda: store.write_artifact(run, "d", b"x"),
        lambda: store.write_artifact(run, "d/f/g", b"x"),
        lambda: store.write_artifact(run, "n" * 300, b"x"),
    ):
        refused("INVALID_PARAMETER_VALUE", call)


def test_an_upload_that_breaks_off_leaves_the_old_artifact(store: Store) -> None:
    def breaking() -> io.BytesIO:
        raise OSError("the disk went away")

    run = start(store).run_id
    store.write_artifact(run, "a", b"old")
    with pytest.raises((TrackingError, OSError)):
        store.write_artifact(
            run, "a", (part if n else breaking().read() for n, part in ((1, b"x"), (0, b"")))
        )
    assert read(store, run, "a") == b"old"
    assert [info.path for info in store.list_artifacts(run)] == ["a"]


@pytest.mark.parametrize(
    "path", ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/.", "a/", "x\x00y"]
)
def test_paths_that_are_not_plain_are_refused(store: Store, path: str) -> None:
    run = start(store).run_id
    refused("INVALID_PARAMETER_VALUE", lambda: read(store, run, path))
    refused("INVALID_PARAMETER_VALUE", lambda: store.write_artifact(run, path, b"x"))
    refused("INVALID_PARAMETER_VALUE", lambda: store.delete_artifact(run, path))
    refused("INVALID_PARAMETER_VALUE", lambda: store.log_file(run, path))


def test_a_log_grows_and_is_an_artifact_when_it_is_finished(store: Store) -> None:
    run = start(store).run_id
    with store.log_file(run, "logs/output.log").open("ab") as log:
        log.write(b"one\n")
        log.flush()
        store.finish_file(run, "logs/output.log")
        assert read(store, run, "logs/output.log") == b"one\n"
        log.write(b"two\n")
    store.finish_file(run, "logs/output.log")
    assert read(store, run, "logs/output.log") == b"one\ntwo\n"


def test_many_threads_share_a_store(store: Store) -> None:
    run = start(store).run_id
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(10):
                store.log_batch(run, [Metric(f"m{number}", 1.0, 1, step)], tags={f"t{number}": str(step)})
                store.get_run(run)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert all(len(store.get_metric_history(run, f"m{number}")) == 10 for number in range(8))


def test_a_log_that_nobody_wrote_is_no_artifact(store: Store) -> None:
    run = start(store)
    store.log_file(run.run_id, "logs/empty.log")
    store.finish_file(run.run_id, "logs/empty.log")
    with pytest.raises(TrackingError):
        store.open_artifact(run.run_id, "logs/empty.log").__enter__()


def test_a_store_names_itself_and_what_it_holds(store: Store) -> None:
    run = start(store)
    assert store.uri and "@" not in store.uri
    is_here = bool(store.artifact_root) and run.artifact_uri.startswith(f"{store.artifact_root}/")
    assert is_here == (store.artifact_file(run.run_id, "a") is not None)


def test_an_artifact_is_a_file_here_or_is_on_a_server(store: Store) -> None:
    run = start(store).run_id
    store.write_artifact(run, "a/b", b"x")
    file = store.artifact_file(run, "a/b")
    assert file is None if store.uri.startswith("http") else file and file.read_bytes() == b"x"
    absent = store.artifact_file(run, "absent")
    assert absent is None or not absent.exists()


def test_a_store_that_does_not_wait_is_the_same_store(store: Store) -> None:
    run = start(store)
    impatient = store.impatient()
    assert impatient is None or impatient.get_run(run.run_id) == run


def test_a_store_may_be_closed_twice(store: Store) -> None:
    start(store)
    store.close()
    store.close()


def test_a_store_that_keeps_no_models_is_a_server(store: Store) -> None:
    assert (store.models is None) == store.uri.startswith("http")


@KEEPS_MODELS
def test_a_logged_model_is_created_filled_and_deleted(store: Store) -> None:
    models, run = store.models, start(store).run_id
    assert models
    model = models.logged.create("0", name="line", source_run_id=run, params={"a": "1"}, tags={"t": "1"})
    assert (model.status, model.source_run_id, model.params) == ("PENDING", run, {"a": "1"})
    assert models.logged.finalize(model.model_id, "READY").status == "READY"
    assert models.logged.set_tags(model.model_id, {"t": "2"}).tags == {"t": "2"}
    store.log_batch(run, [Metric("loss", 0.5, 1, model_id=model.model_id)])
    models.logged.log_outputs(run, {model.model_id: 3})
    assert store.get_run(run).model_outputs == {model.model_id: 3}
    assert [found.metrics[0].key for found in models.logged.search(["0"], "metrics.loss < 1")[0]] == ["loss"]
    files = models.logged.artifacts(model.model_id)
    files.write("d/f", iter([b"a", b"b"]))
    assert [info.path for info in files.list_entries("d")] == ["d/f"]
    models.logged.delete(model.model_id)
    with models.logged.artifacts(model.model_id).open_file("d/f") as file:
        assert file.read() == b"ab"
    refused("RESOURCE_DOES_NOT_EXIST", lambda: models.logged.get(model.model_id))
    refused("RESOURCE_DOES_NOT_EXIST", lambda: models.logged.finalize(model.model_id, "READY"))


@KEEPS_MODELS
def test_a_registered_model_has_versions_and_aliases(store: Store) -> None:
    assert store.models
    registry, run = store.models.registry, start(store).run_id
    registry.create_model("prices", "what houses cost", {"team": "blue"})
    versions = [registry.create_version("prices", f"runs:/{run}/m", run_id=run) for _ in range(2)]
    assert [version.version for version in versions] == [1, 2]
    assert registry.move_version("prices", "1", "production").stage == "Production"
    registry.set_alias("prices", "champion", "1")
    registry.set_alias("prices", "champion", "2")
    assert registry.version_of_alias("prices", "champion").version == 2
    assert registry.location("prices", "2") == f"runs:/{run}/m"
    assert [version.version for version in registry.latest_versions("prices", ["Production"])] == [1]
    registry.delete_version("prices", "2")
    assert registry.create_version("prices", f"runs:/{run}/m").version == 3
    refused("INVALID_PARAMETER_VALUE", lambda: registry.version_of_alias("prices", "champion"))
    refused("RESOURCE_ALREADY_EXISTS", lambda: registry.create_model("prices"))
    refused("RESOURCE_DOES_NOT_EXIST", lambda: registry.get_version("prices", "2"))
    refused("INVALID_PARAMETER_VALUE", lambda: registry.create_version("prices", "/etc/passwd"))
    assert [model.name for model in registry.search_models("tags.team = 'blue'")[0]] == ["prices"]
