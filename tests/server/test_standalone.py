"""`projrun server`: the store for every client that may connect."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.errors import TrackingError, UsageError
from projrun.server.standalone import ServerSettings, _listen, is_loopback, serve
from projrun.tracking import Store, open_store
from tests.conftest import MakeProject, Projrun

PEM = Path(__file__).with_name("localhost.pem")
Answer = tuple[int, str]


class Standing:
    def __init__(self, *arguments: str, environ: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "projrun", "server", "--port", "0", *arguments],
            env={**os.environ, **(environ or {})},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr
        line = self.process.stderr.readline()
        found = re.search(r"(https?)://\S+:(\d+)", line)
        assert found, line
        self.url, self.port = found[0], int(found[2])

    def ask(self, path: str, *, body: object = None, headers: dict[str, str] | None = None) -> Answer:
        connection: http.client.HTTPConnection
        if self.url.startswith("https"):
            context = ssl.create_default_context(cafile=str(PEM))
            connection = http.client.HTTPSConnection("localhost", self.port, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
        given = {"Content-Type": "application/json", **(headers or {})}
        with closing(connection):
            if body is None:
                connection.request("GET", path, headers=given)
            else:
                connection.request("POST", path, json.dumps(body), given)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


@contextmanager
def standing(*arguments: str, environ: dict[str, str] | None = None) -> Iterator[Standing]:
    server = Standing(*arguments, environ=environ)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        assert server.process.stderr
        server.process.stderr.close()


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    with closing(open_store(home)) as store:
        yield store


def test_clients_share_one_store_with_the_command_line(projrun: Projrun, store: Store) -> None:
    with standing() as server:
        path = "/api/2.0/mlflow/runs/create"
        status, text = server.ask(path, body={"experiment_id": "0", "run_name": "from afar"})
        assert status == 200
        run_id = json.loads(text)["run"]["info"]["run_id"]
        assert store.get_run(run_id).run_name == "from afar"
        assert run_id[:8] in projrun("runs", "list").stdout


def test_what_no_client_has_asked_for_is_not_imported() -> None:
    """Counted until the server has said that it is ready and has been asked for a run."""
    heavy = {"anyio", "starlette", "http.client", "urllib.request", "xml", "zipfile", "jinja2", "docker"}
    command = [sys.executable, "-X", "importtime", "-m", "projrun", "server", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        before: list[str] = []
        found = None
        for line in iter(process.stderr.readline, ""):
            before.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                break
        assert found, before
        with closing(http.client.HTTPConnection("127.0.0.1", int(found[1]))) as connection:
            for path in ("/health", "/api/2.0/mlflow/runs/get?run_id=none", "/metrics"):
                connection.request("GET", path)
                connection.getresponse().read()
        process.terminate()
        imported = {line.rpartition("|")[2].strip() for line in [*before, *process.stderr]}
    assert "uvicorn" in imported and not imported & heavy


def test_runs_of_another_machine_go_there(
    projrun: Projrun, make_project: MakeProject, store: Store, tmp_path: Path
) -> None:
    """The server as MLFLOW_TRACKING_URI of `projrun run`."""
    project = make_project(MLproject="name: far\nentry_points:\n  main:\n    command: 'echo spoken'\n")
    with standing() as server:
        environ = {"MLFLOW_TRACKING_URI": server.url, "PROJRUN_HOME": str(tmp_path / "elsewhere")}
        done = projrun("run", project, "--env-manager", "local", environ=environ)
        assert done.returncode == 0, done.stderr
    (run,), _ = store.search_runs([])
    assert run.status == "FINISHED" and run.tags["projrun.project"] == "far"
    with store.open_artifact(run.run_id, "projrun/output.log") as log:
        assert b"spoken" in log.read()


def test_prometheus_reads_what_was_answered() -> None:
    with standing() as server:
        assert server.ask("/health") == (200, "OK")
        assert server.ask("/version")[1].startswith("projrun ")
        assert server.ask("/api/2.0/mlflow/runs/get?run_id=none")[0] == 404
        status, text = server.ask("/metrics")
    assert status == 200
    lines = text.splitlines()
    assert 'projrun_http_requests_total{method="GET",status="200"} 2' in lines
    assert 'projrun_http_requests_total{method="GET",status="404"} 1' in lines
    assert "projrun_http_request_duration_seconds_count 3" in lines
    assert "projrun_http_requests_in_progress 1" in lines
    for line in lines:
        assert re.fullmatch(r"# (HELP|TYPE) \w+ .+|\w+(\{(\w+=\"[^\"]*\",?)+\})? [0-9.e+]+", line), line


def test_with_a_token_strangers_see_nothing() -> None:
    with standing(environ={"PROJRUN_SERVER_TOKEN": "sesame"}) as server:
        for path in ("/health", "/version", "/metrics", "/api/2.0/mlflow/experiments/get?experiment_id=0"):
            assert server.ask(path)[0] == 401
            assert server.ask(path, headers={"Authorization": "Bearer sesame"})[0] == 200


def test_tls_is_spoken_with_a_certificate() -> None:
    with standing("--cert", str(PEM), "--key", str(PEM)) as server:
        assert server.url.startswith("https://")
        assert server.ask("/health") == (200, "OK")


def test_a_store_reads_the_certificate_that_the_environment_names(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standing("--cert", str(PEM), "--key", str(PEM)) as server:
        url = f"https://localhost:{server.port}"
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.delenv(name, raising=False)
        with closing(open_store(home, url)) as remote, pytest.raises(TrackingError) as caught:
            remote.get_experiment("0")
        assert (
            "is not trusted" in str(caught.value) and "MLFLOW_TRACKING_SERVER_CERT_PATH" in caught.value.hint
        )
        for name in ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            with monkeypatch.context() as patch:
                patch.setenv(name, str(PEM))
                with closing(open_store(home, url)) as remote:
                    assert remote.get_experiment("0").name == "Default"
        with monkeypatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
            with closing(open_store(home, url)) as remote:
                assert remote.get_experiment("0").name == "Default"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--cert", str(PEM)), "belong together"),
        (("--cert", "/none.pem", "--key", "/none.pem"), "cannot be used"),
        (("--host", "no such host"), "cannot listen on no such host"),
    ],
)
def test_what_cannot_work_is_one_line(projrun: Projrun, arguments: tuple[str, ...], said: str) -> None:
    done = projrun("server", "--port", "0", *arguments)
    assert done.returncode in (2, 125) and said in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_one_line(projrun: Projrun) -> None:
    with standing() as server:
        done = projrun("server", "--port", str(server.port))
    assert done.returncode == 125 and "--port" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_when_it_is_told_to(number: signal.Signals) -> None:
    with standing() as server:
        server.ask("/health")
        server.process.send_signal(number)
        _, said = server.process.communicate()
        assert server.process.returncode == 0 and said == "projrun: stopped\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_beyond_loopback_there_is_no_server_without_a_token(store: Store, host: str) -> None:
    def ready(url: str) -> None:
        pytest.fail("it listens")

    assert not is_loopback(host)
    with pytest.raises(UsageError, match="token"):
        serve(store, ServerSettings(host=host, port=0), ready)


def test_clients_may_call_it_by_a_name_that_it_was_given() -> None:
    with standing("--allowed-host", "runs.example.org") as server:
        for host, status in (("runs.example.org", 200), ("other.example.org", 403)):
            assert server.ask("/health", headers={"Host": host})[0] == status


def test_asyncio_will_not_delay_small_answers() -> None:
    """It sets TCP_NODELAY where the protocol is named."""
    with closing(_listen("127.0.0.1", 0)) as listening:
        assert listening.proto == socket.IPPROTO_TCP
