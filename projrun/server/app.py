"""The web application: MLflow's REST API as a list of routes, made with starlette."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec

from projrun.errors import TrackingError
from projrun.server import artifact_files, model_handlers
from projrun.server.artifact_files import json_response, run_in_thread
from projrun.server.handlers import HANDLERS, Handler
from projrun.server.messages import decode_body, decode_query, error_answer
from projrun.server.middleware import (
    JSON_TYPE,
    App,
    Guard,
    LateApp,
    Receive,
    RequestCounter,
    RequestCounts,
    Scope,
    Send,
    TextPages,
    send_response,
)
from projrun.tracking import Store
from projrun.tracking.limits import invalid_parameter, quote_short
from projrun.tracking.wire import Json
from projrun.version import __version__

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute


Query = list[tuple[str, str]]


class DisconnectedError(Exception):
    """The client closed the connection in the middle of its request."""


# Nearly all requests name one of a few fixed paths and log a metric. Matching patterns, making objects for
# request and response and changing threads takes a framework longer than the work. So quick requests are
# answered in the thread that reads the connections, on a store that does not wait for locks; while another
# process is writing, the request is repeated in a thread that waits.
class ShortPath:
    """Answer the requests whose handlers have a fixed path; pass all others to `app`."""

    def __init__(self, app: App, store: Store) -> None:
        self._app, self._store = app, store
        self._impatient = store.impatient()
        self._handlers = {
            (method, f"{prefix}mlflow/{handler.path}"): handler
            for prefix in PREFIXES
            for handler in EVERY
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
        return await run_in_thread(handle_request, handler, self._store, method, query, body)


def handle_request(
    handler: Handler, store: Store, method: str, query: Query, body: bytes, **in_path: object
) -> Json:
    """Decode a request and answer it. in_path: fields of the message that the path holds."""
    # Clients of MLflow put the fields of a GET into the query, all others into a JSON body
    if query and (method == "GET" or not body):
        message = decode_query(handler.message, query)
    else:
        message = decode_body(handler.message, body)
    for name, value in in_path.items():
        setattr(message, name, value)
    return handler.answer(store, message) or {}


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
        if size > limit:  # counted here, because a request in chunks does not announce its length
            raise invalid_parameter(f"the request is larger than {limit} bytes", "log it in parts")
        if not event.get("more_body"):
            return b"".join(parts)


RequestFunction = Callable[["Request"], Awaitable["Response"]]

EVERY = (*HANDLERS, *model_handlers.MODEL_HANDLERS, *model_handlers.REGISTRY_HANDLERS)

# Prefixes of mlflow/… and mlflow-artifacts/…; clients before 1.0 use `preview`.
PREFIXES = ("/api/2.0/", "/ajax-api/2.0/", "/api/2.0/preview/", "/ajax-api/2.0/preview/")

# mlflow's clients look for the words up to the comma, and then send the file in one piece.
NO_PARTS = "Multipart upload is not supported for the current artifact repository, it comes in one piece"

# Features of MLflow's API that projrun lacks, by the beginning of the path.
FEATURES = {
    "datasets": "evaluation datasets",
    "gateway": "the AI gateway",
    "issues": "issues",
    "jobs": "server jobs",
    "label-schemas": "label schemas",
    "metrics/get-history-bulk-interval": "sampled metric histories",
    "presigned": "presigned URLs",
    "prompt-optimization": "prompt optimization",
    "review-queues": "review queues",
    "scorers": "scorers",
    "traces": "traces",
    "unified-traces": "traces",
    "webhooks": "webhooks",
    "workspaces": "workspaces",
}


def create_app(
    store: Store, *, token: str = "", hosts: Iterable[str] = (), requests: RequestCounts | None = None
) -> App:
    """Return MLflow's REST API over `store`. The framework is imported when a request needs it.

    token: what clients must present (MLFLOW_TRACKING_TOKEN, or as a password); '' lets everyone in.
    hosts: names by which clients may call the server, besides localhost and loopback addresses.
    requests: counts the answers, and is served as /metrics.
    """
    pages = {"/health": lambda: "OK", "/version": lambda: f"projrun {__version__}"}
    if requests:
        pages["/metrics"] = requests.text
    app: App = ShortPath(LateApp(partial(_framework, store)), store)
    app = Guard(TextPages(app, pages), token=token, hosts=hosts)
    # The counter is the outermost layer, so that it counts refused requests too
    return RequestCounter(app, requests) if requests else app


def _framework(store: Store) -> App:
    from starlette.applications import Starlette

    # 404: a path with a line break matches no route at all.
    return Starlette(routes=_routes(store), exception_handlers={404: _unrouted})


def _routes(store: Store) -> list[BaseRoute]:
    from starlette.routing import Route

    table: list[BaseRoute] = []
    for prefix in PREFIXES:
        for handler in (handler for handler in EVERY if "{" in handler.path):
            endpoint = _answering(partial(_handle, store, handler))
            table.append(Route(f"{prefix}mlflow/{handler.path}", endpoint, methods=list(handler.methods)))
        for method, path, handle_files in artifact_files.ENDPOINTS:
            endpoint = _answering(partial(handle_files, store))
            table.append(Route(f"{prefix}mlflow-artifacts/{path}", endpoint, methods=[method]))
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    return [*table, Route("/{path:path}", _answering(_unknown), methods=methods)]


def _answering(endpoint: RequestFunction) -> RequestFunction:
    """Return `endpoint` with every error answered in MLflow's format."""

    async def answer_errors(request: Request) -> Response:
        from starlette.requests import ClientDisconnect
        from starlette.responses import Response

        try:
            return await endpoint(request)
        except (ClientDisconnect, DisconnectedError):
            return Response()  # nobody reads it
        except Exception as error:
            return json_response(*error_answer(error, f"{request.method} {request.url.path}"))

    return answer_errors


async def _handle(store: Store, handler: Handler, request: Request) -> Response:
    body = await read_body(request.receive, handler.max_body)
    query = request.query_params.multi_items()
    work = partial(handle_request, handler, store, request.method, query, body, **request.path_params)
    return json_response(200, await run_in_thread(work))


async def _unknown(request: Request) -> Response:
    path = request.url.path
    if "/mlflow-artifacts/mpu/" in path or "/mlflow-artifacts/mpd/" in path:
        raise TrackingError(NO_PARTS, error_code="NOT_IMPLEMENTED")
    _, mlflow, rest = path.partition("/mlflow/")
    for part, feature in FEATURES.items():
        if path.startswith(("/api/", "/ajax-api/")) and mlflow and f"{rest}/".startswith(f"{part}/"):
            raise TrackingError(
                f"this version of projrun does not have {feature} ({part})",
                "set MLFLOW_TRACKING_URI to an MLflow server to use them",
                error_code="NOT_IMPLEMENTED",
            )
    raise TrackingError(f"there is no {request.method} {quote_short(path)}", error_code="ENDPOINT_NOT_FOUND")


async def _unrouted(request: Request, error: Exception) -> Response:
    return await _answering(_unknown)(request)
