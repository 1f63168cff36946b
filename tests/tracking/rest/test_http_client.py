"""The way to a team's server: through proxies, past them, and with a certificate of one's own."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.errors import TrackingError
from projrun.tracking import open_store
from tests.support.forward_proxy import proxying
from tests.support.threaded_server import answering

PEM = Path(__file__).parents[2] / "server" / "localhost.pem"
ANSWER = b'{"experiment": {"experiment_id": "0", "name": "Default"}}'
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.headers: list[dict[str, str]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client whose certificate is refused is what is tested."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server()
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with answering(server):
        yield server


def name_of_default(home: Home, url: str) -> str:
    with closing(open_store(home, url)) as store:
        return store.get_experiment("0").name


def own_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


def test_a_plain_proxy_is_told_the_whole_address(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server, proxying("Basic dTpwQA==") as proxy:
        monkeypatch.setenv("http_proxy", f"http://u:p%40@{proxy.address}")
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "sesame")
        url = f"http://127.0.0.1:{server.server_address[1]}/team"
        assert name_of_default(home, url) == "Default"
        assert proxy.asked == [("GET", f"{url}/api/2.0/mlflow/experiments/get?experiment_id=0")]
        (headers,) = server.headers
    assert headers["authorization"] == "Bearer sesame"
    assert headers["host"] == url.split("/")[2]


def test_a_proxy_that_refuses_is_named_without_its_password(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as server, proxying("Basic eDp5") as proxy:
        monkeypatch.setenv("http_proxy", f"http://u:hunter2@{proxy.address}")
        with pytest.raises(TrackingError, match="407") as caught:
            name_of_default(home, f"http://127.0.0.1:{server.server_address[1]}")
        assert "hunter2" not in f"{caught.value}{caught.value.hint}"
        assert server.headers == []


@pytest.mark.parametrize("excluded", ["127.0.0.1", "*", "example.org,127.0.0.1"])
def test_no_proxy_is_honoured(home: Home, monkeypatch: pytest.MonkeyPatch, excluded: str) -> None:
    with serving() as server, proxying() as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        monkeypatch.setenv("no_proxy", excluded)
        assert name_of_default(home, f"http://127.0.0.1:{server.server_address[1]}") == "Default"
        assert proxy.asked == [] and len(server.headers) == 1


def test_a_tunnel_hides_the_request_from_the_proxy(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(own_tls()) as server, proxying("Basic dTpw") as proxy:
        host = f"localhost:{server.server_address[1]}"
        monkeypatch.setenv("https_proxy", f"http://u:p@{proxy.address}")
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(PEM))
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "sesame")
        assert name_of_default(home, f"https://{host}") == "Default"
        assert proxy.asked == [("CONNECT", host)]
        (headers,) = server.headers
    assert "proxy-authorization" not in headers and headers["authorization"] == "Bearer sesame"


def test_a_server_gets_the_clients_certificate(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = own_tls()
    strict.verify_mode = ssl.CERT_REQUIRED
    strict.load_verify_locations(PEM)
    with serving(strict) as server:
        url = f"https://localhost:{server.server_address[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(PEM))
        monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(PEM))
        assert name_of_default(home, url) == "Default"
        monkeypatch.delenv("MLFLOW_TRACKING_CLIENT_CERT_PATH")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(TrackingError):
            name_of_default(home, url)


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_certificate_that_cannot_be_read_is_named(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: str | None
) -> None:
    file = tmp_path / "some.pem"
    if content:
        file.write_text(content)
    monkeypatch.setenv(name, str(file))
    with pytest.raises(TrackingError, match=str(file)) as caught:
        name_of_default(home, "https://localhost:9")
    assert name in caught.value.hint
