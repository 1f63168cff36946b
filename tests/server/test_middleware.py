"""The classes of attack on tracking servers. Each is tried on the running server."""

from __future__ import annotations

import ast
import base64
import socket
import urllib.parse
from contextlib import closing
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.server import middleware
from projrun.server.endpoint import Endpoint
from projrun.server.middleware import Guard
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


@pytest.mark.parametrize(
    "path",
    [
        "..%5Csecret",
        "a%5C..%5C..%5Csecret",
        "%5Cwindows%5Csecret",
        "%5C%5Chost%5Cshare%5Csecret",
        "C:%5Csecret",
        "C:/secret",
        "c:secret",
    ],
)
def test_paths_do_not_lead_out_of_a_run_on_windows_either(ask: Ask, run_id: str, path: str) -> None:
    """Clients there write downloads to the path that they were told."""
    for method in ("GET", "PUT", "DELETE"):
        answer = ask(method, f"{FILES}/0/{run_id}/artifacts/{path}", b"x" if method == "PUT" else None)
        assert answer.error == INVALID, method


def test_an_artifact_location_shows_no_file_of_this_machine(ask: Ask, tmp_path: Path) -> None:
    """A client may ask for a place of its own; the server never looks there."""
    (tmp_path / "passwd").write_text("secret")
    made = ask("POST", "experiments/create", {"name": "e", "artifact_location": tmp_path.as_uri()})
    number = made.json["experiment_id"]
    run_id = ask("POST", "runs/create", {"experiment_id": number}).json["run"]["info"]["run_id"]
    assert ask("GET", f"artifacts/list?run_id={run_id}").json["files"] == []
    for address in (f"{number}/{run_id}/artifacts/passwd", f"{number}/{run_id}/passwd", f"{number}/passwd"):
        assert ask("GET", f"{FILES}/{address}").error == MISSING


@pytest.mark.parametrize(
    "source",
    [
        "/etc",
        "file:///etc",
        "FILE:/etc",
        "runs:/RUN/../../x",
        "runs:/RUN/%252e%252e/x",
        "http://evil.example/m",
    ],
)
def test_a_model_version_names_no_file_and_no_other_host(ask: Ask, run_id: str, source: str) -> None:
    ask("POST", "registered-models/create", {"name": "prices"})
    named = {"name": "prices", "source": source.replace("RUN", run_id)}
    assert ask("POST", "model-versions/create", named).error == INVALID
    assert ask("POST", "model-versions/create", {**named, "run_id": run_id}).error == INVALID


PAGE = "<img src=x onerror=alert(1)>"


def test_names_are_never_shown_as_a_page(ask: Ask, run_id: str) -> None:
    ask("POST", "runs/update", {"run_id": run_id, "run_name": PAGE})
    ask("POST", "experiments/create", {"name": PAGE})
    ask("POST", "runs/set-tag", {"run_id": run_id, "key": "mlflow.note.content", "value": PAGE})
    name = urllib.parse.quote(PAGE)
    for path in (
        f"runs/get?run_id={run_id}",
        f"experiments/get-by-name?experiment_name={name}",
        f"experiments/get-by-name?experiment_name=none{name}",
        f"metrics/get-history?run_id={name}&metric_key={name}",
    ):
        answer = ask("GET", path)
        assert answer.headers["content-type"] == "application/json", path
        assert answer.headers["x-content-type-options"] == "nosniff", path


SQL = "x'; DROP TABLE runs; --"


@pytest.mark.parametrize(
    "search",
    [
        {"filter": f"params.a = '{SQL}'"},
        {"filter": f"params.`{SQL}` = 'a'"},
        {"filter": "params.a = '' OR 1=1 --"},
        {"filter": "1=1 UNION SELECT * FROM runs"},
        {"order_by": ["start_time; DROP TABLE runs"]},
        {"order_by": [f"metrics.`{SQL}` DESC"]},
        {"order_by": ["(SELECT run_id FROM runs)"]},
        {"page_token": "o0; DROP TABLE runs"},
        {"experiment_ids": ["0) OR (1=1"]},
        {"run_view_type": "ALL') OR ('1'='1"},
    ],
)
def test_sql_in_a_search_is_refused_or_text(ask: Ask, run_id: str, search: dict[str, object]) -> None:
    answer = ask("POST", "runs/search", {"experiment_ids": ["0"], **search})
    if answer.status == 200:
        found = [run["info"]["run_id"] for run in answer.json["runs"]]
        assert found == ([run_id] if "order_by" in search else [])
    else:
        assert answer.error == INVALID
    assert len(ask("POST", "runs/search", {"experiment_ids": ["0"]}).json["runs"]) == 1


@pytest.mark.parametrize(
    "search",
    [
        {"filter": "a" * 100_001},
        {"filter": " AND ".join(["metrics.a > 1"] * 101)},
        {"filter": "attributes.status IN (" + ",".join(["'a'"] * 10_002) + ")"},
        {"filter": "(" * 50_000},
        {"page_token": "o" + "9" * 400},
        {"page_token": "9" * 1_000_000},
        {"max_results": 10**9},
        {"experiment_ids": [str(number) for number in range(40_000)]},
    ],
    ids=lambda search: next(iter(search)),
)
def test_a_search_has_its_bounds(ask: Ask, search: dict[str, object]) -> None:
    assert ask("POST", "runs/search", {"experiment_ids": ["0"], **search}).error == INVALID


@pytest.mark.parametrize("body", [b"[" * 1_000_000, b'{"a":' * 200_000, b'{"tags":' + b"[" * 1_000_000])
def test_json_has_its_depth(ask: Ask, body: bytes) -> None:
    for path in ("runs/create", "runs/search", "registered-models/create"):
        assert ask("POST", path, body).error == INVALID


def test_headers_have_their_length(ask: Ask) -> None:
    try:
        status = ask("GET", "/health", headers={"X-Long": "x" * 200_000}).status
    except ConnectionError:  # it did not wait for the end of them
        status = 400
    assert status == 400
    assert ask("GET", "/health").status == 200


def test_tokens_are_compared_in_the_same_time_wherever_they_differ() -> None:
    """Nothing but hmac.compare_digest sees the token after the start."""
    tree = ast.parse(Path(middleware.__file__).read_text())
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "_token"]
    digests = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "hmac.compare_digest"
    ]
    compared = {ast.unparse(node) for call in digests for node in ast.walk(call)}
    assert len(digests) == 1 and "self._token" in compared
    comparisons = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    assert not any("_token" in ast.unparse(node) for node in comparisons)
    # set, asked whether there is one, compared
    assert len(uses) == 3
