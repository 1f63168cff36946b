"""Delivery of updates and artifacts to a server: at once, or later if it is away.

Later is for runs that this process supervises. The artifacts of a run go through the server, or to a
directory of this machine, as the server says.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import quote, unquote, urlsplit

from projrun.console import warn
from projrun.errors import TrackingError
from projrun.tracking.artifacts import ArtifactDirectory, split_artifact_path
from projrun.tracking.entities import CREATION_TAG, Metric, Run
from projrun.tracking.rest import responses
from projrun.tracking.rest.http_client import (
    CHUNK,
    PAUSES_S,
    FileUpload,
    HttpClient,
    HttpRequest,
    LostAnswerError,
)
from projrun.tracking.rest.outbox import FINAL, RunOutbox, RunUpdate
from projrun.tracking.wire import encode_number, encode_pairs, metric_json

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
        return f"{PROXY}/{quote(f'{self._directory}/{path}')}"


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


class Delivery:
    """Sends updates of runs. Of a supervised run, for which `local_file` was called, none is lost.

    What the server does not take now is kept in the run's outbox.
    """

    def __init__(self, client: HttpClient, room: Path) -> None:
        self._client, self._room = client, room
        self._outboxes: dict[str, RunOutbox] = {}
        self._artifacts_of: dict[str, RemoteArtifacts] = {}
        self._lock = threading.Lock()

    def artifacts(self, run_id: str) -> RemoteArtifacts:
        if run_id not in self._artifacts_of:
            run = responses.parse_run(self._client.get("runs/get", {"run_id": run_id}).get("run"))
            self._artifacts_of[run_id] = locate_artifacts(self._client, run.artifact_uri)
        return self._artifacts_of[run_id]

    def local_file(self, run_id: str, path: str) -> Path:
        """Return the file on this machine that the artifact `path` grows in."""
        with self._lock:
            if run_id not in self._outboxes:
                outbox = RunOutbox(self._room, run_id)
                if not outbox.acquire(self._client.address):
                    raise TrackingError(f"another process performs the run {run_id}", "wait for its end")
                self._outboxes[run_id] = outbox
        return self._outboxes[run_id].artifacts().prepare_file(path)

    def write(self, run_id: str, path: str, content: bytes | Iterator[bytes]) -> None:
        if outbox := self._outboxes.get(run_id):
            outbox.artifacts().write(path, content)
            self.send(run_id, RunUpdate(artifact=path))
        else:
            self.artifacts(run_id).write(path, content)

    def send(self, run_id: str, message: RunUpdate) -> None:
        """Send a message, or keep it in a supervised run's outbox; then all that follow wait behind it."""
        outbox = self._outboxes.get(run_id)
        if outbox is None:
            self._send(run_id, message, None)
            return
        if not outbox.has_pending:
            try:
                self._send(run_id, message, outbox)
                return
            except TrackingError as error:
                if error.error_code in FINAL:
                    raise
                warn(f"{error.message}; what run {run_id} has to tell it is kept on this machine")
        outbox.append(message)

    def has_pending(self, run_id: str) -> bool:
        return run_id in self._outboxes and self._outboxes[run_id].has_pending

    def deliver(self, outbox: RunOutbox) -> None:
        """Send all updates in an outbox that this process has locked. Nothing is removed."""
        for message in outbox.read_updates():
            self._send(outbox.run_id, message, outbox)

    def close(self) -> None:
        for outbox in self._outboxes.values():
            outbox.release(keep=outbox.has_pending and not self._is_delivered_late(outbox))
        self._outboxes.clear()

    def _send(self, run_id: str, message: RunUpdate, outbox: RunOutbox | None) -> None:
        if message.tags:
            self._client.post("runs/log-batch", {"run_id": run_id, "tags": encode_pairs(message.tags)})
        changes = {"status": message.status, "end_time": message.end_time, "run_name": message.run_name}
        if content := {key: value for key, value in changes.items() if value is not None}:
            self._client.post("runs/update", {"run_id": run_id, **content})
        if message.artifact and outbox:
            with outbox.artifacts().open_file(message.artifact) as file:
                parts = iter(partial(file.read, CHUNK), b"")
                self.artifacts(run_id).write(message.artifact, parts)

    def _is_delivered_late(self, outbox: RunOutbox) -> bool:
        """Try once more at the run's end, as the server may be back; return True if all has arrived."""
        try:
            if outbox.may_retry:
                self.deliver(outbox)
                return True
        except TrackingError:
            pass
        warn(
            f"run {outbox.run_id} is not complete on {self._client.address}: the rest is kept in"
            f" {outbox.directory}; `projrun runs sync` delivers it"
        )
        return False


def create_run(client: HttpClient, content: Mapping[str, object], tags: Mapping[str, str]) -> Run:
    """Create one run, also where an answer is lost: the request is repeated only if no run has its mark."""
    # MLflow's API has no idempotence key, and the server may have made the run whose answer was lost.
    mark = os.urandom(16).hex()
    search = {
        "experiment_ids": [content["experiment_id"]],
        "filter": f"tags.`{CREATION_TAG}` = '{mark}'",
        "max_results": 1,
    }
    marked = {**content, "tags": encode_pairs({**tags, CREATION_TAG: mark})}
    for pause_s in PAUSES_S:
        try:
            return responses.parse_run(client.post("runs/create", marked, may_repeat=False).get("run"))
        except LostAnswerError:
            time.sleep(pause_s)
        for run in client.post("runs/search", search).get("runs", ()):
            return responses.parse_run(run)
    return responses.parse_run(client.post("runs/create", marked, may_repeat=False).get("run"))


def log_batch(
    client: HttpClient,
    content: Mapping[str, object],
    metrics: Sequence[Metric],
    history: Callable[[str], list[Metric]],
) -> None:
    """Log a batch. After a lost answer it is sent again, without the metrics that have arrived.

    content: the request without its metrics. history: what the server has of a metric.
    """

    def send(selection: Sequence[Metric]) -> None:
        batch = {**content, "metrics": [metric_json(metric) for metric in selection]}
        # Not every server drops a metric that comes twice.
        client.post("runs/log-batch", batch, may_repeat=not selection)

    try:
        send(metrics)
    except LostAnswerError:
        if not metrics:
            raise
        keys = {metric.key for metric in metrics}
        known = {_identity(metric) for key in keys for metric in history(key)}
        send([metric for metric in metrics if _identity(metric) not in known])


def _identity(metric: Metric) -> tuple[object, ...]:
    return metric.key, metric.step, metric.timestamp, encode_number(metric.value)
