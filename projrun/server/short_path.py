"""ASGI middleware that calls the handlers of fixed paths without the web framework.

Nearly all requests name one of a few fixed paths and log a metric. Matching patterns, making objects for
request and response and changing threads takes a framework longer than the work. So quick requests are
answered in the thread that reads the connections, on a store that does not wait for locks; while another
process is writing, the request is repeated in a thread that waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, runtime_checkable
from urllib.parse import parse_qsl

import msgspec

from projrun.errors import TrackingError
from projrun.server.guard import JSON_TYPE, App, Receive, Scope, Send, send_response
from projrun.server.handlers import Handler
from projrun.server.messages import decode_body, decode_query, error_answer
from projrun.tracking import Store
from projrun.tracking.limits import invalid_parameter
from projrun.tracking.wire import Json

Query = list[tuple[str, str]]


@runtime_checkable
class CanBeImpatient(Protocol):
    def impatient(self) -> Store: ...


class DisconnectedError(Exception):
    """The client closed the connection in the middle of its request."""


class ShortPath:
    """Answer requests for the fixed paths of `handlers`, below each of `prefixes`; pass others to `app`.

    in_thread: calls a function in another thread, for work that may take long.
    """

    def __init__(
        self,
        app: App,
        store: Store,
        handlers: Iterable[Handler],
        prefixes: Iterable[str],
        in_thread: Callable[..., Awaitable[Json]],
    ) -> None:
        self._app, self._store, self._in_thread = app, store, in_thread
        self._impatient = store.impatient() if isinstance(store, CanBeImpatient) else None
        self._handlers = {
            (method, f"{prefix}mlflow/{handler.path}"): handler
            for prefix in prefixes
            for handler in handlers
            if "{" not in handler.path
            for method in handler.methods
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._handlers.get((scope.get("method", ""), scope.get("path", "")))
        if handler is None:
            await self._app(scope, receive, send)
            return
        try:
            body = await read_body(receive, handler.max_body)
            query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            status, content = 200, await self._answer(handler, scope["method"], query, body)
        except DisconnectedError:
            return
        except Exception as error:
            status, content = error_answer(error, f"{scope['method']} {scope['path']}")
        await send_response(send, status, msgspec.json.encode(content), JSON_TYPE)

    async def _answer(self, handler: Handler, method: str, query: Query, body: bytes) -> Json:
        if handler.is_quick and self._impatient is not None:
            try:
                return handle_request(handler, self._impatient, method, query, body)
            except TrackingError as error:
                if error.error_code != "TEMPORARILY_UNAVAILABLE":
                    raise
        return await self._in_thread(handle_request, handler, self._store, method, query, body)


def handle_request(
    handler: Handler, store: Store, method: str, query: Query, body: bytes, **in_path: object
) -> Json:
    """Decode a request and answer it. in_path: fields of the message that the path holds."""
    if query and (method == "GET" or not body):
        message = decode_query(handler.message, query)
    else:
        message = decode_body(handler.message, body)
    for name, value in in_path.items():
        setattr(message, name, value)
    return handler.answer(store, message)


async def read_body(receive: Receive, limit: int) -> bytes:
    """Return the body of a request. Raises TrackingError if it is longer than `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise DisconnectedError
        parts.append(event.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise invalid_parameter(f"the request is larger than {limit} bytes", "log it in parts")
        if not event.get("more_body"):
            return b"".join(parts)
