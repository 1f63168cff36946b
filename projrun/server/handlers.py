"""MLflow's REST API over a store: one function for each request, without a web framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from projrun.server import artifact_files
from projrun.server import messages as m
from projrun.tracking import Store
from projrun.tracking.entities import Experiment, Run
from projrun.tracking.limits import check_page_size, invalid_parameter, not_found
from projrun.tracking.wire import Json, experiment_json, file_json, metric_json, run_info_json, run_json

NO_EXPERIMENT = "-1"  # no store gives this id
MAX_BODY = 32_000_000
# MLflow's own limits, which its clients divide their requests by
PAGE_SIZE = 1000
MAX_BATCH_BODY = 1_000_000
MAX_HISTORY = 25_000
MAX_BULK_RUNS = 100


class Handler(NamedTuple):
    methods: tuple[str, ...]
    path: str  # below …/mlflow/
    message: type[m.RequestMessage]
    # Returns the content of the answer; None for an empty object.
    answer: Callable[[Store, Any], Json | None]
    max_body: int = MAX_BODY
    # True if it takes a few milliseconds at most, unless another process is writing.
    is_quick: bool = False


def _experiment_json(store: Store, experiment: Experiment) -> Json:
    return experiment_json(experiment, artifact_files.experiment_uri(store, experiment))


def _run_json(store: Store, run: Run) -> Json:
    return run_json(run, artifact_files.run_uri(store, run))


def create_experiment(store: Store, message: m.CreateExperiment) -> Json:
    tags = m.items_to_dict(message.tags)
    experiment_id = store.create_experiment(message.name, tags, message.artifact_location or "")
    return {"experiment_id": experiment_id}


def get_experiment(store: Store, message: m.ExperimentMessage) -> Json:
    experiment = store.get_experiment(message.experiment())
    return {"experiment": _experiment_json(store, experiment)}


def get_experiment_by_name(store: Store, message: m.GetExperimentByName) -> Json:
    name = m.require("experiment_name", message.experiment_name)
    experiment = store.get_experiment_by_name(name)
    if experiment is None:
        raise not_found(f"Could not find experiment with name '{name}'")
    return {"experiment": _experiment_json(store, experiment)}


def search_experiments(store: Store, message: m.SearchExperiments) -> Json:
    view = m.parse_view_type(message.view_type)
    experiments, token = store.search_experiments(*message.page(PAGE_SIZE), view)
    return page({"experiments": [_experiment_json(store, experiment) for experiment in experiments]}, token)


def update_experiment(store: Store, message: m.UpdateExperiment) -> None:
    store.rename_experiment(message.experiment(), m.require("new_name", message.new_name))


def delete_experiment(store: Store, message: m.ExperimentMessage) -> None:
    store.delete_experiment(message.experiment())


def restore_experiment(store: Store, message: m.ExperimentMessage) -> None:
    store.restore_experiment(message.experiment())


def set_experiment_tag(store: Store, message: m.ExperimentTag) -> None:
    store.set_experiment_tag(message.experiment(), message.key, message.value)


def delete_experiment_tag(store: Store, message: m.ExperimentTag) -> None:
    store.delete_experiment_tag(message.experiment(), message.key)


def create_run(store: Store, message: m.CreateRun) -> Json:
    run = store.create_run(
        message.experiment(),
        run_name=message.run_name or "",
        user_id=message.user_id or "",
        start_time=message.start_time,
        tags=m.items_to_dict(message.tags),
    )
    return {"run": _run_json(store, run)}


def get_run(store: Store, message: m.RunMessage) -> Json:
    run = store.get_run(message.run())
    return {"run": _run_json(store, run)}


def update_run(store: Store, message: m.UpdateRun) -> Json:
    status = m.parse_status(message.status)
    run = store.update_run(message.run(), status=status, end_time=message.end_time, run_name=message.run_name)
    return {"run_info": run_info_json(run, artifact_files.run_uri(store, run))}


def delete_run(store: Store, message: m.RunMessage) -> None:
    store.delete_run(message.run())


def restore_run(store: Store, message: m.RunMessage) -> None:
    store.restore_run(message.run())


def search_runs(store: Store, message: m.SearchRuns) -> Json:
    view = m.parse_view_type(message.run_view_type)
    # Without experiments MLflow finds nothing, but still checks the filter; a Store would search all of them.
    experiment_ids = message.experiment_ids or [NO_EXPERIMENT]
    runs, token = store.search_runs(experiment_ids, *message.page(PAGE_SIZE), view)
    return page({"runs": [_run_json(store, run) for run in runs]}, token)


def log_metric(store: Store, message: m.MetricMessage) -> None:
    store.log_batch(message.run(), metrics=[message.metric()])


def log_param(store: Store, message: m.KeyValue) -> None:
    store.log_batch(message.run(), params={message.key: message.value})


def set_tag(store: Store, message: m.KeyValue) -> None:
    store.log_batch(message.run(), tags={message.key: message.value})


def delete_tag(store: Store, message: m.KeyValue) -> None:
    store.delete_tag(message.run(), message.key)


def log_batch(store: Store, message: m.LogBatch) -> None:
    store.log_batch(
        message.run(),
        [item.metric() for item in message.metrics or ()],
        m.unique_params(message.params),
        m.items_to_dict(message.tags),
    )


def log_model(store: Store, message: m.LogModel) -> None:
    try:
        model = msgspec.json.decode(message.model_json, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise invalid_parameter(f"model_json is not a JSON object: {error}") from None
    if absent := {"artifact_path", "flavors", "utc_time_created", "run_id"} - model.keys():
        raise invalid_parameter(f"model_json lacks {', '.join(sorted(absent))}")
    # MLflow stores these alone, as the tag mlflow.log-model.history, and leaves out signature and sizes
    fields = ("run_id", "utc_time_created", "artifact_path", "model_uuid", "flavors")
    store.log_model(message.run(), {key: model[key] for key in fields if key in model})


def log_inputs(store: Store, message: m.LogInputs) -> None:
    if message.models:
        models = artifact_files.require_models(store).logged
        models.log_inputs(message.run(), [item.model_id for item in message.models])
    store.log_inputs(message.run(), [item.input() for item in message.datasets or ()])


def get_metric_history(store: Store, message: m.GetMetricHistory) -> Json:
    key = m.require("metric_key", message.metric_key)
    if message.max_results is None:
        return {"metrics": [metric_json(metric) for metric in store.get_metric_history(message.run(), key)]}
    check_page_size(message.max_results)
    offset = _offset(message.page_token or "")
    history = store.get_metric_history(message.run(), key, message.max_results + 1, offset)
    token = str(offset + message.max_results) if len(history) > message.max_results else ""
    return page({"metrics": [metric_json(metric) for metric in history[: message.max_results]]}, token)


def get_metric_history_bulk(store: Store, message: m.GetMetricHistoryBulk) -> Json:
    if not 1 <= len(message.run_id) <= MAX_BULK_RUNS:
        raise invalid_parameter(f"run_id is given {len(message.run_id)} times", f"give 1 to {MAX_BULK_RUNS}")
    limit = min(MAX_HISTORY if message.max_results is None else message.max_results, MAX_HISTORY)
    check_page_size(limit)
    entries: list[Json] = []
    for run_id in sorted(message.run_id):
        metrics = store.get_metric_history(run_id, message.metric_key, limit - len(entries))
        entries += [{**metric_json(metric), "run_id": run_id} for metric in metrics]
        if len(entries) >= limit:
            break
    return {"metrics": entries}


def list_artifacts(store: Store, message: m.ListArtifacts) -> Json:
    run = store.get_run(message.run())
    files = store.list_artifacts(run.run_id, (message.path or "").removesuffix("/"))
    return {"root_uri": artifact_files.run_uri(store, run), "files": [file_json(info) for info in files]}


GET, POST, PATCH, DELETE, GET_POST = ("GET",), ("POST",), ("PATCH",), ("DELETE",), ("GET", "POST")

HANDLERS = (
    Handler(POST, "experiments/create", m.CreateExperiment, create_experiment, is_quick=True),
    Handler(GET, "experiments/get", m.ExperimentMessage, get_experiment, is_quick=True),
    Handler(GET, "experiments/get-by-name", m.GetExperimentByName, get_experiment_by_name, is_quick=True),
    Handler(GET_POST, "experiments/search", m.SearchExperiments, search_experiments),
    Handler(GET, "experiments/list", m.SearchExperiments, search_experiments),
    Handler(POST, "experiments/update", m.UpdateExperiment, update_experiment),
    Handler(POST, "experiments/delete", m.ExperimentMessage, delete_experiment),
    Handler(POST, "experiments/restore", m.ExperimentMessage, restore_experiment),
    Handler(POST, "experiments/set-experiment-tag", m.ExperimentTag, set_experiment_tag),
    Handler(POST, "experiments/delete-experiment-tag", m.ExperimentTag, delete_experiment_tag),
    Handler(POST, "runs/create", m.CreateRun, create_run, is_quick=True),
    Handler(GET, "runs/get", m.RunMessage, get_run, is_quick=True),
    Handler(POST, "runs/update", m.UpdateRun, update_run, is_quick=True),
    Handler(POST, "runs/delete", m.RunMessage, delete_run),
    Handler(POST, "runs/restore", m.RunMessage, restore_run),
    Handler(POST, "runs/search", m.SearchRuns, search_runs),
    Handler(POST, "runs/log-metric", m.MetricMessage, log_metric, is_quick=True),
    Handler(POST, "runs/log-parameter", m.KeyValue, log_param, is_quick=True),
    Handler(POST, "runs/log-batch", m.LogBatch, log_batch, MAX_BATCH_BODY, is_quick=True),
    Handler(POST, "runs/set-tag", m.KeyValue, set_tag, is_quick=True),
    Handler(POST, "runs/delete-tag", m.KeyValue, delete_tag, is_quick=True),
    Handler(POST, "runs/log-model", m.LogModel, log_model),
    Handler(POST, "runs/log-inputs", m.LogInputs, log_inputs),
    Handler(GET, "metrics/get-history", m.GetMetricHistory, get_metric_history),
    Handler(GET, "metrics/get-history-bulk", m.GetMetricHistoryBulk, get_metric_history_bulk),
    Handler(GET, "artifacts/list", m.ListArtifacts, list_artifacts),
)


def page(answer: Json, token: str) -> Json:
    return {**answer, "next_page_token": token} if token else answer


def _offset(page_token: str) -> int:
    if page_token and not (page_token.isascii() and page_token.isdigit() and len(page_token) < 18):
        raise invalid_parameter("page_token is not one that this server gave")
    return int(page_token or 0)
