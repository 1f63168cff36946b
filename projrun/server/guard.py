"""ASGI middleware that refuses requests of strangers before any route is looked for."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, NamedTuple

import msgspec

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104
JSON_TYPE = "application/json"
WITH_JSON = ("POST", "PATCH", "DELETE")


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
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or not self._is_known(hosts[0]):
            return Refusal(403, "PERMISSION_DENIED", "the Host header does not name this server")
        origins = _values(scope, b"origin")
        if any(origin not in (f"http://{hosts[0]}", f"https://{hosts[0]}") for origin in origins):
            return Refusal(403, "PERMISSION_DENIED", "requests from other web pages are refused")
        if self._token and not self._is_authorized(_values(scope, b"authorization")):
            return Refusal(401, "UNAUTHENTICATED", "the token is missing or wrong: set MLFLOW_TRACKING_TOKEN")
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
        if scheme.lower() == "basic":
            given = _password(given)
        elif scheme.lower() != "bearer":
            return False
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
