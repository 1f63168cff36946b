"""Artifacts over HTTP: their URIs, listing, upload, deletion, and download of whole files or of ranges.

A run has `mlflow-artifacts:/<experiment id>/<run id>/artifacts`,
a logged model `mlflow-artifacts:/<experiment id>/models/<model id>/artifacts`.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from urllib.parse import quote

import msgspec

from projrun.errors import TrackingError
from projrun.server.middleware import JSON_TYPE
from projrun.server.run_view import RunView
from projrun.tracking import Store
from projrun.tracking.entities import ArtifactInfo, Experiment, Run
from projrun.tracking.limits import not_found, quote_short
from projrun.tracking.wire import Json, file_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from projrun.tracking.models import ArtifactFiles, LoggedModel, ModelStore

T = TypeVar("T")

SCHEME = "mlflow-artifacts:"
CHUNK = 1 << 20
# Runs of strangers write artifacts: a browser must neither take one for a page of this server nor run it
ARTIFACT_HEADERS = {
    "content-type": "application/octet-stream",
    "content-security-policy": "sandbox; default-src 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


def _is_ours(store: Store, uri: str) -> bool:
    return bool(store.artifact_root) and uri.startswith(f"{store.artifact_root}/")


def experiment_uri(store: Store, experiment: Experiment) -> str:
    location = experiment.artifact_location
    return f"{SCHEME}/{experiment.experiment_id}" if _is_ours(store, location) else location


def run_uri(store: Store, run: Run) -> str:
    """Return the URI of a run's artifacts; clients reach a location of the experiment's own by themselves."""
    if _is_ours(store, run.artifact_uri):
        return f"{SCHEME}/{run.experiment_id}/{run.run_id}/artifacts"
    return run.artifact_uri


def model_uri(store: Store, model: LoggedModel) -> str:
    if _is_ours(store, model.artifact_uri):
        return f"{SCHEME}/{model.experiment_id}/models/{model.model_id}/artifacts"
    return model.artifact_uri


class RunFiles:
    """The artifacts of one run, with the methods that those of a logged model have."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store, self._run_id = store, run_id

    def list_entries(self, path: str) -> list[ArtifactInfo]:
        return self._store.list_artifacts(self._run_id, path)

    def open_file(self, path: str) -> AbstractContextManager[BinaryIO]:
        return self._store.open_artifact(self._run_id, path)

    def write(self, path: str, content: bytes | Iterable[bytes]) -> None:
        parts = content if isinstance(content, bytes) else iter(content)
        self._store.write_artifact(self._run_id, path, parts)

    def delete(self, path: str) -> None:
        self._store.delete_artifact(self._run_id, path)


def resolve_artifact(store: Store, address: str) -> tuple[ArtifactFiles, str]:
    """Return the files that `address` (behind `…/mlflow-artifacts/artifacts/`) is in, and its path there."""
    experiment_id, _, rest = address.strip("/").partition("/")
    owner, _, rest = rest.partition("/")
    files: ArtifactFiles
    if owner == "models":
        owner, _, rest = rest.partition("/")
        models = require_models(store).logged
        stored_in = models.get(owner, allow_deleted=True).experiment_id
        files = models.artifacts(owner)
    else:
        stored_in = store.get_run(owner).experiment_id
        if isinstance(store, RunView) and store.has_answered(owner, experiment_id):
            stored_in = experiment_id  # the run has moved since the client was told its address
        files = RunFiles(store, owner)
    fixed, _, path = rest.partition("/")
    if fixed != "artifacts" or stored_in != experiment_id:
        raise not_found(f"there is no artifact {quote_short(address)}")
    return files, path


def require_models(store: Store) -> ModelStore:
    if store.models is None:
        raise TrackingError("this store keeps no models", error_code="NOT_IMPLEMENTED")
    return store.models


async def _list(store: Store, request: Request) -> Response:
    def work() -> Json:
        files, path = resolve_artifact(store, request.query_params.get("path", ""))
        infos = files.list_entries(path.removesuffix("/"))
        # Unlike in artifacts/list, paths here are relative to the directory that is listed.
        return {"files": [{**file_json(info), "path": info.path.rpartition("/")[2]} for info in infos]}

    return json_response(200, await run_in_thread(work))


async def _download(store: Store, request: Request) -> Response:
    from starlette.responses import Response, StreamingResponse

    def look() -> tuple[ArtifactFiles, str, int]:
        files, path = resolve_artifact(store, request.path_params["address"])
        with files.open_file(path) as file:
            return files, path, os.fstat(file.fileno()).st_size

    files, path, size = await run_in_thread(look)
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
    # 18 digits fit any file; Python takes quadratic time to read longer numbers
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
    size = len(part)
    with ExitStack() as stack:
        file = await run_in_thread(stack.enter_context, files.open_file(path))
        await run_in_thread(file.seek, part.start)
        while size > 0 and (chunk := await run_in_thread(file.read, min(CHUNK, size))):
            size -= len(chunk)
            yield chunk


async def _upload(store: Store, request: Request) -> Response:
    from anyio import from_thread

    stream = request.stream()

    async def read_part() -> bytes:
        return await anext(stream, b"")

    # The store reads the parts in its own thread, so that no upload is ever whole in memory
    def parts() -> Iterator[bytes]:
        while part := from_thread.run(read_part):
            yield part

    def work() -> None:
        files, path = resolve_artifact(store, request.path_params["address"])
        files.write(path, parts())

    await run_in_thread(work)
    return json_response(200, {})


async def _delete(store: Store, request: Request) -> Response:
    def work() -> None:
        files, path = resolve_artifact(store, request.path_params["address"])
        files.delete(path)

    await run_in_thread(work)
    return json_response(200, {})


async def run_in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Call a function that may wait for the disk or for locks, without delaying other requests."""
    from starlette.concurrency import run_in_threadpool

    return await run_in_threadpool(work, *arguments)


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
