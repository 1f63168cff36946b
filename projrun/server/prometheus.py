"""Counts of the server's answers in the text format of Prometheus, kept by ASGI middleware."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import MutableMapping
from typing import Any

from projrun.server.guard import App, Receive, Scope, Send
from projrun.version import __version__

# The content type that Prometheus asks for; browsers show plain text.
TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class RequestCounts:
    """Counts by method and status, never by path: clients choose paths, and Prometheus keeps every label."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count: Counter[tuple[str, int]] = Counter()
        self._seconds = 0.0
        self._running = 0
        self._started = time.time()

    def begin(self) -> None:
        with self._lock:
            self._running += 1

    def end(self, method: str, status: int, seconds: float) -> None:
        with self._lock:
            self._running -= 1
            self._seconds += seconds
            self._count[method if method in METHODS else "other", status] += 1

    def text(self) -> str:
        with self._lock:
            counts, seconds, running = sorted(self._count.items()), self._seconds, self._running
        total = sum(count for _, count in counts)
        lines = [
            *_head("projrun_info", "gauge", "The version of projrun that serves."),
            f'projrun_info{{version="{__version__}"}} 1',
            *_head("projrun_http_requests_total", "counter", "Requests answered."),
            *(
                f'projrun_http_requests_total{{method="{method}",status="{status}"}} {count}'
                for (method, status), count in counts
            ),
            *_head("projrun_http_request_duration_seconds", "summary", "Time from a request to its answer."),
            f"projrun_http_request_duration_seconds_sum {seconds:.6f}",
            f"projrun_http_request_duration_seconds_count {total}",
            *_head("projrun_http_requests_in_progress", "gauge", "Requests being answered."),
            f"projrun_http_requests_in_progress {running}",
            *_head("process_start_time_seconds", "gauge", "When the server started, since the epoch."),
            f"process_start_time_seconds {self._started:.3f}",
        ]
        return "\n".join(lines) + "\n"


class RequestCounter:
    """Count the requests that pass. This is the outermost layer, so that refused ones count too."""

    def __init__(self, app: App, requests: RequestCounts) -> None:
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        started = time.perf_counter()

        async def noting(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        self._requests.begin()
        try:
            await self._app(scope, receive, noting)
        finally:
            self._requests.end(scope["method"], status, time.perf_counter() - started)


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"
