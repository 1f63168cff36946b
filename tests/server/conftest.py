"""Servers on loopback, and an unmodified mlflow client in an environment of its own."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from projrun.disk import Home
from projrun.server.endpoint import Endpoint
from projrun.tracking import Store, open_store
from tests.support.mlflow_clients import MODELS, Client


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """Status and MLflow's error code; there must be a message too."""
        assert set(self.json) == {"error_code", "message"} and self.json["message"], self.body
        assert self.headers["content-type"] == "application/json"
        return self.status, self.json["error_code"]


Ask = Callable[..., Answer]


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    with closing(open_store(home)) as store:
        yield store


@pytest.fixture
def endpoint(store: Store) -> Iterator[Endpoint]:
    with closing(Endpoint(store)) as endpoint:
        yield endpoint


@pytest.fixture
def ask(endpoint: Endpoint) -> Ask:
    """`ask("POST", "runs/create", {…})`: below /api/2.0/mlflow/ unless the path begins with a slash."""

    def call(
        method: str, path: str, content: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        body = content if isinstance(content, bytes | None) else json.dumps(content).encode()
        given = {"Authorization": f"Bearer {endpoint.token}", "Content-Type": "application/json"}
        given |= headers or {}
        with closing(http.client.HTTPConnection(endpoint.url.removeprefix("http://"))) as connection:
            connection.putrequest(method, address(path), skip_host="Host" in given)
            for name, value in given.items():
                if value:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    return call


def address(path: str) -> str:
    return path if path.startswith("/") else f"/api/2.0/mlflow/{path}"


@pytest.fixture(scope="session")
def mlflow_python(client_python: Client) -> Path:
    """The interpreter of an environment that has the newest mlflow client, and scikit-learn."""
    return client_python("", *MODELS)
