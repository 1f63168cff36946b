"""Artifacts over HTTP: listing, upload, deletion, and download of whole files or of ranges."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from projrun.server import addresses
from projrun.server.guard import JSON_TYPE
from projrun.tracking import Store
from projrun.tracking.wire import Json, file_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from projrun.tracking.models import ArtifactFiles

CHUNK = 1 << 20
ARTIFACT_HEADERS = {
    "content-type": "application/octet-stream",
    "content-security-policy": "sandbox; default-src 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


async def _list(store: Store, request: Request) -> Response:
    from starlette.concurrency import run_in_threadpool

    def work() -> Json:
        files, path = addresses.resolve_artifact(store, request.query_params.get("path", ""))
        infos = files.list_entries(addresses.strip_slash(path))
        # Unlike in artifacts/list, paths here are relative to the directory that is listed.
        return {"files": [{**file_json(info), "path": info.path.rpartition("/")[2]} for info in infos]}

    return json_response(200, await run_in_threadpool(work))


async def _download(store: Store, request: Request) -> Response:
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import Response, StreamingResponse

    def look() -> tuple[ArtifactFiles, str, int]:
        files, path = addresses.resolve_artifact(store, request.path_params["address"])
        with files.open_file(path) as file:
            return files, path, os.fstat(file.fileno()).st_size

    files, path, size = await run_in_threadpool(look)
    headers = {
        **ARTIFACT_HEADERS,
        "accept-ranges": "bytes",
        "content-disposition": f"attachment; filename*=UTF-8''{quote(path.rpartition('/')[2])}",
    }
    part = parse_range(request.headers.get("range", ""), size)
    if part is None:
        return Response(status_code=416, headers={**headers, "content-range": f"bytes */{size}"})
    headers["content-length"] = str(len(part))
    if part == range(size):
        return StreamingResponse(_chunks(files, path, part), headers=headers)
    headers["content-range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    return StreamingResponse(_chunks(files, path, part), 206, headers)


def parse_range(header: str, size: int) -> range | None:
    """Return the bytes that a Range header asks for; None when the file has no such bytes.

    A header that is not one range of bytes is ignored, as RFC 9110, 14.2, allows.
    """
    match = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", header.strip())
    if match is None or match[0].endswith("=-"):
        return range(size)
    first, last = match.groups()
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
    if first and last and int(last) < int(first):
        return range(size)
    return range(start, stop) if start < stop else None


async def _chunks(files: ArtifactFiles, path: str, part: range) -> AsyncIterator[bytes]:
    # Exactly these bytes are sent: a log that grows meanwhile must not exceed the announced length.
    from starlette.concurrency import run_in_threadpool

    size = len(part)
    with ExitStack() as stack:
        file = await run_in_threadpool(stack.enter_context, files.open_file(path))
        await run_in_threadpool(file.seek, part.start)
        while size > 0 and (chunk := await run_in_threadpool(file.read, min(CHUNK, size))):
            size -= len(chunk)
            yield chunk


async def _upload(store: Store, request: Request) -> Response:
    from anyio import from_thread
    from starlette.concurrency import run_in_threadpool

    stream = request.stream()

    async def following() -> bytes:
        return await anext(stream, b"")

    def parts() -> Iterator[bytes]:
        while part := from_thread.run(following):
            yield part

    def work() -> None:
        files, path = addresses.resolve_artifact(store, request.path_params["address"])
        files.write(path, parts())

    await run_in_threadpool(work)
    return json_response(200, {})


async def _delete(store: Store, request: Request) -> Response:
    from starlette.concurrency import run_in_threadpool

    def work() -> None:
        files, path = addresses.resolve_artifact(store, request.path_params["address"])
        files.delete(path)

    await run_in_threadpool(work)
    return json_response(200, {})


def json_response(status: int, content: Json) -> Response:
    from starlette.responses import Response

    headers = {"content-type": JSON_TYPE, "x-content-type-options": "nosniff"}
    return Response(msgspec.json.encode(content), status, headers)


# Method, path below …/mlflow-artifacts/, and function of each request.
ENDPOINTS: tuple[tuple[str, str, Callable[[Store, Request], Awaitable[Response]]], ...] = (
    ("GET", "artifacts", _list),
    ("GET", "artifacts/{address:path}", _download),
    ("PUT", "artifacts/{address:path}", _upload),
    ("DELETE", "artifacts/{address:path}", _delete),
)
