"""The artifacts of a run on a remote server: through the server, or in a directory of this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast
from urllib.parse import unquote, urlsplit

from projrun.errors import TrackingError
from projrun.tracking.artifacts import Directory, checked_segments
from projrun.tracking.rest.client import Client, Request, Upload, quoted

PROXY = "/api/2.0/mlflow-artifacts/artifacts"


class Artifacts(Protocol):
    """The files of one run."""

    def opened(self, path: str) -> AbstractContextManager[BinaryIO]: ...

    def write(self, path: str, content: bytes | Iterator[bytes]) -> None: ...

    def delete(self, path: str) -> None: ...


class Proxied:
    """Files that the server hands on. place: the run's directory as the server's artifact route names it."""

    def __init__(self, client: Client, place: str) -> None:
        self._client, self._place = client, place.strip("/")

    @contextmanager
    def opened(self, path: str) -> Iterator[BinaryIO]:
        with self._client.answer(Request("GET", self._path(path))) as response:
            yield cast(BinaryIO, response)

    def write(self, path: str, content: bytes | Iterator[bytes]) -> None:
        if isinstance(content, bytes):
            self._put(path, content)
            return
        with tempfile.TemporaryFile() as file:
            file.writelines(content)
            file.flush()
            self._put(path, Upload(file))

    def delete(self, path: str) -> None:
        self._client.send(Request("DELETE", self._path(path), may_repeat=False))

    def _put(self, path: str, body: bytes | Upload) -> None:
        self._client.send(Request("PUT", self._path(path), body, "application/octet-stream"))

    def _path(self, path: str) -> str:
        checked_segments(path)
        return f"{PROXY}/{quoted(f'{self._place}/{path}')}"


def artifacts(client: Client, uri: str) -> Artifacts:
    """TrackingError for places that neither the server nor this machine gives access to."""
    parts = urlsplit(uri)
    if parts.scheme == "mlflow-artifacts" and parts.netloc in ("", client.host):
        return Proxied(client, unquote(parts.path))
    if parts.scheme in ("http", "https") and uri.startswith(f"{client.address}{PROXY}/"):
        return Proxied(client, unquote(uri.removeprefix(f"{client.address}{PROXY}/")))
    if parts.scheme in ("", "file") and parts.netloc in ("", "localhost"):
        return _on_this_machine(Path(unquote(parts.path)), uri)
    raise TrackingError(
        f"the run keeps its artifacts at {uri}, and projrun does not support {parts.scheme}: storage",
        "use a server that serves artifacts itself (mlflow server --serve-artifacts)",
        error_code="NOT_IMPLEMENTED",
    )


def _on_this_machine(directory: Path, uri: str) -> Directory:
    # MLflow makes <experiment>/<run>/artifacts when the first artifact comes.
    if not directory.is_absolute() or not any(
        place.is_dir() for place in (directory, directory.parent, directory.parent.parent)
    ):
        raise TrackingError(
            f"the run keeps its artifacts at {uri}, which is not on this machine",
            "use a server that serves artifacts itself (mlflow server --serve-artifacts)",
            error_code="NOT_IMPLEMENTED",
        )
    return Directory(directory.parent, directory.name)
