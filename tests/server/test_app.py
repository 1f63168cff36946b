"""The short way to a handler: no other thread, unless there is waiting to do."""

from __future__ import annotations

import http.client
import json
import sqlite3
import threading
from contextlib import closing

import pytest

from projrun.disk import Home
from projrun.server.app import EVERY, PREFIXES
from projrun.server.endpoint import Endpoint
from projrun.tracking import Store
from tests.server.conftest import Ask


def test_a_request_waits_its_turn_while_others_are_answered(ask: Ask, home: Home, store: Store) -> None:
    """Another process writes; the event loop must not wait with the one who waits."""
    run = store.create_run("0")
    body = {"run_id": run.run_id, "key": "loss", "value": 0.5, "timestamp": 1}
    answers: list[int] = []

    def log() -> None:
        answers.append(ask("POST", "runs/log-metric", body).status)

    with closing(sqlite3.connect(home.tracking_db, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = [threading.Thread(target=log) for _ in range(3)]
        for thread in waiting:
            thread.start()
        for _ in range(20):
            assert ask("GET", "/health").status == 200
            assert ask("GET", f"runs/get?run_id={run.run_id}").json["run"]["data"]["metrics"] == []
        assert answers == []
        other.execute("COMMIT")
        for thread in waiting:
            thread.join()
    assert answers == [200, 200, 200]
    assert [metric.value for metric in store.get_metric_history(run.run_id, "loss")] == [0.5]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_prefix_leads_to_the_same_handlers(ask: Ask, prefix: str) -> None:
    assert ask("GET", f"{prefix}mlflow/experiments/get?experiment_id=0").status == 200
    assert ask("GET", f"{prefix}mlflow/experiments/nowhere").error == (404, "ENDPOINT_NOT_FOUND")
    assert ask("PUT", f"{prefix}mlflow/runs/create").error == (404, "ENDPOINT_NOT_FOUND")


def test_only_what_is_bounded_is_answered_without_another_thread() -> None:
    quick = {handler.path for handler in EVERY if handler.is_quick}
    assert {"runs/log-metric", "runs/log-batch", "runs/create"} <= quick
    assert not {path for path in quick if "search" in path or "history" in path or "{" in path}


def test_many_requests_on_one_connection(endpoint: Endpoint, store: Store) -> None:
    run = store.create_run("0")
    headers = {"Authorization": f"Bearer {endpoint.token}", "Content-Type": "application/json"}
    with closing(http.client.HTTPConnection(endpoint.url.removeprefix("http://"))) as connection:
        for step in range(50):
            metric = {"run_id": run.run_id, "key": "loss", "value": step, "timestamp": 1, "step": step}
            connection.request("POST", "/api/2.0/mlflow/runs/log-metric", json.dumps(metric), headers)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"{}")
    assert len(store.get_metric_history(run.run_id, "loss")) == 50


def test_a_client_that_goes_away_in_the_middle_changes_nothing(
    ask: Ask, endpoint: Endpoint, store: Store
) -> None:
    host, port = endpoint.url.removeprefix("http://").split(":")
    with closing(http.client.HTTPConnection(host, int(port))) as connection:
        connection.putrequest("POST", "/api/2.0/mlflow/runs/create")
        connection.putheader("Authorization", f"Bearer {endpoint.token}")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b'{"experiment_id": "0"}')
    assert ask("GET", "/health").status == 200
    assert store.search_runs([]) == ([], "")
