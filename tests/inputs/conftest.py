"""A web server on loopback that serves files, and misbehaves where its path says so."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.threaded_server import answering

HOST = "127.0.0.1"
PASSWORD = "Basic " + base64.b64encode(b"me:s3cret").decode()


@dataclass
class Web:
    """files: by path. redirects: from a path to an address. asked: path and Authorization of each request."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def web() -> Iterator[Web]:
    served = Web()
    server = ThreadingHTTPServer((HOST, 0), handler_of(served))
    served.address = f"http://{HOST}:{server.server_port}"
    with answering(server):
        yield served


def handler_of(served: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            password = self.headers.get("Authorization", "")
            served.asked.append((path, password))
            self.close_connection = True
            if path in served.redirects:
                self.answer(302, b"", Location=served.redirects[path])
            elif path not in served.files or (path.startswith("/private/") and password != PASSWORD):
                self.answer(404, b"not here")
            elif path.startswith("/chunked/"):
                self.chunked(served.files[path], whole="broken" not in path)
            elif path.startswith("/broken/"):
                self.answer(200, served.files[path][:-1], **{"Content-Length": str(len(served.files[path]))})
            else:
                self.answer(200, served.files[path])

        def answer(self, code: int, body: bytes, **headers: str) -> None:
            self.send_response(code)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def chunked(self, body: bytes, whole: bool) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for first in range(0, len(body), 100_000):
                piece = body[first : first + 100_000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n" if whole else b"ff\r\nhalf")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler
