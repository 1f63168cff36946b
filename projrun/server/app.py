"""The web application: MLflow's REST API as a list of routes, made with starlette."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from projrun.errors import TrackingError
from projrun.server import artifact_files, model_handlers
from projrun.server.guard import App, Guard, Receive, Scope, Send, send_response
from projrun.server.handlers import HANDLERS, Handler
from projrun.server.messages import error_answer
from projrun.server.prometheus import TEXT_TYPE, RequestCounter, RequestCounts
from projrun.server.short_path import DisconnectedError, ShortPath, handle_request, read_body
from projrun.tracking import Store
from projrun.tracking.limits import quote_short
from projrun.tracking.wire import Json
from projrun.version import __version__

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute


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


RequestFunction = Callable[["Request"], Awaitable["Response"]]

EVERY = (*HANDLERS, *model_handlers.MODEL_HANDLERS, *model_handlers.REGISTRY_HANDLERS)

PREFIXES = ("/api/2.0/", "/ajax-api/2.0/", "/api/2.0/preview/", "/ajax-api/2.0/preview/")
"""Prefixes of mlflow/… and mlflow-artifacts/…; clients before 1.0 use `preview`."""

NO_PARTS = "Multipart upload is not supported for the current artifact repository, it comes in one piece"
"""Clients recognise the words up to the comma, and then send the file in one piece."""

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
"""Parts of MLflow's API that this version lacks, by the first part of the path."""


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
    app: App = LateApp(partial(_framework, store))
    app = ShortPath(app, store=store, handlers=EVERY, prefixes=PREFIXES, in_thread=_in_thread)
    app = Guard(TextPages(app, pages), token=token, hosts=tuple(hosts))
    return RequestCounter(app, requests) if requests else app


def _framework(store: Store) -> App:
    from starlette.applications import Starlette

    # 404: a path with a line break matches no route at all.
    return Starlette(routes=routes(store), exception_handlers={404: _unrouted})


async def _in_thread(work: Callable[..., Json], *arguments: object) -> Json:
    from starlette.concurrency import run_in_threadpool

    return await run_in_threadpool(work, *arguments)


def routes(store: Store) -> list[BaseRoute]:
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
            return Response()
        except Exception as error:
            return artifact_files.json_response(*error_answer(error, f"{request.method} {request.url.path}"))

    return answer_errors


async def _handle(store: Store, handler: Handler, request: Request) -> Response:
    from starlette.concurrency import run_in_threadpool

    body = await read_body(request.receive, handler.max_body)
    query = request.query_params.multi_items()
    work = partial(handle_request, handler, store, request.method, query, body, **request.path_params)
    return artifact_files.json_response(200, await run_in_threadpool(work))


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
