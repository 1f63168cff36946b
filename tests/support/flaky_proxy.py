"""A proxy in front of a tracking server that carries requests there and loses answers on the way back."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.threaded_server import answering


class Flaky(ThreadingHTTPServer):
    """lost: for the end of a path, how many answers are still to be lost. is_away: refuses everyone.

    on_request: is told the path of each request before it is carried on.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream.removeprefix("http://")
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.lost: dict[str, int] = {}
        self.is_away = False
        self.asked: list[str] = []
        self.on_request: Callable[[str], None] = lambda path: None

    def loses(self, path: str) -> bool:
        for end, left in self.lost.items():
            if left and path.partition("?")[0].endswith(end):
                self.lost[end] = left - 1
                return True
        return self.is_away

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what is tested."""


class _Handler(BaseHTTPRequestHandler):
    server: Flaky
    protocol_version = "HTTP/1.1"

    def _carry(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(self.path)
        self.server.on_request(self.path)
        if self.server.is_away:
            self.close_connection = True
            return
        with closing(http.client.HTTPConnection(self.server.upstream, timeout=60)) as upstream:
            headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
        if self.server.loses(self.path):
            self.close_connection = True
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _carry  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def flaky_proxy(upstream: str) -> Iterator[Flaky]:
    server = Flaky(upstream)
    with answering(server):
        yield server
