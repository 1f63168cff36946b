"""A forward proxy on loopback: whole addresses for http, CONNECT for https. It may ask for a password."""

from __future__ import annotations

import http.client
import select
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.support.threaded_server import answering


class Proxy(ThreadingHTTPServer):
    """credentials: what clients must send, such as 'Basic dTpw'. asked: method and target of each request."""

    daemon_threads = True

    def __init__(self, credentials: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.credentials = credentials
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.asked: list[tuple[str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def _carry(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path))
        if not self._may_pass():
            return
        url = urlsplit(self.path)
        with closing(http.client.HTTPConnection(url.netloc, timeout=60)) as upstream:
            hop_by_hop = ("proxy-authorization", "connection")
            headers = {key: value for key, value in self.headers.items() if key.lower() not in hop_by_hop}
            upstream.request(self.command, f"{url.path}?{url.query}", body, headers)
            answer = upstream.getresponse()
            content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _carry  # noqa: N815

    def do_CONNECT(self) -> None:
        self.server.asked.append((self.command, self.path))
        if not self._may_pass():
            return
        host, _, port = self.path.rpartition(":")
        with closing(socket.create_connection((host, int(port)))) as upstream:
            self.send_response(200)
            self.end_headers()
            _pipe(self.connection, upstream)
        self.close_connection = True

    def _may_pass(self) -> bool:
        if self.headers.get("Proxy-Authorization", "") == self.server.credentials:
            return True
        self.send_response(407)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def log_message(self, format: str, *args: object) -> None:
        pass


def _pipe(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until one side closes."""
    across = {one: other, other: one}
    while True:
        for side in select.select([one, other], [], [])[0]:
            part = side.recv(65536)
            if not part:
                return
            across[side].sendall(part)


@contextmanager
def proxying(credentials: str = "") -> Iterator[Proxy]:
    proxy = Proxy(credentials)
    with answering(proxy):
        yield proxy
