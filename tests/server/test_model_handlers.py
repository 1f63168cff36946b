"""Models through the REST API: shapes, error codes, artifacts."""

from __future__ import annotations

from typing import Any

import pytest

from projrun.disk import Home
from projrun.tracking import Store
from tests.server.conftest import Ask

INVALID = (400, "INVALID_PARAMETER_VALUE")
MISSING = (404, "RESOURCE_DOES_NOT_EXIST")
EXISTS = (400, "RESOURCE_ALREADY_EXISTS")
FILES = "/api/2.0/mlflow-artifacts/artifacts"
UNKNOWN = "m-" + "0" * 32


@pytest.fixture
def run_id(ask: Ask) -> str:
    return str(ask("POST", "runs/create", {"experiment_id": "0"}).json["run"]["info"]["run_id"])


@pytest.fixture
def model_id(ask: Ask, run_id: str) -> str:
    content = {"experiment_id": "0", "name": "ridge", "source_run_id": run_id}
    return str(ask("POST", "logged-models", content).json["model"]["info"]["model_id"])


@pytest.fixture
def prices(ask: Ask, run_id: str) -> str:
    """A registered model with one version."""
    ask("POST", "registered-models/create", {"name": "prices"})
    content = {"name": "prices", "source": f"runs:/{run_id}/m", "run_id": run_id}
    assert ask("POST", "model-versions/create", content).status == 200
    return "prices"


def test_a_logged_model_has_mlflows_shape(ask: Ask, run_id: str) -> None:
    pair = [{"key": "k", "value": "v"}]
    content = {"experiment_id": "0", "name": "n", "model_type": "t", "source_run_id": run_id}
    model = ask("POST", "logged-models", {**content, "params": pair, "tags": pair}).json["model"]
    info = model["info"]
    model_id, created = info["model_id"], info.pop("creation_timestamp_ms")
    assert isinstance(created, int) and info.pop("last_updated_timestamp_ms") == created
    assert info == {
        **content,
        "model_id": model_id,
        "artifact_uri": f"mlflow-artifacts:/0/models/{model_id}/artifacts",
        "status": "LOGGED_MODEL_PENDING",
        "tags": pair,
    }
    assert model["data"] == {"params": pair, "metrics": []}


@pytest.mark.parametrize("status", ["LOGGED_MODEL_READY", 2, "2"])
def test_a_model_is_finished_by_name_or_number(ask: Ask, model_id: str, status: Any) -> None:
    model = ask("PATCH", f"logged-models/{model_id}", {"model_id": model_id, "status": status}).json["model"]
    assert model["info"]["status"] == "LOGGED_MODEL_READY"
    for wrong in ("READY", 0, 9, None):
        assert ask("PATCH", f"logged-models/{model_id}", {"status": wrong}).error == INVALID


def test_a_logged_model_lives_as_in_mlflow(ask: Ask, model_id: str) -> None:
    path = f"logged-models/{model_id}"
    tags = [{"key": "a/b c", "value": "1"}, {"key": "x", "value": "2"}]
    assert ask("PATCH", f"{path}/tags", {"tags": tags}).json["model"]["info"]["tags"] == tags
    assert ask("DELETE", f"{path}/tags/a/b%20c", {}).json == {}
    assert ask("DELETE", f"{path}/tags/a/b%20c", {}).error == MISSING
    assert ask("POST", f"{path}/params", {"params": [{"key": "p", "value": "1"}]}).json == {}
    assert ask("POST", f"{path}/params", {"params": [{"key": "p", "value": "2"}]}).error == INVALID
    assert ask("DELETE", path).json == {}
    assert ask("GET", path).error == MISSING
    assert ask("GET", f"{path}?allow_deleted=true").json["model"]["info"]["model_id"] == model_id
    assert ask("GET", f"{path}/artifacts/directories").error == MISSING


def test_the_path_says_which_model_is_meant(ask: Ask, model_id: str) -> None:
    content = {"model_id": UNKNOWN, "status": "LOGGED_MODEL_READY"}
    assert ask("PATCH", f"logged-models/{model_id}", content).status == 200
    assert ask("PATCH", f"logged-models/{UNKNOWN}", {"model_id": model_id, "status": 2}).error == MISSING


def test_metrics_inputs_and_outputs_name_models(ask: Ask, run_id: str, model_id: str) -> None:
    metric = {"key": "m", "value": "NaN", "timestamp": 1, "step": 2, "model_id": model_id}
    on = {"dataset_name": "d", "dataset_digest": "x"}
    assert ask("POST", "runs/log-metric", {"run_id": run_id, **metric, **on}).json == {}
    second = {**metric, "value": 0.5, "step": 3}
    assert ask("POST", "runs/log-batch", {"run_id": run_id, "metrics": [second]}).json == {}
    data = ask("GET", f"logged-models/{model_id}").json["model"]["data"]
    assert data["metrics"] == [{**metric, **on, "run_id": run_id}, {**second, "run_id": run_id}]
    models = [{"model_id": model_id, "step": 4}]
    assert ask("POST", "runs/outputs", {"run_id": run_id, "models": models}).json == {}
    assert ask("POST", "runs/log-inputs", {"run_id": run_id, "models": [{"model_id": model_id}]}).json == {}
    run = ask("GET", f"runs/get?run_id={run_id}").json["run"]
    assert run["outputs"] == {"model_outputs": models}
    assert run["inputs"]["model_inputs"] == [{"model_id": model_id}]
    unknown = {**metric, "model_id": UNKNOWN}
    assert ask("POST", "runs/log-metric", {"run_id": run_id, **unknown}).error == MISSING


def test_logged_models_are_searched(ask: Ask, run_id: str, model_id: str) -> None:
    order = [{"field_name": "metrics.m", "ascending": False, "dataset_name": "d"}]
    content = {"experiment_ids": ["0"], "filter": f"source_run_id = '{run_id}'", "order_by": order}
    (found,) = ask("POST", "logged-models/search", content).json["models"]
    assert found["info"]["model_id"] == model_id
    ask("POST", "logged-models", {"experiment_id": "0"})
    page = ask("POST", "logged-models/search", {"experiment_ids": ["0"], "max_results": 1}).json
    assert len(page["models"]) == 1 and page["next_page_token"]
    for wrong in (
        {},
        {"experiment_ids": ["0"], "filter": "x"},
        {"experiment_ids": ["0"], "datasets": [{"dataset_digest": "x"}]},
        {"experiment_ids": ["0"], "order_by": [{}]},
        {"experiment_ids": ["0"], "page_token": "x"},
    ):
        assert ask("POST", "logged-models/search", wrong).error == INVALID


def test_the_artifacts_of_a_model_go_up_and_down(ask: Ask, home: Home, model_id: str) -> None:
    files = f"{FILES}/0/models/{model_id}/artifacts"
    assert ask("PUT", f"{files}/d/model.pkl", b"content").json == {}
    assert ask("GET", f"{files}/d/model.pkl").body == b"content"
    assert (home.artifacts / "0" / "models" / model_id / "d" / "model.pkl").read_bytes() == b"content"
    listed = ask("GET", f"{FILES}?path=0/models/{model_id}/artifacts/d").json["files"]
    assert listed == [{"path": "model.pkl", "is_dir": False, "file_size": 7}]
    path = f"logged-models/{model_id}/artifacts/directories"
    root = f"mlflow-artifacts:/0/models/{model_id}/artifacts"
    assert ask("GET", path).json == {"root_uri": root, "files": [{"path": "d", "is_dir": True}]}
    (inner,) = ask("GET", f"{path}?artifact_directory_path=d").json["files"]
    assert inner["path"] == "d/model.pkl"
    assert ask("DELETE", f"{files}/d").json == {}
    assert ask("GET", path).json["files"] == []


@pytest.mark.parametrize(
    "path", ["../secret", "%2e%2e/secret", "..%2f..%2fsecret", "%2fetc%2fpasswd", "./a", "a//b", "a%00b", ""]
)
def test_paths_do_not_lead_out_of_a_model(ask: Ask, home: Home, model_id: str, path: str) -> None:
    (home.artifacts / "0" / "models").mkdir(parents=True)
    (home.artifacts / "0" / "models" / "secret").write_text("secret")
    for method in ("GET", "PUT", "DELETE"):
        answer = ask(
            method, f"{FILES}/0/models/{model_id}/artifacts/{path}", b"x" if method == "PUT" else None
        )
        assert answer.error == INVALID, method
    if path:
        listing = f"logged-models/{model_id}/artifacts/directories?artifact_directory_path={path}"
        assert ask("GET", listing).error == INVALID


def test_only_the_artifacts_of_a_model_can_be_addressed(ask: Ask, model_id: str) -> None:
    for address in (
        "0/models",
        "0/models/x/artifacts/a",
        f"0/models/{model_id}",
        f"0/models/{model_id}/a",
        f"1/models/{model_id}/artifacts/a",
        f"0/{model_id}/artifacts/a",
        f"0/models/../{model_id}/artifacts/a",
    ):
        assert ask("DELETE", f"{FILES}/{address}").error in (INVALID, MISSING), address


def test_a_registered_model_has_mlflows_shape(ask: Ask, prices: str, run_id: str) -> None:
    for path, content in (
        ("set-tag", {"key": "team", "value": "blue"}),
        ("alias", {"alias": "champion", "version": "1"}),
    ):
        assert ask("POST", f"registered-models/{path}", {"name": prices, **content}).json == {}
    model = ask("GET", f"registered-models/get?name={prices}").json["registered_model"]
    (version,) = model.pop("latest_versions")
    assert isinstance(model.pop("creation_timestamp"), int)
    assert isinstance(model.pop("last_updated_timestamp"), int)
    assert model == {
        "name": "prices",
        "description": "",
        "tags": [{"key": "team", "value": "blue"}],
        "aliases": [{"alias": "champion", "version": "1"}],
    }
    assert isinstance(version.pop("creation_timestamp"), int)
    assert isinstance(version.pop("last_updated_timestamp"), int)
    assert version == {
        "name": "prices",
        "version": "1",
        "current_stage": "None",
        "description": "",
        "source": f"runs:/{run_id}/m",
        "run_id": run_id,
        "status": "READY",
        "run_link": "",
        "tags": [],
        "aliases": ["champion"],
    }


def test_the_registry_answers_with_mlflows_codes(ask: Ask, prices: str, run_id: str) -> None:
    source = {"source": f"runs:/{run_id}/m"}
    for method, path, content, error in (
        ("POST", "registered-models/create", {"name": prices}, EXISTS),
        ("POST", "registered-models/create", {"name": "a/b"}, INVALID),
        ("POST", "registered-models/create", {}, INVALID),
        ("GET", "registered-models/get?name=none", None, MISSING),
        ("POST", "registered-models/rename", {"name": prices}, INVALID),
        ("PATCH", "registered-models/update", {"name": "none", "description": "x"}, MISSING),
        ("DELETE", "registered-models/delete", {"name": "none"}, MISSING),
        ("POST", "registered-models/set-tag", {"name": prices}, INVALID),
        ("POST", "registered-models/alias", {"name": prices, "alias": "latest", "version": "1"}, INVALID),
        ("POST", "registered-models/alias", {"name": prices, "alias": "a", "version": "9"}, MISSING),
        ("GET", f"registered-models/alias?name={prices}&alias=none", None, INVALID),
        ("POST", "model-versions/create", {"name": "none", **source}, MISSING),
        ("POST", "model-versions/create", {"name": prices}, INVALID),
        ("POST", "model-versions/create", {"name": prices, "source": "file:///etc"}, INVALID),
        ("POST", "model-versions/create", {"name": prices, "source": f"models:/{UNKNOWN}"}, MISSING),
        ("GET", f"model-versions/get?name={prices}&version=9", None, MISSING),
        ("GET", f"model-versions/get?name={prices}&version=x", None, INVALID),
        ("GET", f"model-versions/get?name={prices}", None, INVALID),
        ("PATCH", "model-versions/update", {"name": prices, "version": "9"}, MISSING),
        ("POST", "model-versions/transition-stage", {"name": prices, "version": 1, "stage": "x"}, INVALID),
        ("POST", "model-versions/transition-stage", {"name": prices, "version": 1}, INVALID),
        ("DELETE", "model-versions/delete", {"name": prices, "version": "9"}, MISSING),
        ("GET", "model-versions/search?filter=x", None, INVALID),
        ("GET", "registered-models/search?max_results=0", None, INVALID),
        ("GET", "registered-models/search?order_by=x", None, INVALID),
        ("GET", f"model-versions/get-download-uri?name={prices}&version=9", None, MISSING),
    ):
        assert ask(method, path, content).error == error, (path, content)


def test_a_version_goes_through_its_life(ask: Ask, prices: str) -> None:
    version = {"name": prices, "version": "1"}
    move = {**version, "stage": "production", "archive_existing_versions": True}
    moved = ask("POST", "model-versions/transition-stage", move).json["model_version"]
    assert moved["current_stage"] == "Production"
    update = {**version, "description": "x"}
    assert ask("PATCH", "model-versions/update", update).json["model_version"]["description"] == "x"
    assert ask("POST", "model-versions/set-tag", {**version, "key": "k", "value": "v"}).json == {}
    assert ask("DELETE", "model-versions/delete-tag", {**version, "key": "k"}).json == {}
    alias = {"name": prices, "alias": "a"}
    assert ask("POST", "registered-models/alias", {**alias, "version": "1"}).json == {}
    found = ask("GET", f"registered-models/alias?name={prices}&alias=a").json["model_version"]
    assert (found["version"], found["tags"], found["aliases"]) == ("1", [], ["a"])
    assert ask("DELETE", "registered-models/alias", alias).json == {}
    assert ask("DELETE", "model-versions/delete", version).json == {}
    assert ask("DELETE", f"registered-models/delete-tag?name={prices}&key=none").json == {}
    rename = {"name": prices, "new_name": "costs"}
    assert ask("POST", "registered-models/rename", rename).json["registered_model"]["name"] == "costs"
    assert ask("DELETE", "registered-models/delete", {"name": "costs"}).json == {}


def test_the_download_uri_is_one_that_clients_can_fetch(
    ask: Ask, store: Store, prices: str, run_id: str, model_id: str
) -> None:
    assert ask("POST", "model-versions/create", {"name": prices, "source": f"models:/{model_id}"}).json
    assert ask("POST", "model-versions/create", {"name": prices, "source": "models:/prices/2"}).json
    path = f"model-versions/get-download-uri?name={prices}&version="
    uris = [ask("GET", f"{path}{number}").json["artifact_uri"] for number in (1, 2, 3)]
    model = f"mlflow-artifacts:/0/models/{model_id}/artifacts"
    assert uris == [f"runs:/{run_id}/m", model, model]
    ask("DELETE", f"logged-models/{model_id}")
    assert ask("GET", f"{path}2").error == MISSING


@pytest.mark.parametrize("prefix", ["/api/2.0/mlflow", "/api/2.0/preview/mlflow", "/ajax-api/2.0/mlflow"])
def test_old_clients_and_new_ones_find_the_registry(ask: Ask, prices: str, prefix: str) -> None:
    for path in ("registered-models/list", "registered-models/search?order_by=name&order_by=timestamp+DESC"):
        assert [m["name"] for m in ask("GET", f"{prefix}/{path}").json["registered_models"]] == [prices]
    latest = f"{prefix}/registered-models/get-latest-versions"
    stages = {"name": prices, "stages": ["None", "Production"]}
    for answer in (
        ask("POST", latest, stages),
        ask("GET", f"{latest}?name={prices}&stages=None&stages=Production"),
        ask("GET", latest, stages),
        ask("GET", f"{prefix}/model-versions/search?filter=name%3D%27prices%27"),
    ):
        assert [version["version"] for version in answer.json["model_versions"]] == ["1"]
