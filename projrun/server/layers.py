"""ASGI layers without a framework: what says that the server is there, and an application that comes late."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from projrun.server.guard import App, Receive, Scope, Send, respond
from projrun.server.metrics import TEXT_TYPE


class Texts:
    """Answers GET and HEAD of the paths of `pages` with what the function there returns."""

    def __init__(self, app: App, pages: Mapping[str, Callable[[], str]]) -> None:
        self._app, self._pages = app, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = self._pages.get(scope.get("path", ""))
        if page is None or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        await respond(send, 200, page().encode(), TEXT_TYPE, head=scope["method"] == "HEAD")


class Late:
    """The application that `make` gives, made when the first request comes to it."""

    def __init__(self, make: Callable[[], App]) -> None:
        self._make = make
        self._app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            self._app = self._make()
        await self._app(scope, receive, send)
