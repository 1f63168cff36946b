"""Logged models (MLflow 3): what each request does and answers."""

from __future__ import annotations

from projrun.server import modelmessages as m
from projrun.server.addresses import keeping_models, of_model, plain
from projrun.server.handlers import GET, POST, Handler, page
from projrun.server.messages import mapping, unique
from projrun.tracking import Store
from projrun.tracking.limits import invalid
from projrun.tracking.modelentities import LoggedModel
from projrun.tracking.modelstores import LoggedModels
from projrun.tracking.modelwire import logged_model_json
from projrun.tracking.wire import Json, file_json


def create(store: Store, message: m.CreateLoggedModel) -> Json:
    model = _models(store).create(
        message.experiment(),
        name=message.name or "",
        model_type=message.model_type or "",
        source_run_id=message.source_run_id or "",
        params=unique(message.params),
        tags=mapping(message.tags),
    )
    return _answer(store, model)


def get(store: Store, message: m.GetLoggedModel) -> Json:
    model = _models(store).get(message.model(), allow_deleted=bool(message.allow_deleted))
    return _answer(store, model)


def finalize(store: Store, message: m.FinalizeLoggedModel) -> Json:
    return _answer(store, _models(store).finalize(message.model(), message.state()))


def delete(store: Store, message: m.OfModel) -> Json:
    _models(store).delete(message.model())
    return {}


def set_tags(store: Store, message: m.ModelTags) -> Json:
    return _answer(store, _models(store).set_tags(message.model(), mapping(message.tags)))


def delete_tag(store: Store, message: m.ModelTag) -> Json:
    _models(store).delete_tag(message.model(), message.tag_key or "")
    return {}


def log_params(store: Store, message: m.ModelParams) -> Json:
    _models(store).log_params(message.model(), unique(message.params))
    return {}


def search(store: Store, message: m.SearchLoggedModels) -> Json:
    if not message.experiment_ids:
        raise invalid("Missing value for required parameter 'experiment_ids'")
    found, token = _models(store).search(
        message.experiment_ids,
        message.filter or "",
        [item.dataset() for item in message.datasets or ()],
        [item.order() for item in message.order_by or ()],
        message.max_results or 50,
        message.page_token or "",
    )
    return page({"models": [logged_model_json(model, of_model(store, model)) for model in found]}, token)


def list_artifacts(store: Store, message: m.ListModelArtifacts) -> Json:
    models = _models(store)
    model = models.get(message.model())
    files = models.artifacts(model.model_id).listed(plain(message.artifact_directory_path or ""))
    return {"root_uri": of_model(store, model), "files": [file_json(info) for info in files]}


def log_outputs(store: Store, message: m.LogOutputs) -> Json:
    steps = {item.model_id: item.step or 0 for item in message.models or ()}
    _models(store).log_outputs(message.run(), steps)
    return {}


PATCH, DELETE = ("PATCH",), ("DELETE",)

HANDLERS = (
    Handler(POST, "logged-models", m.CreateLoggedModel, create),
    Handler(POST, "logged-models/search", m.SearchLoggedModels, search),
    Handler(GET, "logged-models/{model_id}", m.GetLoggedModel, get),
    Handler(PATCH, "logged-models/{model_id}", m.FinalizeLoggedModel, finalize),
    Handler(DELETE, "logged-models/{model_id}", m.OfModel, delete),
    Handler(PATCH, "logged-models/{model_id}/tags", m.ModelTags, set_tags),
    Handler(DELETE, "logged-models/{model_id}/tags/{tag_key:path}", m.ModelTag, delete_tag),
    Handler(POST, "logged-models/{model_id}/params", m.ModelParams, log_params),
    Handler(GET, "logged-models/{model_id}/artifacts/directories", m.ListModelArtifacts, list_artifacts),
    Handler(POST, "runs/outputs", m.LogOutputs, log_outputs),
)


def _models(store: Store) -> LoggedModels:
    return keeping_models(store).logged_models


def _answer(store: Store, model: LoggedModel) -> Json:
    return {"model": logged_model_json(model, of_model(store, model))}
