"""A remote MLflow server, through its REST API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from projrun.disk import Home
from projrun.errors import TrackingError, UsageError
from projrun.processes.usage import now_ms
from projrun.tracking.entities import ArtifactInfo, DatasetInput, Experiment, Metric, Run, RunStatus
from projrun.tracking.rest import delivery, responses
from projrun.tracking.rest.delivery import Delivery
from projrun.tracking.rest.http_client import HttpClient, LostAnswerError
from projrun.tracking.rest.outbox import RunUpdate
from projrun.tracking.wire import dataset_json, encode_pairs

HISTORY_PAGE = 25_000


def open_store(uri: str, home: Home) -> RestStore:
    """Return the store on a server, of which nothing is asked yet.

    Credentials come from MLflow's variables MLFLOW_TRACKING_TOKEN, MLFLOW_TRACKING_USERNAME and …_PASSWORD.
    """
    client = HttpClient(uri)
    if not client.host:
        raise UsageError(
            f"MLFLOW_TRACKING_URI={client.address}: there is no host in it", "write it as https://HOST[:PORT]"
        )
    return RestStore(client, home.outbox)


class RestStore:
    """The runs of a server. While it is away, the outbox keeps the updates of runs that we supervise.

    `log_file` marks a run as supervised by this process.
    """

    artifact_root = ""
    # Servers before MLflow 3 know no logged models, and projrun itself logs none: clients talk to the server.
    models = None

    def __init__(self, client: HttpClient, outbox: Path) -> None:
        self.uri = client.address
        self._client = client
        self.delivery = Delivery(client, outbox)

    def impatient(self) -> None:
        """Return None: a server cannot be asked to answer at once."""

    def create_experiment(
        self, name: str, tags: Mapping[str, str] | None = None, artifact_location: str = ""
    ) -> str:
        content: dict[str, object] = {"name": name, "tags": encode_pairs(tags or {})}
        if artifact_location:
            content["artifact_location"] = artifact_location
        try:
            answer = self._client.post("experiments/create", content, may_repeat=False)
        except LostAnswerError:
            if experiment := self.get_experiment_by_name(name):
                return experiment.experiment_id
            raise
        return str(answer.get("experiment_id", ""))

    def get_experiment(self, experiment_id: str) -> Experiment:
        answer = self._client.get("experiments/get", {"experiment_id": experiment_id})
        return responses.parse_experiment(answer.get("experiment"))

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        try:
            answer = self._client.get("experiments/get-by-name", {"experiment_name": name})
        except TrackingError as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return responses.parse_experiment(answer.get("experiment"))

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
        return [responses.parse_experiment(each) for each in answer.get("experiments", ())], _token(answer)

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
            "start_time": now_ms() if start_time is None else start_time,
        }
        if run_name:
            content["run_name"] = run_name
        run = delivery.create_run(self._client, content, tags or {})
        # The API has no status to create with.
        return run if status == "RUNNING" else self.update_run(run.run_id, status=status)

    def get_run(self, run_id: str) -> Run:
        return responses.parse_run(self._client.get("runs/get", {"run_id": run_id}).get("run"))

    def update_run(
        self,
        run_id: str,
        *,
        status: RunStatus | None = None,
        end_time: int | None = None,
        run_name: str | None = None,
    ) -> Run:
        message = RunUpdate(status=status, end_time=end_time, run_name=run_name or None)
        self.delivery.send(run_id, message)
        return (
            _unconfirmed_run(run_id, message) if self.delivery.has_pending(run_id) else self.get_run(run_id)
        )

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
        return [responses.parse_run(each) for each in answer.get("runs", ())], _token(answer)

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        if metrics or params:
            content = {
                "run_id": run_id,
                "params": encode_pairs(params or {}),
                "tags": encode_pairs(tags or {}),
            }
            delivery.log_batch(self._client, content, metrics, partial(self.get_metric_history, run_id))
        elif tags:
            self.delivery.send(run_id, RunUpdate(tags=dict(tags)))

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
        query = {"run_id": run_id, "metric_key": key, "max_results": str(HISTORY_PAGE)}
        pages = self._pages("metrics/get-history", query)
        metrics = [metric for page in pages for metric in responses.parse_metrics(page.get("metrics"))]
        metrics.sort(key=lambda metric: (metric.step, metric.timestamp))
        return metrics[offset : None if max_results is None else offset + max_results]

    def list_artifacts(self, run_id: str, path: str = "") -> list[ArtifactInfo]:
        pages = self._pages("artifacts/list", {"run_id": run_id, **({"path": path} if path else {})})
        infos = (info for page in pages for info in responses.parse_files(page.get("files"), path))
        return sorted(infos, key=lambda info: info.path)

    def open_artifact(self, run_id: str, path: str) -> AbstractContextManager[BinaryIO]:
        return self.delivery.artifacts(run_id).open_file(path)

    def artifact_file(self, run_id: str, path: str) -> Path | None:
        return None

    def write_artifact(self, run_id: str, path: str, content: bytes | Iterator[bytes]) -> None:
        self.delivery.write(run_id, path, content)

    def delete_artifact(self, run_id: str, path: str) -> None:
        self.delivery.artifacts(run_id).delete(path)

    def log_file(self, run_id: str, path: str) -> Path:
        """Return a file in the outbox, which `finish_file` uploads."""
        return self.delivery.local_file(run_id, path)

    def finish_file(self, run_id: str, path: str) -> None:
        if self.log_file(run_id, path).exists():
            self.delivery.send(run_id, RunUpdate(artifact=path))

    def close(self) -> None:
        self.delivery.close()
        self._client.close()

    def _pages(self, endpoint: str, query: dict[str, str]) -> Iterator[Any]:
        while True:
            page = self._client.get(endpoint, query)
            yield page
            if not _token(page):
                return
            query["page_token"] = _token(page)

    def _all_experiment_ids(self) -> list[str]:
        ids: list[str] = []
        token = ""
        while True:
            experiments, token = self.search_experiments(page_token=token, view_type="ALL")
            ids += [experiment.experiment_id for experiment in experiments]
            if not token:
                return ids


def _unconfirmed_run(run_id: str, message: RunUpdate) -> Run:
    """Return a run with what is known of it while its server is away."""
    return Run(
        run_id=run_id,
        experiment_id="",
        run_name=message.run_name or "",
        user_id="",
        status=message.status or "RUNNING",
        start_time=0,
        end_time=message.end_time,
        artifact_uri="",
    )


def _search(
    filter_string: str, order_by: Sequence[str], max_results: int, page_token: str
) -> dict[str, object]:
    content: dict[str, object] = {"max_results": max_results}
    given = {"filter": filter_string, "order_by": list(order_by), "page_token": page_token}
    return {**content, **{key: value for key, value in given.items() if value}}


def _token(answer: Mapping[str, Any]) -> str:
    return cast(str, answer.get("next_page_token") or "")
