"""A remote MLflow server, through its REST API."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from projrun.errors import TrackingError, UsageError
from projrun.files import remove
from projrun.tracking import answers, remote_artifacts
from projrun.tracking.artifacts import Directory
from projrun.tracking.client import CHUNK, Client
from projrun.tracking.entities import ArtifactInfo, DatasetInput, Experiment, Metric, Run, RunStatus
from projrun.tracking.remote_artifacts import Artifacts
from projrun.tracking.wire import dataset_json, metric_json, pairs

HISTORY_PAGE = 25_000


def open_store(uri: str) -> RestStore:
    """No request is made yet. Credentials come from the usual MLFLOW_TRACKING_… variables."""
    client = Client(uri)
    if not client.host:
        raise UsageError(f"MLFLOW_TRACKING_URI={client.address}: there is no host in it")
    return RestStore(client)


class RestStore:
    artifact_root = ""

    def __init__(self, client: Client) -> None:
        self.uri = client.address
        self._client = client
        self._places: dict[str, Artifacts] = {}
        self._files: Path | None = None
        self._lock = threading.Lock()

    def create_experiment(
        self, name: str, tags: Mapping[str, str] | None = None, artifact_location: str = ""
    ) -> str:
        content: dict[str, object] = {"name": name, "tags": pairs(tags or {})}
        if artifact_location:
            content["artifact_location"] = artifact_location
        answer = self._client.post("experiments/create", content, may_repeat=False)
        return str(answer.get("experiment_id", ""))

    def get_experiment(self, experiment_id: str) -> Experiment:
        answer = self._client.get("experiments/get", {"experiment_id": experiment_id})
        return answers.experiment(answer.get("experiment"))

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        try:
            answer = self._client.get("experiments/get-by-name", {"experiment_name": name})
        except TrackingError as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return answers.experiment(answer.get("experiment"))

    def search_experiments(
        self,
        filter_string: str = "",
        order_by: Sequence[str] = (),
        max_results: int = 1000,
        page_token: str = "",
        view_type: str = "ACTIVE_ONLY",
    ) -> tuple[list[Experiment], str]:
        content = _search(filter_string, order_by, max_results, page_token)
        answer = self._client.post("experiments/search", {**content, "view_type": view_type})
        return [answers.experiment(each) for each in answer.get("experiments", ())], _token(answer)

    def rename_experiment(self, experiment_id: str, name: str) -> None:
        self._client.post("experiments/update", {"experiment_id": experiment_id, "new_name": name})

    def delete_experiment(self, experiment_id: str) -> None:
        self._client.post("experiments/delete", {"experiment_id": experiment_id}, may_repeat=False)

    def restore_experiment(self, experiment_id: str) -> None:
        self._client.post("experiments/restore", {"experiment_id": experiment_id}, may_repeat=False)

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None:
        content = {"experiment_id": experiment_id, "key": key, "value": value}
        self._client.post("experiments/set-experiment-tag", content)

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        content = {"experiment_id": experiment_id, "key": key}
        self._client.post("experiments/delete-experiment-tag", content, may_repeat=False)

    def create_run(
        self,
        experiment_id: str,
        *,
        run_name: str = "",
        user_id: str = "",
        start_time: int | None = None,
        tags: Mapping[str, str] | None = None,
        status: RunStatus = "RUNNING",
    ) -> Run:
        content: dict[str, object] = {
            "experiment_id": experiment_id,
            "user_id": user_id,
            "start_time": time.time_ns() // 1_000_000 if start_time is None else start_time,
            "tags": pairs(tags or {}),
        }
        if run_name:
            content["run_name"] = run_name
        run = answers.run(self._client.post("runs/create", content, may_repeat=False).get("run"))
        # The API has no status to create with.
        return run if status == "RUNNING" else self.update_run(run.run_id, status=status)

    def get_run(self, run_id: str) -> Run:
        return answers.run(self._client.get("runs/get", {"run_id": run_id}).get("run"))

    def update_run(
        self,
        run_id: str,
        *,
        status: RunStatus | None = None,
        end_time: int | None = None,
        run_name: str | None = None,
    ) -> Run:
        changes = {"status": status, "end_time": end_time, "run_name": run_name or None}
        content = {key: value for key, value in changes.items() if value is not None}
        self._client.post("runs/update", {"run_id": run_id, **content})
        return self.get_run(run_id)

    def delete_run(self, run_id: str) -> None:
        self._client.post("runs/delete", {"run_id": run_id})

    def restore_run(self, run_id: str) -> None:
        self._client.post("runs/restore", {"run_id": run_id})

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str = "",
        order_by: Sequence[str] = (),
        max_results: int = 1000,
        page_token: str = "",
        run_view_type: str = "ACTIVE_ONLY",
    ) -> tuple[list[Run], str]:
        ids = list(experiment_ids) or self._all_experiment_ids()
        content = _search(filter_string, order_by, max_results, page_token)
        answer = self._client.post(
            "runs/search", {**content, "experiment_ids": ids, "run_view_type": run_view_type}
        )
        return [answers.run(each) for each in answer.get("runs", ())], _token(answer)

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        content = {
            "run_id": run_id,
            "metrics": [metric_json(metric) for metric in metrics],
            "params": pairs(params or {}),
            "tags": pairs(tags or {}),
        }
        self._client.post("runs/log-batch", content)

    def delete_tag(self, run_id: str, key: str) -> None:
        self._client.post("runs/delete-tag", {"run_id": run_id, "key": key}, may_repeat=False)

    def log_model(self, run_id: str, model: Mapping[str, object]) -> None:
        text = msgspec.json.encode(model).decode()
        self._client.post("runs/log-model", {"run_id": run_id, "model_json": text}, may_repeat=False)

    def log_inputs(self, run_id: str, datasets: Sequence[DatasetInput]) -> None:
        content = {"run_id": run_id, "datasets": [dataset_json(dataset) for dataset in datasets]}
        self._client.post("runs/log-inputs", content)

    def get_metric_history(
        self, run_id: str, key: str, max_results: int | None = None, offset: int = 0
    ) -> list[Metric]:
        found: list[Metric] = []
        query = {"run_id": run_id, "metric_key": key, "max_results": str(HISTORY_PAGE)}
        while True:
            answer = self._client.get("metrics/get-history", query)
            found += answers.metrics(answer.get("metrics"))
            if not _token(answer):
                break
            query["page_token"] = _token(answer)
        found.sort(key=lambda metric: (metric.step, metric.timestamp))
        return found[offset : None if max_results is None else offset + max_results]

    def list_artifacts(self, run_id: str, path: str = "") -> list[ArtifactInfo]:
        found: list[ArtifactInfo] = []
        query = {"run_id": run_id, **({"path": path} if path else {})}
        while True:
            answer = self._client.get("artifacts/list", query)
            found += answers.files(answer.get("files"), path)
            if not _token(answer):
                return sorted(found, key=lambda info: info.path)
            query["page_token"] = _token(answer)

    def open_artifact(self, run_id: str, path: str) -> AbstractContextManager[BinaryIO]:
        return self._artifacts(run_id).opened(path)

    def artifact_file(self, run_id: str, path: str) -> Path | None:
        return None

    def write_artifact(self, run_id: str, path: str, content: bytes | Iterator[bytes]) -> None:
        self._artifacts(run_id).write(path, content)

    def delete_artifact(self, run_id: str, path: str) -> None:
        self._artifacts(run_id).delete(path)

    def log_file(self, run_id: str, path: str) -> Path:
        """A file in a temporary directory of this process; `finish_file` uploads it."""
        with self._lock:
            if self._files is None:
                self._files = Path(tempfile.mkdtemp(prefix="projrun-"))
        return Directory(self._files, run_id).prepared(path)

    def finish_file(self, run_id: str, path: str) -> None:
        local = self.log_file(run_id, path)
        if not local.exists():
            return
        with local.open("rb") as file:
            self._artifacts(run_id).write(path, iter(partial(file.read, CHUNK), b""))

    def close(self) -> None:
        self._client.close()
        if self._files is not None:
            remove(self._files)
            self._files = None

    def _artifacts(self, run_id: str) -> Artifacts:
        if run_id not in self._places:
            uri = self.get_run(run_id).artifact_uri
            self._places[run_id] = remote_artifacts.artifacts(self._client, uri)
        return self._places[run_id]

    def _all_experiment_ids(self) -> list[str]:
        ids: list[str] = []
        token = ""
        while True:
            found, token = self.search_experiments(page_token=token, view_type="ALL")
            ids += [experiment.experiment_id for experiment in found]
            if not token:
                return ids


def _search(
    filter_string: str, order_by: Sequence[str], max_results: int, page_token: str
) -> dict[str, object]:
    content: dict[str, object] = {"max_results": max_results}
    given = {"filter": filter_string, "order_by": list(order_by), "page_token": page_token}
    return {**content, **{key: value for key, value in given.items() if value}}


def _token(answer: Mapping[str, Any]) -> str:
    return cast(str, answer.get("next_page_token") or "")
