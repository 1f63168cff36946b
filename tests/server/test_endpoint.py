"""The endpoint of a run: cheap until somebody connects, orderly at the end."""

from __future__ import annotations

import http.client
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from projrun.disk import Home
from projrun.server import app
from projrun.server.endpoint import Endpoint
from projrun.tracking import Store, open_store
from projrun.tracking.entities import Metric
from tests.support.waiting import PATIENCE_S

LAZY = """
import sys, urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from projrun.disk import home_from
from projrun.server.endpoint import Endpoint
from projrun.tracking import open_store

def web():
    return sorted({"starlette", "uvicorn", "asyncio", "anyio", "h11"} & set(sys.modules))

with closing(open_store(home_from())) as store, closing(Endpoint(store)) as endpoint:
    print(web())
    headers = {"Authorization": "Bearer " + endpoint.token}
    request = urllib.request.Request(endpoint.url + "/health", headers=headers)
    with urllib.request.urlopen(request) as response:
        print(response.read())
    print(web())
    place = "0/" + store.create_run("0").run_id + "/artifacts"
    request.full_url = endpoint.url + "/api/2.0/mlflow-artifacts/artifacts?path=" + place
    with urllib.request.urlopen(request) as response:
        print(response.read())
    print(web())
"""


def test_the_web_server_is_imported_when_a_client_needs_it() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LAZY],
        capture_output=True, text=True, check=True, env={**os.environ, "no_proxy": "127.0.0.1"},
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "[]",
        "b'OK'",
        "['asyncio', 'h11', 'uvicorn']",
        """b'{"files":[]}'""",
        "['anyio', 'asyncio', 'h11', 'starlette', 'uvicorn']",
    ]
    assert done.stderr == ""


def test_closing_without_a_client_leaves_nothing_behind(store: Store) -> None:
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        endpoint = Endpoint(store)
        endpoint.close()
        endpoint.close()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before


def test_closing_with_clients_leaves_nothing_behind(store: Store) -> None:
    for round_number in range(3):
        endpoint = Endpoint(store)
        with closing(connection(endpoint)) as client:
            assert health(client, endpoint) == 200
            endpoint.close()
        if round_number == 0:  # imports open files and threads of their own
            before = len(os.listdir("/proc/self/fd"))
    assert len(os.listdir("/proc/self/fd")) == before
    with closing(socket.socket()) as late:
        assert late.connect_ex(("127.0.0.1", port(endpoint))) != 0


def test_each_endpoint_has_its_own_port_and_token(store: Store) -> None:
    with closing(Endpoint(store)) as one, closing(Endpoint(store)) as other:
        assert one.url != other.url and one.token != other.token
        assert len(one.token) >= 32
        with closing(connection(one)) as client, closing(connection(other)) as stranger:
            assert health(client, one) == 200
            assert health(stranger, one) == 401


def test_one_connection_serves_many_requests(store: Store) -> None:
    with closing(Endpoint(store)) as endpoint, closing(connection(endpoint)) as client:
        assert health(client, endpoint) == 200
        used = client.sock
        assert all(health(client, endpoint) == 200 for _ in range(20))
        assert client.sock is used


def test_a_request_in_progress_is_finished_at_the_end(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else writes to the store for a moment, and the endpoint closes meanwhile."""
    run_id = store.create_run("0").run_id
    answers: list[int] = []
    arrived, write = threading.Event(), store.log_batch

    def log_batch(*arguments: Any, **options: Any) -> None:
        arrived.set()
        write(*arguments, **options)

    monkeypatch.setattr(store, "log_batch", log_batch)
    with closing(Endpoint(store)) as endpoint, closing(connection(endpoint)) as client:
        assert health(client, endpoint) == 200

        def log() -> None:
            body = f'{{"run_id": "{run_id}", "key": "m", "value": 1, "timestamp": 1}}'
            headers = {"Authorization": f"Bearer {endpoint.token}", "Content-Type": "application/json"}
            client.request("POST", "/api/2.0/mlflow/runs/log-metric", body, headers)
            answers.append(client.getresponse().status)

        threads = [threading.Thread(target=log), threading.Thread(target=endpoint.close)]
        with closing(sqlite3.connect(home.tracking_db, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            threads[0].start()
            assert arrived.wait(PATIENCE_S)
            threads[1].start()
            time.sleep(0.3)  # it has begun to close, most probably
            other.execute("COMMIT")
        for thread in threads:
            thread.join()
    assert answers == [200]
    assert store.get_metric_history(run_id, "m") == [Metric("m", 1.0, 1)]


def connection(endpoint: Endpoint) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port(endpoint))


def port(endpoint: Endpoint) -> int:
    return int(endpoint.url.rpartition(":")[2])


def health(client: http.client.HTTPConnection, endpoint: Endpoint) -> int:
    client.request("GET", "/health", headers={"Authorization": f"Bearer {endpoint.token}"})
    with client.getresponse() as response:
        response.read()
        return response.status


def test_small_answers_do_not_wait_for_an_acknowledgement(endpoint: Endpoint) -> None:
    """Without TCP_NODELAY the second segment of an answer waits 40 ms on connections that are kept."""
    host, port = endpoint.url.removeprefix("http://").split(":")
    with closing(http.client.HTTPConnection(host, int(port))) as connection:
        connection.request("GET", "/health")
        connection.getresponse().read()
        with accepted_from(connection.sock.getsockname()) as there:
            assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@contextmanager
def accepted_from(address: object) -> Iterator[socket.socket]:
    """The server's end, in this process, of the connection of a client."""
    for name in os.listdir("/proc/self/fd"):
        try:
            found = socket.socket(fileno=os.dup(int(name)))
        except OSError:  # no socket, or closed meanwhile
            continue
        with found:
            if found.family == socket.AF_INET and is_connected_to(found, address):
                yield found
                return
    raise AssertionError(f"there is no connection from {address}")


def is_connected_to(one: socket.socket, address: object) -> bool:
    try:
        return bool(one.getpeername() == address)
    except OSError:  # it listens
        return False


def test_a_server_that_cannot_start_refuses_its_clients_at_once(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise ImportError("no module named 'starlette'")

    monkeypatch.setattr(app, "create_app", broken)
    store = open_store(home)
    endpoint = Endpoint(store)
    with pytest.raises(OSError):
        urllib.request.urlopen(endpoint.url + "/health", timeout=60)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(endpoint.url + "/health", timeout=60)
    endpoint.close()
    store.close()
    assert "tracking endpoint ended: ImportError" in capsys.readouterr().err
