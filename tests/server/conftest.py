"""Servers on loopback, and an unmodified mlflow client in an environment of its own."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from projrun.home import Home
from projrun.locking import locked
from projrun.server.endpoint import Endpoint
from projrun.tracking import Store, open_store

MLFLOW = ("mlflow-skinny==3.17.*", "scikit-learn", "pandas", "skops")
ENVIRON = dict(os.environ)
"""As it was before any test changed it: uv's cache is where it always is."""


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


Client = Callable[..., Path]


@pytest.fixture(scope="session")
def client_python(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """`client_python("3.11", "mlflow-skinny==2.22.*", …)`: the interpreter of an environment with these.

    Made once, however many test processes ask for it. No version of Python: the one of the tests.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def made(version: str, *packages: str) -> Path:
        base = interpreter(version)
        place = root / f"client-{zlib.crc32(repr((version, packages)).encode())}"
        python = place / "bin" / "python"
        with locked(place.with_suffix(".lock")):
            if not (place / "ready").exists():
                install(base, place, packages)
                (place / "ready").touch()
        return python

    return made


def interpreter(version: str) -> str:
    """Skips the test when this machine has no such Python."""
    if not version:
        return sys.executable
    pyenv = ENVIRON.get("PYENV_ROOT") or Path(ENVIRON.get("HOME", "/"), ".pyenv")
    places = sorted(Path(pyenv, "versions").glob(f"{version}.*/bin/python"))
    found = str(places[-1]) if places else shutil.which(f"python{version}", path=ENVIRON.get("PATH"))
    if found is None:
        pytest.skip(f"there is no Python {version} on this machine")
    return found


def install(base: str, place: Path, packages: tuple[str, ...]) -> None:
    try:
        uv("venv", "--quiet", "--clear", "--python", base, str(place))
        command = ("pip", "install", "--quiet", "--python", str(place / "bin" / "python"), *packages)
        try:
            uv(*command, "--offline")
        except subprocess.CalledProcessError:
            uv(*command)
    except (subprocess.CalledProcessError, OSError) as error:
        reason = f"{packages[0]} cannot be installed: {error}"
        if ENVIRON.get("PROJRUN_TEST_ENGINES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def mlflow_python(client_python: Client) -> Path:
    """The interpreter of an environment that has the newest mlflow client, and scikit-learn."""
    return client_python("", *MLFLOW)


def uv(*arguments: str) -> None:
    from uv import find_uv_bin

    subprocess.run([find_uv_bin(), *arguments], env=ENVIRON, check=True, capture_output=True)
