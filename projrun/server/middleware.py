"""ASGI middleware: refuse requests of strangers, answer with plain text, and count requests."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, NamedTuple

import msgspec

from projrun.version import __version__

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104
JSON_TYPE = "application/json"
# The content type that Prometheus asks for; browsers show plain text.
TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Uploads of artifacts, by PUT, have any content type.
WITH_JSON = ("POST", "PATCH", "DELETE")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Refusal(NamedTuple):
    status: int
    error_code: str
    message: str


class Guard:
    """Refuse requests by Host (DNS rebinding), Origin and content type (forgery by web pages), and token.

    hosts: names and addresses by which clients may call the server.
    """

    def __init__(self, app: App, token: str = "", hosts: Iterable[str] = ()) -> None:
        self._app, self._token = app, token
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self.refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(refusal, send)

    def refusal(self, scope: Scope) -> Refusal | None:
        """Return the reason to refuse a request, or None."""
        # A web page can give its own name our address (DNS rebinding), but then the browser sends that name
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or not self._is_known(hosts[0]):
            return Refusal(403, "PERMISSION_DENIED", "the Host header does not name this server")
        origins = _values(scope, b"origin")
        if any(origin not in (f"http://{hosts[0]}", f"https://{hosts[0]}") for origin in origins):
            return Refusal(403, "PERMISSION_DENIED", "requests from other web pages are refused")
        if self._token and not self._is_authorized(_values(scope, b"authorization")):
            return Refusal(401, "UNAUTHENTICATED", "the token is missing or wrong: set MLFLOW_TRACKING_TOKEN")
        # Browsers let any page send forms and plain text, but ask us first before they send JSON
        if scope["method"] in WITH_JSON and _has_body(scope) and not _is_json(scope):
            return Refusal(400, "INVALID_PARAMETER_VALUE", f"the content type must be {JSON_TYPE}")
        return None

    def _is_known(self, header: str) -> bool:
        host = _without_port(header).lower()
        if host in self._hosts or host == "localhost":
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or not self._hosts.isdisjoint(ANY_ADDRESS)

    def _is_authorized(self, headers: list[str]) -> bool:
        scheme, _, credentials = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
        given = credentials.strip()
        if scheme.lower() == "basic":  # mlflow sends it for a password in the URI or in a variable
            given = _password(given)
        elif scheme.lower() != "bearer":
            return False
        # In constant time: how long `==` takes tells how much of a guess is right
        return hmac.compare_digest(given.encode(), self._token.encode())


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _without_port(header: str) -> str:
    """Return the host of a Host header; '' for a malformed one."""
    if header.startswith("["):
        host, bracket, port = header[1:].partition("]")
        return host if bracket and (not port or _is_port(port)) else ""
    host, colon, port = header.partition(":")
    return host if not colon or _is_port(f":{port}") else ""


def _is_port(text: str) -> bool:
    return text[0] == ":" and text[1:].isascii() and text[1:].isdigit()


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _has_body(scope: Scope) -> bool:
    return bool(_values(scope, b"transfer-encoding")) or any(
        length != "0" for length in _values(scope, b"content-length")
    )


def _is_json(scope: Scope) -> bool:
    types = _values(scope, b"content-type")
    return len(types) == 1 and types[0].partition(";")[0].strip().lower() == JSON_TYPE


async def _refuse(refusal: Refusal, send: Send) -> None:
    body = msgspec.json.encode({"error_code": refusal.error_code, "message": refusal.message})
    more = {"www-authenticate": "Bearer"} if refusal.status == 401 else {}
    await send_response(send, refusal.status, body, JSON_TYPE, more)


async def send_response(
    send: Send,
    status: int,
    body: bytes,
    content_type: str,
    more: Mapping[str, str] = {},
    *,
    head: bool = False,
) -> None:
    """Send a whole response. more: headers; head: the method is HEAD, so the body is only announced."""
    headers = {
        "content-type": content_type,
        "content-length": str(len(body)),
        "x-content-type-options": "nosniff",
        **more,
    }
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": b"" if head else body})


class TextPages:
    """Answer GET and HEAD of each path in `pages` with the text that its function returns."""

    def __init__(self, app: App, pages: Mapping[str, Callable[[], str]]) -> None:
        self._app, self._pages = app, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = self._pages.get(scope.get("path", ""))
        if page is None or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        await send_response(send, 200, page().encode(), TEXT_TYPE, head=scope["method"] == "HEAD")


class LateApp:
    """An application that `make` creates when the first request comes to it."""

    def __init__(self, make: Callable[[], App]) -> None:
        self._make = make
        self._app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            self._app = self._make()
        await self._app(scope, receive, send)


class RequestCounts:
    """The counts of answers, in the text format of Prometheus."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By method and status, never by path: clients choose paths, and Prometheus keeps every label
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
    def __init__(self, app: App, requests: RequestCounts) -> None:
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        started = time.perf_counter()

        async def note_status(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        self._requests.begin()
        try:
            await self._app(scope, receive, note_status)
        finally:
            self._requests.end(scope["method"], status, time.perf_counter() - started)


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"
