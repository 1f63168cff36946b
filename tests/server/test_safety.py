"""The classes of attack on tracking servers. Each is tried on the running server."""

from __future__ import annotations

import base64
import socket
import urllib.parse
from contextlib import closing
from pathlib import Path

import pytest

from projrun.home import Home
from projrun.server.endpoint import Endpoint
from projrun.server.guard import Guard
from tests.server.conftest import Ask

INVALID = (400, "INVALID_PARAMETER_VALUE")
MISSING = (404, "RESOURCE_DOES_NOT_EXIST")
DENIED = (403, "PERMISSION_DENIED")
FILES = "/api/2.0/mlflow-artifacts/artifacts"
ROUTES = (
    ("GET", "experiments/search"),
    ("POST", "runs/create"),
    ("GET", "/health"),
    ("GET", "/version"),
    ("GET", f"{FILES}/0/x"),
    ("PUT", f"{FILES}/0/x"),
    ("DELETE", f"{FILES}/0/x"),
    ("GET", "/nowhere"),
    ("OPTIONS", "runs/create"),
)


@pytest.fixture
def run_id(ask: Ask) -> str:
    return str(ask("POST", "runs/create", {"experiment_id": "0"}).json["run"]["info"]["run_id"])


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "a/../../secret",
        "%2e%2e/secret",
        "%2E%2E%2Fsecret",
        "..%2f..%2fsecret",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "./a",
        "a//b",
        "a%00b",
        "",
        ".",
        "..",
    ],
)
def test_paths_do_not_lead_out_of_a_run(ask: Ask, home: Home, run_id: str, path: str) -> None:
    (home.artifacts / "0").mkdir(exist_ok=True)
    (home.artifacts / "0" / "secret").write_text("secret")
    for method in ("GET", "PUT", "DELETE"):
        answer = ask(method, f"{FILES}/0/{run_id}/artifacts/{path}", b"x" if method == "PUT" else None)
        assert answer.error == INVALID, method
    assert (home.artifacts / "0" / "secret").read_text() == "secret"


def test_a_path_is_decoded_once(ask: Ask, home: Home, run_id: str) -> None:
    """Twice encoded, it is an odd name and nothing more."""
    assert ask("PUT", f"{FILES}/0/{run_id}/artifacts/%252e%252e%252fodd", b"x").json == {}
    assert (home.artifacts / "0" / run_id / "%2e%2e%2fodd").read_bytes() == b"x"


@pytest.mark.parametrize(
    "address", ["", "0", "0/RUN", "0/RUN/artifacts", "1/RUN/artifacts/a", "../0/RUN/artifacts/a"]
)
def test_roots_are_never_deleted_nor_is_anything_outside_a_run(
    ask: Ask, home: Home, run_id: str, address: str
) -> None:
    ask("PUT", f"{FILES}/0/{run_id}/artifacts/a", b"x")
    answer = ask("DELETE", f"{FILES}/{address.replace('RUN', run_id)}")
    assert answer.error in (INVALID, MISSING, (404, "ENDPOINT_NOT_FOUND"))
    assert (home.artifacts / "0" / run_id / "a").exists()


def test_links_out_of_a_run_are_refused(ask: Ask, home: Home, run_id: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    ask("PUT", f"{FILES}/0/{run_id}/artifacts/a", b"x")
    (home.artifacts / "0" / run_id / "link").symlink_to(tmp_path)
    for method in ("GET", "PUT", "DELETE"):
        answer = ask(method, f"{FILES}/0/{run_id}/artifacts/link/secret", b"x" if method == "PUT" else None)
        assert answer.error == INVALID, method
    assert (tmp_path / "secret").read_text() == "secret"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example:80@127.0.0.1",
        "127.0.0.1:80.evil.example",
        "localhost.",
        "10.0.0.1",
        "0.0.0.0",
        "2130706433",
        "[::1",
        "[::1].evil.example",
        " ",
    ],
)
def test_a_foreign_host_is_refused_on_every_route(ask: Ask, host: str) -> None:
    for method, path in ROUTES:
        assert ask(method, path, b"{}", headers={"Host": host}).error == DENIED, path


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:5000", "127.0.0.1", "127.0.0.2:80", "[::1]:80"])
def test_the_names_of_this_machine_are_accepted(ask: Ask, host: str) -> None:
    assert ask("GET", "/health", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://127.0.0.1", "http://localhost", "file://", "HTTP://EVIL"],
)
def test_a_foreign_origin_is_refused_on_every_route(ask: Ask, origin: str) -> None:
    for method, path in ROUTES:
        assert ask(method, path, b"{}", headers={"Origin": origin}).error == DENIED, path


def test_pages_of_this_server_may_ask(ask: Ask, endpoint: Endpoint) -> None:
    assert ask("GET", "/health", headers={"Origin": endpoint.url}).status == 200


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx"],
)
def test_a_form_of_a_web_page_changes_nothing(ask: Ask, content_type: str) -> None:
    answer = ask("POST", "runs/create", {"experiment_id": "0"}, headers={"Content-Type": content_type})
    assert answer.error == INVALID
    assert ask("POST", "runs/search", {"experiment_ids": ["0"]}).json["runs"] == []


def test_json_may_name_its_charset(ask: Ask) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert ask("POST", "runs/create", {"experiment_id": "0"}, headers=headers).status == 200


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic Zm9v", "Basic %%%", "Digest x"]
)
def test_without_the_token_every_route_is_closed(ask: Ask, authorization: str) -> None:
    for method, path in ROUTES:
        answer = ask(method, path, b"{}", headers={"Authorization": authorization})
        assert answer.error == (401, "UNAUTHENTICATED"), path


def test_the_token_may_come_as_a_password(ask: Ask, endpoint: Endpoint) -> None:
    credentials = base64.b64encode(f"anyone:{endpoint.token}".encode()).decode()
    assert ask("GET", "/health", headers={"Authorization": f"Basic {credentials}"}).status == 200


@pytest.mark.parametrize("name", ["page.html", "image.svg", "script.js", 'a";x=y; é'])
def test_an_artifact_is_never_shown_as_a_page(ask: Ask, run_id: str, name: str) -> None:
    quoted = urllib.parse.quote(name)
    path = f"{FILES}/0/{run_id}/artifacts/{quoted}"
    ask("PUT", path, b"<script>alert(1)</script>", headers={"Content-Type": "text/html"})
    headers = ask("GET", path).headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
    assert not set('\r\n"; ') & set(headers["content-disposition"].split("''")[1])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("sandbox")


def test_a_line_break_in_a_path_gets_nowhere(ask: Ask, run_id: str) -> None:
    path = f"{FILES}/0/{run_id}/artifacts/a%0d%0aSet-Cookie: a=b".replace(" ", "%20")
    for method in ("GET", "PUT", "DELETE"):
        answer = ask(method, path, b"x" if method == "PUT" else None)
        assert answer.error == (404, "ENDPOINT_NOT_FOUND")
        assert "set-cookie" not in answer.headers


def test_an_error_that_repeats_what_was_asked_is_no_page(ask: Ask) -> None:
    answer = ask("GET", "/<script>alert(1)</script>".replace("<", "%3C"))
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_body_without_end_is_cut_off(ask: Ask) -> None:
    assert ask("POST", "runs/log-inputs", b" " * 32_000_001).error == INVALID


def test_the_server_is_reachable_from_this_machine_only(endpoint: Endpoint) -> None:
    host, port = endpoint.url.removeprefix("http://").split(":")
    assert host == "127.0.0.1"
    with closing(socket.socket(socket.AF_INET6)) as other:
        assert other.connect_ex(("::1", int(port))) != 0


@pytest.mark.parametrize(
    ("hosts", "host", "known"),
    [
        (["run.example"], "RUN.example:5000", True),
        (["run.example"], "x.run.example", False),
        (["192.0.2.1"], "192.0.2.1", True),
        (["192.0.2.1"], "192.0.2.2", False),
        (["0.0.0.0"], "192.0.2.2", True),
        (["0.0.0.0"], "evil.example", False),
        ([], "192.0.2.1", False),
    ],
)
def test_a_server_for_others_answers_to_its_own_names(hosts: list[str], host: str, known: bool) -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        raise AssertionError

    scope = {"type": "http", "method": "GET", "headers": [(b"host", host.encode())]}
    assert (Guard(app, hosts=hosts).refusal(scope) is None) == known
