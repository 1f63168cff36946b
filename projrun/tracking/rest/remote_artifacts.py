"""The artifacts of a run on a remote server: through the server, or in a directory of this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from projrun.errors import TrackingError
from projrun.tracking.artifacts import ArtifactDirectory, split_artifact_path
from projrun.tracking.rest.http_client import FileUpload, HttpClient, HttpRequest, quote_path

PROXY = "/api/2.0/mlflow-artifacts/artifacts"


class ProxiedArtifacts:
    """Artifacts that the server stores. directory: the run's, as the server's artifact route names it."""

    def __init__(self, client: HttpClient, directory: str) -> None:
        self._client, self._directory = client, directory.strip("/")

    @contextmanager
    def open_file(self, path: str) -> Iterator[BinaryIO]:
        with self._client.answer(HttpRequest("GET", self._path(path))) as response:
            yield cast(BinaryIO, response)

    def write(self, path: str, content: bytes | Iterator[bytes]) -> None:
        if isinstance(content, bytes):
            self._put(path, content)
            return
        with tempfile.TemporaryFile() as file:
            file.writelines(content)
            file.flush()
            self._put(path, FileUpload(file))

    def delete(self, path: str) -> None:
        self._client.send(HttpRequest("DELETE", self._path(path), may_repeat=False))

    def _put(self, path: str, body: bytes | FileUpload) -> None:
        self._client.send(HttpRequest("PUT", self._path(path), body, "application/octet-stream"))

    def _path(self, path: str) -> str:
        split_artifact_path(path)
        return f"{PROXY}/{quote_path(f'{self._directory}/{path}')}"


RemoteArtifacts = ProxiedArtifacts | ArtifactDirectory


def locate_artifacts(client: HttpClient, uri: str) -> RemoteArtifacts:
    """Return the artifacts at `uri`; raise NOT_IMPLEMENTED if neither server nor machine has them."""
    parts = urlsplit(uri)
    if parts.scheme == "mlflow-artifacts" and parts.netloc in ("", client.host):
        return ProxiedArtifacts(client, unquote(parts.path))
    if parts.scheme in ("http", "https") and uri.startswith(f"{client.address}{PROXY}/"):
        return ProxiedArtifacts(client, unquote(uri.removeprefix(f"{client.address}{PROXY}/")))
    if parts.scheme in ("", "file") and parts.netloc in ("", "localhost"):
        return _on_this_machine(Path(unquote(parts.path)), uri)
    raise TrackingError(
        f"the run keeps its artifacts at {uri}, and projrun does not support {parts.scheme}: storage",
        "use a server that serves artifacts itself (mlflow server --serve-artifacts)",
        error_code="NOT_IMPLEMENTED",
    )


def _on_this_machine(directory: Path, uri: str) -> ArtifactDirectory:
    # MLflow makes <experiment>/<run>/artifacts when the first artifact comes.
    candidates = (directory, directory.parent, directory.parent.parent)
    if not directory.is_absolute() or not any(path.is_dir() for path in candidates):
        raise TrackingError(
            f"the run keeps its artifacts at {uri}, which is not on this machine",
            "use a server that serves artifacts itself (mlflow server --serve-artifacts)",
            error_code="NOT_IMPLEMENTED",
        )
    return ArtifactDirectory(directory.parent, directory.name)
