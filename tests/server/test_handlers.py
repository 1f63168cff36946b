"""The rules of MLflow's REST API, as clients of several versions rely on them."""

from __future__ import annotations

import http.client
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from projrun.disk import Home
from projrun.server.endpoint import Endpoint
from projrun.tracking import Store
from tests.server.conftest import Ask

INVALID = (400, "INVALID_PARAMETER_VALUE")
MISSING = (404, "RESOURCE_DOES_NOT_EXIST")
FILES = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture
def run_id(ask: Ask) -> str:
    return str(ask("POST", "runs/create", {"experiment_id": "0"}).json["run"]["info"]["run_id"])


@pytest.fixture
def files(run_id: str) -> str:
    return f"{FILES}/0/{run_id}/artifacts"


@pytest.mark.parametrize(
    "prefix", ["/api/2.0/", "/ajax-api/2.0/", "/api/2.0/preview/", "/ajax-api/2.0/preview/"]
)
def test_every_prefix_that_clients_use_is_served(ask: Ask, prefix: str) -> None:
    answer = ask("GET", f"{prefix}mlflow/experiments/get-by-name?experiment_name=Default")
    assert answer.json["experiment"]["experiment_id"] == "0"
    assert ask("GET", f"{prefix}mlflow/experiments/list").json["experiments"]


def test_an_experiment_has_mlflows_shape(ask: Ask) -> None:
    number = ask("POST", "experiments/create", {"name": "e", "tags": [{"key": "k", "value": "v"}]}).json
    experiment = ask("GET", f"experiments/get?experiment_id={number['experiment_id']}").json["experiment"]
    assert isinstance(experiment.pop("creation_time"), int)
    assert isinstance(experiment.pop("last_update_time"), int)
    assert experiment == {
        "experiment_id": "1",
        "name": "e",
        "artifact_location": "mlflow-artifacts:/1",
        "lifecycle_stage": "active",
        "tags": [{"key": "k", "value": "v"}],
    }


def test_experiments_live_as_in_mlflow(ask: Ask) -> None:
    ask("POST", "experiments/create", {"name": "e"})
    assert ask("POST", "experiments/create", {"name": "e"}).error == (400, "RESOURCE_ALREADY_EXISTS")
    assert ask("POST", "experiments/update", {"experiment_id": "1", "new_name": "f"}).json == {}
    tag = {"experiment_id": "1", "key": "k", "value": "v"}
    assert ask("POST", "experiments/set-experiment-tag", tag).json == {}
    assert ask("POST", "experiments/delete-experiment-tag", tag).json == {}
    assert ask("POST", "experiments/delete-experiment-tag", tag).error == MISSING
    assert ask("POST", "experiments/delete", {"experiment_id": "1"}).json == {}
    assert [e["name"] for e in ask("POST", "experiments/search", {}).json["experiments"]] == ["Default"]
    deleted = ask("GET", "experiments/search?view_type=DELETED_ONLY&max_results=5").json["experiments"]
    assert [e["name"] for e in deleted] == ["f"]
    assert len(ask("POST", "experiments/search", {"view_type": 3}).json["experiments"]) == 2
    assert ask("POST", "experiments/restore", {"experiment_id": "1"}).json == {}
    query = "order_by=name+ASC&order_by=creation_time&filter=name+LIKE+%27D%25%27"
    assert len(ask("GET", f"experiments/search?{query}").json["experiments"]) == 1


def test_an_unknown_name_is_missing_so_that_clients_create_it(ask: Ask) -> None:
    assert ask("GET", "experiments/get-by-name?experiment_name=nope").error == MISSING


def test_a_run_has_mlflows_shape(ask: Ask) -> None:
    content = {"experiment_id": "0", "start_time": "5", "run_name": "n", "tags": [{"key": "k", "value": "v"}]}
    run = ask("POST", "runs/create", content).json["run"]
    run_id = run["info"]["run_id"]
    assert run["info"] == {
        "run_id": run_id,
        "run_uuid": run_id,
        "run_name": "n",
        "experiment_id": "0",
        "user_id": "",
        "status": "RUNNING",
        "start_time": 5,
        "artifact_uri": f"mlflow-artifacts:/0/{run_id}/artifacts",
        "lifecycle_stage": "active",
    }
    tags = [{"key": "k", "value": "v"}, {"key": "mlflow.runName", "value": "n"}]
    assert run["data"] == {"metrics": [], "params": [], "tags": tags}
    update = {"run_id": run_id, "status": "FINISHED", "end_time": 7}
    info = ask("POST", "runs/update", update).json["run_info"]
    assert (info["status"], info["end_time"]) == ("FINISHED", 7)
    assert ask("GET", f"runs/get?run_id={run_id}").json["run"]["info"] == info


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (1, "RUNNING"),
        (2, "SCHEDULED"),
        (3, "FINISHED"),
        (4, "FAILED"),
        (5, "KILLED"),
        ("3", "FINISHED"),
        ("03", "FINISHED"),
    ],
)
def test_a_status_may_come_as_a_number(ask: Ask, run_id: str, number: int | str, status: str) -> None:
    info = ask("POST", "runs/update", {"run_id": run_id, "status": number}).json["run_info"]
    assert info["status"] == status


@pytest.mark.parametrize("names", [("run_id",), ("run_uuid",), ("run_id", "run_uuid")])
def test_a_run_may_be_named_the_old_way_or_the_new_or_both(
    ask: Ask, run_id: str, names: tuple[str, ...]
) -> None:
    named = dict.fromkeys(names, run_id)
    assert ask("GET", f"runs/get?{'&'.join(f'{name}={run_id}' for name in names)}").status == 200
    for path, content in (
        ("log-metric", {"key": "m", "value": 1.5, "timestamp": 2}),
        ("log-parameter", {"key": "p", "value": "x"}),
        ("set-tag", {"key": "t", "value": "y"}),
        ("log-batch", {"metrics": [], "params": [], "tags": []}),
        ("delete-tag", {"key": "t"}),
        ("update", {"run_name": "z"}),
    ):
        assert ask("POST", f"runs/{path}", {**named, **content}).status == 200, path
    data = ask("GET", f"runs/get?run_id={run_id}").json["run"]["data"]
    assert data["metrics"] == [{"key": "m", "value": 1.5, "timestamp": 2, "step": 0}]
    assert data["params"] == [{"key": "p", "value": "x"}]


def test_numbers_travel_as_strings_where_json_has_no_other_way(ask: Ask, run_id: str) -> None:
    for step, value in enumerate(["NaN", "Infinity", "-Infinity", "1.5"]):
        metric = {"run_id": run_id, "key": "m", "value": value, "timestamp": "9", "step": str(step)}
        assert ask("POST", "runs/log-metric", metric).json == {}
    history = ask("GET", f"metrics/get-history?run_id={run_id}&metric_key=m").json["metrics"]
    assert [(m["value"], m["timestamp"], m["step"]) for m in history] == [
        ("NaN", 9, 0), ("Infinity", 9, 1), ("-Infinity", 9, 2), (1.5, 9, 3)
    ]  # fmt: skip


def test_history_comes_in_pages(ask: Ask, run_id: str) -> None:
    metrics = [{"key": "m", "value": n, "timestamp": 1, "step": n} for n in range(5)]
    ask("POST", "runs/log-batch", {"run_id": run_id, "metrics": metrics})
    steps: list[int] = []
    token = ""
    while True:
        page = ask("GET", f"metrics/get-history?run_id={run_id}&metric_key=m&max_results=2{token}").json
        steps += [metric["step"] for metric in page["metrics"]]
        if "next_page_token" not in page:
            break
        token = f"&page_token={page['next_page_token']}"
    assert steps == [0, 1, 2, 3, 4]
    bulk = ask("GET", f"metrics/get-history-bulk?run_id={run_id}&metric_key=m&max_results=3").json["metrics"]
    assert [(m["run_id"], m["step"]) for m in bulk] == [(run_id, 0), (run_id, 1), (run_id, 2)]


def test_runs_are_searched_in_pages(ask: Ask) -> None:
    for number in range(3):
        ask("POST", "runs/create", {"experiment_id": "0", "start_time": number})
    search: dict[str, Any] = {"experiment_ids": ["0"], "max_results": 2, "order_by": ["start_time ASC"]}
    first = ask("POST", "runs/search", search).json
    second = ask("POST", "runs/search", {**search, "page_token": first["next_page_token"]}).json
    assert [run["info"]["start_time"] for run in first["runs"] + second["runs"]] == [0, 1, 2]
    assert "next_page_token" not in second
    assert ask("POST", "runs/search", {"experiment_ids": []}).json == {"runs": []}
    found = ask("POST", "runs/search", {**search, "filter": "start_time > 1", "run_view_type": "ALL"}).json
    assert len(found["runs"]) == 1


def test_a_run_is_deleted_and_restored(ask: Ask, run_id: str) -> None:
    assert ask("POST", "runs/delete", {"run_id": run_id}).json == {}
    assert ask("POST", "runs/search", {"experiment_ids": ["0"]}).json["runs"] == []
    assert ask("POST", "runs/restore", {"run_id": run_id}).json == {}
    assert len(ask("POST", "runs/search", {"experiment_ids": ["0"]}).json["runs"]) == 1


def test_a_logged_model_of_an_old_client_is_a_tag(ask: Ask, run_id: str) -> None:
    model = '{"run_id": "r", "artifact_path": "m", "utc_time_created": "t", "flavors": {"f": {}}, "more": 1}'
    assert ask("POST", "runs/log-model", {"run_id": run_id, "model_json": model}).json == {}
    tags = ask("GET", f"runs/get?run_id={run_id}").json["run"]["data"]["tags"]
    (history,) = [tag["value"] for tag in tags if tag["key"] == "mlflow.log-model.history"]
    assert '"artifact_path":"m"' in history and "more" not in history
    for wrong in ("no json", "[]", "{}"):
        assert ask("POST", "runs/log-model", {"run_id": run_id, "model_json": wrong}).error == INVALID


def test_inputs_are_kept_with_their_tags(ask: Ask, run_id: str) -> None:
    dataset = {"name": "d", "digest": "x", "source_type": "local", "source": "{}", "schema": "[]"}
    tags = [{"key": "mlflow.data.context", "value": "training"}]
    content = {"run_id": run_id, "datasets": [{"dataset": dataset, "tags": tags}], "models": []}
    assert ask("POST", "runs/log-inputs", content).json == {}
    inputs = ask("GET", f"runs/get?run_id={run_id}").json["run"]["inputs"]
    assert inputs == {"dataset_inputs": [{"dataset": dataset, "tags": tags}]}


def test_fields_that_this_version_does_not_know_are_ignored_and_null_is_absent(ask: Ask) -> None:
    content = {
        "experiment_id": "0",
        "run_name": None,
        "tags": None,
        "start_time": None,
        "novelty": {"a": [1]},
    }
    assert ask("POST", "runs/create", content).status == 200


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("runs/create", b"no json"),
        ("runs/create", b"[]"),
        ("runs/create", b"null"),
        ("runs/create", b'{"experiment_id": "\xff"}'),
        ("runs/create", b'{"experiment_id": "0", "x": ' + b"[" * 100_000),
        ("runs/create", {}),
        ("runs/create", {"experiment_id": 0}),
        ("runs/create", {"experiment_id": "0", "start_time": 2**63}),
        ("runs/create", {"experiment_id": "0", "start_time": "soon"}),
        ("runs/create", {"experiment_id": "0", "tags": {"k": "v"}}),
        ("runs/create", {"experiment_id": "0", "tags": [{"value": "v"}]}),
        ("runs/update", {"run_id": "RUN", "status": "DANCING"}),
        ("runs/update", {"run_id": "RUN", "status": 9}),
        ("runs/log-metric", {"run_id": "RUN", "key": "m", "timestamp": 1}),
        ("runs/log-metric", {"run_id": "RUN", "key": "m", "value": "much", "timestamp": 1}),
        ("runs/log-metric", {"run_id": "RUN", "key": "m", "value": 1, "timestamp": 1.5}),
        ("runs/log-metric", {"run_id": "RUN", "key": None, "value": 1, "timestamp": 1}),
        ("runs/log-metric", {"key": "m", "value": 1, "timestamp": 1}),
        ("runs/log-parameter", {"run_id": "RUN", "value": "v"}),
        ("runs/log-parameter", {"run_id": "RUN", "key": "p", "value": 7}),
        ("runs/log-batch", {"run_id": "RUN", "params": [{"key": "p"}, {"key": "p"}]}),
        ("runs/log-batch", {"run_id": "RUN", "metrics": [{"key": "m", "value": 1, "timestamp": -1}]}),
        ("runs/log-batch", {"run_id": "RUN", "tags": [{"key": "t", "value": "v" * 1_000_000}]}),
        ("runs/search", {"experiment_ids": ["0"], "max_results": 50_001}),
        ("runs/search", {"experiment_ids": ["0"], "run_view_type": "SOME"}),
        ("runs/search", {"experiment_ids": ["0"], "filter": "metrics.a >"}),
        ("runs/search", {"experiment_ids": [], "filter": "metrics.a < 'x'"}),
        ("runs/search", {"order_by": ["nonsense"]}),
        ("runs/search", {"experiment_ids": ["0"], "page_token": "x"}),
        ("runs/search", {"experiment_ids": "0"}),
        ("experiments/create", {"name": ""}),
        ("experiments/create", {"name": "n" * 501}),
        ("experiments/create", {"name": "e", "artifact_location": "http://169.254.169.254/"}),
        ("runs/log-inputs", {"run_id": "RUN", "datasets": [{"dataset": {"name": "d"}}]}),
    ],
)  # fmt: skip
def test_a_clients_mistake_is_its_own_never_ours(ask: Ask, run_id: str, path: str, content: Any) -> None:
    if isinstance(content, dict) and content.get("run_id") == "RUN":
        content = {**content, "run_id": run_id}
    assert ask("POST", path, content).error == INVALID


@pytest.mark.parametrize(
    "path",
    [
        "runs/get",
        "runs/get?run_id=",
        "metrics/get-history?run_id=RUN",
        "metrics/get-history?run_id=RUN&metric_key=m&max_results=0",
        "metrics/get-history?run_id=RUN&metric_key=m&max_results=2&page_token=-1",
        "metrics/get-history-bulk?metric_key=m",
        "experiments/get",
        "experiments/get-by-name",
        "experiments/search?max_results=many",
        "artifacts/list?run_id=RUN&path=../..",
    ],
)
def test_a_wrong_query_is_refused(ask: Ask, run_id: str, path: str) -> None:
    assert ask("GET", path.replace("RUN", run_id)).error == INVALID


def test_what_does_not_exist_is_missing_in_json(ask: Ask) -> None:
    assert ask("GET", f"runs/get?run_id={'0' * 32}").error == MISSING
    assert ask("GET", "experiments/get?experiment_id=77").error == MISSING
    assert ask("POST", "runs/log-batch", {"run_id": "x"}).error == MISSING
    for method, path in (
        ("GET", "/"),
        ("GET", "/api/2.0/mlflow/nope"),
        ("PATCH", "runs/create"),
        ("GET", "runs/create"),
    ):
        assert ask(method, path).error == (404, "ENDPOINT_NOT_FOUND")
    assert ask("GET", "/api/3.0/mlflow/server-info").error == (404, "ENDPOINT_NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/2.0/mlflow/datasets/create"),
        ("GET", "/api/2.0/preview/mlflow/webhooks"),
        ("GET", "/ajax-api/2.0/mlflow/scorers/list"),
        ("POST", "/api/3.0/mlflow/traces/search"),
    ],
)
def test_features_of_mlflow_that_are_missing_are_named(ask: Ask, method: str, path: str) -> None:
    answer = ask(method, path, {} if method == "POST" else None)
    assert answer.error == (501, "NOT_IMPLEMENTED")
    assert "does not have" in answer.json["message"]


def test_health_and_version_answer(ask: Ask) -> None:
    assert ask("GET", "/health").body == b"OK"
    assert ask("GET", "/version").body.startswith(b"projrun ")


def test_artifacts_go_up_and_down(ask: Ask, run_id: str, files: str) -> None:
    content = bytes(range(256)) * 20_000
    assert ask("PUT", f"{files}/d/%C3%BC%20%2525.bin", content, headers={"Content-Type": "x/y"}).json == {}
    assert ask("GET", f"{files}/d/%C3%BC%20%2525.bin").body == content
    listed = ask("GET", f"{FILES}?path=0/{run_id}/artifacts/d").json
    assert listed == {"files": [{"path": "ü %25.bin", "is_dir": False, "file_size": len(content)}]}
    listed = ask("GET", f"artifacts/list?run_id={run_id}&path=d").json
    assert listed["root_uri"] == f"mlflow-artifacts:/0/{run_id}/artifacts"
    assert listed["files"] == [{"path": "d/ü %25.bin", "is_dir": False, "file_size": len(content)}]
    assert ask("GET", f"artifacts/list?run_uuid={run_id}").json["files"] == [{"path": "d", "is_dir": True}]
    assert ask("DELETE", f"{files}/d").json == {}
    assert ask("GET", f"{files}/d/%C3%BC%20%2525.bin").error == MISSING


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=-99", 200, b"0123456789", None),
        ("bytes=5-99", 206, b"56789", "bytes 5-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=3-1", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_a_part_of_an_artifact_may_be_asked_for(
    ask: Ask, files: str, asked: str, status: int, body: bytes, content_range: str | None
) -> None:
    assert ask("PUT", f"{files}/digits", b"0123456789").status == 200
    answer = ask("GET", f"{files}/digits", headers={"Range": asked})
    assert (answer.status, answer.body, answer.headers.get("content-range")) == (status, body, content_range)
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("step", ["create", "complete", "abort"])
def test_uploads_in_parts_are_declined_as_by_mlflow_on_disk(ask: Ask, step: str) -> None:
    path = f"/api/2.0/mlflow-artifacts/mpu/{step}/0/r/artifacts"
    assert ask("POST", path, {"path": "a", "num_parts": 2}).error == (501, "NOT_IMPLEMENTED")


def test_an_upload_that_breaks_off_is_not_there(
    ask: Ask, endpoint: Endpoint, home: Home, run_id: str, files: str
) -> None:
    with closing(http.client.HTTPConnection(endpoint.url.removeprefix("http://"))) as connection:
        connection.putrequest("PUT", f"{files}/half")
        connection.putheader("Authorization", f"Bearer {endpoint.token}")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"only this")
    endpoint.close()
    assert list(Path(home.artifacts).rglob("*half*")) == []
    assert [path.name for path in home.artifacts.iterdir() if path.name.startswith(".upload")] == []


def test_a_run_in_another_place_is_left_to_its_client(ask: Ask, store: Store) -> None:
    ask("POST", "experiments/create", {"name": "e", "artifact_location": "s3://bucket/x"})
    run = ask("POST", "runs/create", {"experiment_id": "1"}).json["run"]["info"]
    assert run["artifact_uri"] == f"s3://bucket/x/{run['run_id']}/artifacts"
