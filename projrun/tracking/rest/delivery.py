"""Telling a server about runs: now, or later if it is away and this process supervises the run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from projrun.console import warn
from projrun.errors import TrackingError
from projrun.tracking.entities import CREATION_TAG, Metric, Run
from projrun.tracking.rest import remote_artifacts, responses
from projrun.tracking.rest.http_client import CHUNK, PAUSES_S, HttpClient, LostAnswerError
from projrun.tracking.rest.outbox import FINAL, RunOutbox, RunUpdate
from projrun.tracking.rest.remote_artifacts import RemoteArtifacts
from projrun.tracking.wire import encode_number, encode_pairs, metric_json


class Delivery:
    """A run that `file` was called for is supervised: what the server does not take waits in the outbox."""

    def __init__(self, client: HttpClient, outbox: Path) -> None:
        self._client, self._outbox = client, outbox
        self._places: dict[str, RunOutbox] = {}
        self._artifacts_of: dict[str, RemoteArtifacts] = {}
        self._lock = threading.Lock()

    def artifacts(self, run_id: str) -> RemoteArtifacts:
        if run_id not in self._artifacts_of:
            run = responses.parse_run(self._client.get("runs/get", {"run_id": run_id}).get("run"))
            self._artifacts_of[run_id] = remote_artifacts.locate_artifacts(self._client, run.artifact_uri)
        return self._artifacts_of[run_id]

    def local_file(self, run_id: str, path: str) -> Path:
        """Return the file on this machine that the artifact `path` grows in."""
        with self._lock:
            if run_id not in self._places:
                place = RunOutbox(self._outbox, run_id)
                if not place.acquire(self._client.address):
                    raise TrackingError(f"another process performs the run {run_id}", "wait for its end")
                self._places[run_id] = place
        return self._places[run_id].artifacts().prepare_file(path)

    def write(self, run_id: str, path: str, content: bytes | Iterator[bytes]) -> None:
        if place := self._places.get(run_id):
            place.artifacts().write(path, content)
            self.send(run_id, RunUpdate(artifact=path))
        else:
            self.artifacts(run_id).write(path, content)

    def send(self, run_id: str, message: RunUpdate) -> None:
        """Everything that follows a message that has to wait waits behind it."""
        place = self._places.get(run_id)
        if place is None:
            self._send(run_id, message, None)
            return
        if not place.has_pending:
            try:
                self._send(run_id, message, place)
                return
            except TrackingError as error:
                if error.error_code in FINAL:
                    raise
                warn(f"{error.message}; what run {run_id} has to tell it is kept on this machine")
        place.append(message)

    def has_pending(self, run_id: str) -> bool:
        return run_id in self._places and self._places[run_id].has_pending

    def deliver(self, place: RunOutbox) -> None:
        """Tell the server all that waits in `place`, which this process has taken. Nothing is removed."""
        for message in place.read_updates():
            self._send(place.run_id, message, place)

    def close(self) -> None:
        for place in self._places.values():
            place.release(keep=place.has_pending and not self._is_delivered_late(place))
        self._places.clear()

    def _send(self, run_id: str, message: RunUpdate, place: RunOutbox | None) -> None:
        if message.tags:
            self._client.post("runs/log-batch", {"run_id": run_id, "tags": encode_pairs(message.tags)})
        changes = {"status": message.status, "end_time": message.end_time, "run_name": message.run_name}
        if content := {key: value for key, value in changes.items() if value is not None}:
            self._client.post("runs/update", {"run_id": run_id, **content})
        if message.artifact and place:
            with place.artifacts().open_file(message.artifact) as file:
                parts = iter(partial(file.read, CHUNK), b"")
                self.artifacts(run_id).write(message.artifact, parts)

    def _is_delivered_late(self, place: RunOutbox) -> bool:
        """The server may be back: it was away for a moment in the middle of a long run."""
        try:
            if place.may_retry:
                self.deliver(place)
                return True
        except TrackingError:
            pass
        warn(
            f"run {place.run_id} is not complete on {self._client.address}: the rest is kept in"
            f" {place.directory}; `projrun runs sync` delivers it"
        )
        return False


def create_run(client: HttpClient, content: Mapping[str, object], tags: Mapping[str, str]) -> Run:
    """Sent again after a lost answer only if no run has the mark of this one: the server may have made it."""
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
        for found in client.post("runs/search", search).get("runs", ()):
            return responses.parse_run(found)
    return responses.parse_run(client.post("runs/create", marked, may_repeat=False).get("run"))


def log_batch(
    client: HttpClient,
    content: Mapping[str, object],
    metrics: Sequence[Metric],
    history: Callable[[str], list[Metric]],
) -> None:
    """Sent again after a lost answer without the metrics that have arrived: not every server drops doubles.

    content: the request without its metrics. history: what the server has of a metric.
    """

    def send(wanted: Sequence[Metric]) -> None:
        batch = {**content, "metrics": [metric_json(metric) for metric in wanted]}
        client.post("runs/log-batch", batch, may_repeat=not wanted)

    try:
        send(metrics)
    except LostAnswerError:
        if not metrics:
            raise
        known = {_identity(one) for key in {metric.key for metric in metrics} for one in history(key)}
        send([metric for metric in metrics if _identity(metric) not in known])


def _identity(metric: Metric) -> tuple[object, ...]:
    return metric.key, metric.step, metric.timestamp, encode_number(metric.value)
