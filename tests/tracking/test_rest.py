"""Test what only the remote store meets: servers that are away, busy, foreign, or somebody else's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.errors import ProjrunError, TrackingError, UnavailableError
from projrun.server.endpoint import Endpoint
from projrun.tracking import Store, open_store
from tests.support.threaded_server import answering

Answers = list[tuple[int, bytes]]
RUN = {
    "run": {
        "info": {"run_uuid": "r", "experiment_id": "0", "artifact_uri": "mlflow-artifacts:/0/r/artifacts"}
    }
}


class Server(ThreadingHTTPServer):
    """Gives its answers in turn, the last one for ever, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self, answers: Answers) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        status, content = self.server.answers[0]
        if len(self.server.answers) > 1:
            self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(*answers: tuple[int, object]) -> Iterator[Server]:
    server = Server([(s, c if isinstance(c, bytes) else json.dumps(c).encode()) for s, c in answers])
    with answering(server):
        yield server


@contextmanager
def remote(home: Home, uri: str) -> Iterator[Store]:
    with closing(open_store(home, uri)) as store:
        yield store


def test_a_server_that_is_away_is_named_without_credentials(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with serving((200, {})) as server:
        address = server.address
    with (
        remote(home, f"http://me:hunter2@{address}/prefix/") as store,
        pytest.raises(TrackingError) as caught,
    ):
        store.get_run("r")
    assert f"http://{address}/prefix" in str(caught.value)
    assert "hunter2" not in str(caught.value) and "hunter2" not in store.uri
    assert caught.value.error_code == "TEMPORARILY_UNAVAILABLE"


def test_a_busy_server_is_asked_again(home: Home) -> None:
    with (
        serving((503, b"busy"), (429, b""), (200, RUN)) as server,
        remote(home, f"http://{server.address}") as store,
    ):
        assert store.get_run("r").run_id == "r"
        assert len(server.asked) == 3


def test_it_is_asked_as_often_as_mlflows_variable_says(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with serving(*[(503, b"busy")] * 3) as server, remote(home, f"http://{server.address}") as store:
        with pytest.raises(TrackingError):
            store.get_run("r")
        assert len(server.asked) == 2


def test_what_must_happen_once_is_looked_for_before_it_is_sent_twice(home: Home) -> None:
    with serving((502, b"the gateway does not know"), (200, {"runs": [RUN["run"]]})) as server:
        with remote(home, f"http://{server.address}") as store:
            assert store.create_run("0").run_id == "r"
        assert [path.rpartition("/")[2] for _, path, _, _ in server.asked] == ["create", "search"]


def test_an_error_of_mlflow_keeps_its_code_on_one_line(home: Home) -> None:
    error = {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "Experiment\nexists.\n"}
    with serving((400, error)) as server, remote(home, f"http://{server.address}") as store:
        with pytest.raises(TrackingError, match=r"Experiment exists\. \(from http://127") as caught:
            store.create_experiment("e")
        assert caught.value.error_code == "RESOURCE_ALREADY_EXISTS"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, b"<html>login</html>"), "did not answer with JSON"),
        ((200, b"[]"), "did not answer with JSON"),
        ((200, {"run": 7}), "did not answer with a run"),
        ((404, b"<html>nginx</html>"), "answered 404 Not Found"),
        ((302, b""), "answered 302"),
        ((401, b""), "MLFLOW_TRACKING_TOKEN"),
        ((403, {"error_code": "PERMISSION_DENIED", "message": "not yours"}), "not yours"),
        ((500, b"Traceback"), "answered 500"),
    ],
)
def test_what_is_no_mlflow_server_is_told_apart(home: Home, answer: tuple[int, object], message: str) -> None:
    with serving(answer) as server, remote(home, f"http://{server.address}") as store:
        with pytest.raises(TrackingError, match=message) as caught:
            store.get_run("r")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "uri", "expected"),
    [
        ({"MLFLOW_TRACKING_TOKEN": "t"}, "", "Bearer t"),
        ({"MLFLOW_TRACKING_USERNAME": "u", "MLFLOW_TRACKING_PASSWORD": "p"}, "", "Basic dTpw"),
        ({"MLFLOW_TRACKING_TOKEN": "t"}, "u:p%40@", "Basic dTpwQA=="),
        ({}, "", None),
    ],
)
def test_credentials_come_from_the_usual_places(
    home: Home, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], uri: str, expected: str | None
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with serving((200, RUN)) as server, remote(home, f"http://{uri}{server.address}/pre/fix") as store:
        store.get_run("r")
        _, path, headers, _ = server.asked[0]
        assert path == "/pre/fix/api/2.0/mlflow/runs/get?run_id=r"
        assert headers.get("Authorization") == expected


def test_a_token_with_a_line_break_smuggles_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t\r\nX-Evil: 1")
    with serving((200, RUN)) as server, remote(home, f"http://{server.address}") as store:
        with pytest.raises(TrackingError, match="credentials"):
            store.get_run("r")
        assert server.asked == []


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/0/r/artifacts",
        "dbfs:/x",
        "mlflow-artifacts://elsewhere:80/0/r",
        "file:///no/such/place/r",
    ],
)
def test_artifacts_in_places_out_of_reach_are_a_plain_error(home: Home, uri: str) -> None:
    run = {"run": {"info": {**RUN["run"]["info"], "artifact_uri": uri}}}
    with serving((200, run)) as server, remote(home, f"http://{server.address}") as store:
        with pytest.raises(TrackingError, match=uri.split(":")[0]) as caught:
            store.write_artifact("r", "a", b"x")
        assert caught.value.error_code == "NOT_IMPLEMENTED"
        assert all(method == "GET" for method, *_ in server.asked)


def test_artifacts_in_a_directory_of_this_machine_are_files(home: Home, tmp_path: Path) -> None:
    place = tmp_path / "0" / "r" / "artifacts"
    (tmp_path / "0").mkdir()
    run = {"run": {"info": {**RUN["run"]["info"], "artifact_uri": place.as_uri()}}}
    with serving((200, run)) as server, remote(home, f"http://{server.address}") as store:
        store.write_artifact("r", "d/a", b"x")
        store.log_file("r", "log").write_text("grown")
        store.finish_file("r", "log")
    assert (place / "d" / "a").read_bytes() == b"x"
    assert (place / "log").read_text() == "grown"


def test_an_upload_announces_its_length(home: Home) -> None:
    with serving((200, RUN), (200, {})) as server, remote(home, f"http://{server.address}") as store:
        store.write_artifact("r", "a b", iter([b"x" * 2_000_000, b"y"]))
        method, path, headers, body = server.asked[1]
    assert (method, path) == ("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/r/artifacts/a%20b")
    assert headers["Content-Length"] == "2000001" and len(body) == 2_000_001


def test_a_server_that_lists_paths_outside_is_not_believed(home: Home) -> None:
    answer = {"files": [{"path": "../../etc/passwd", "is_dir": False}]}
    with (
        serving((200, answer)) as server,
        remote(home, f"http://{server.address}") as store,
        pytest.raises(TrackingError, match="plain names"),
    ):
        store.list_artifacts("r")


def test_files_that_were_never_finished_are_gone_after_close(home: Home, embedded: Store) -> None:
    with closing(Endpoint(embedded)) as endpoint, remote(home, endpoint.url) as store:
        log = store.log_file("r", "log")
        log.write_text("x")
    assert not log.exists()


@pytest.mark.parametrize(
    "uri",
    ["sqlite:///mlflow.db", "databricks", "./mlruns", "file:///mlruns", "postgresql://u:hunter2@db/x"],
)
def test_other_tracking_uris_are_refused_with_the_next_step(home: Home, uri: str) -> None:
    with pytest.raises(UnavailableError, match=r"MLFLOW_TRACKING_URI.*unset it") as caught:
        open_store(home, uri)
    assert "hunter2" not in str(caught.value)


def test_an_address_without_a_host_is_refused(home: Home) -> None:
    with pytest.raises(ProjrunError, match="no host"):
        open_store(home, "http:///x")
