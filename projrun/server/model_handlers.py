"""Logged models (MLflow 3): what each request does and answers."""

from __future__ import annotations

from projrun.server import model_messages as m
from projrun.server.addresses import keeping_models, of_model, plain
from projrun.server.handlers import GET, POST, Handler, page
from projrun.server.messages import mapping, required, unique
from projrun.tracking import Store
from projrun.tracking.limits import invalid
from projrun.tracking.model_wire import logged_model_json, registered_model_json, version_json
from projrun.tracking.models import LoggedModel, LoggedModels, ModelRegistry, ModelVersion
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
    return _model_answer(store, model)


def get(store: Store, message: m.GetLoggedModel) -> Json:
    model = _models(store).get(message.model(), allow_deleted=bool(message.allow_deleted))
    return _model_answer(store, model)


def finalize(store: Store, message: m.FinalizeLoggedModel) -> Json:
    return _model_answer(store, _models(store).finalize(message.model(), message.state()))


def delete(store: Store, message: m.OfModel) -> Json:
    _models(store).delete(message.model())
    return {}


def set_tags(store: Store, message: m.ModelTags) -> Json:
    return _model_answer(store, _models(store).set_tags(message.model(), mapping(message.tags)))


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


MODEL_PATCH, MODEL_DELETE = ("PATCH",), ("DELETE",)

MODEL_HANDLERS = (
    Handler(POST, "logged-models", m.CreateLoggedModel, create),
    Handler(POST, "logged-models/search", m.SearchLoggedModels, search),
    Handler(GET, "logged-models/{model_id}", m.GetLoggedModel, get),
    Handler(MODEL_PATCH, "logged-models/{model_id}", m.FinalizeLoggedModel, finalize),
    Handler(MODEL_DELETE, "logged-models/{model_id}", m.OfModel, delete),
    Handler(MODEL_PATCH, "logged-models/{model_id}/tags", m.ModelTags, set_tags),
    Handler(MODEL_DELETE, "logged-models/{model_id}/tags/{tag_key:path}", m.ModelTag, delete_tag),
    Handler(POST, "logged-models/{model_id}/params", m.ModelParams, log_params),
    Handler(GET, "logged-models/{model_id}/artifacts/directories", m.ListModelArtifacts, list_artifacts),
    Handler(POST, "runs/outputs", m.LogOutputs, log_outputs),
)


def _models(store: Store) -> LoggedModels:
    return keeping_models(store).logged_models


def _model_answer(store: Store, model: LoggedModel) -> Json:
    return {"model": logged_model_json(model, of_model(store, model))}


MODELS_PER_PAGE = 100
VERSIONS_PER_PAGE = 10_000


def create_model(store: Store, message: m.CreateRegisteredModel) -> Json:
    tags = mapping(message.tags)
    model = _registry(store).create_model(message.model(), message.description or "", tags)
    return {"registered_model": registered_model_json(model)}


def get_model(store: Store, message: m.OfName) -> Json:
    return {"registered_model": registered_model_json(_registry(store).get_model(message.model()))}


def rename_model(store: Store, message: m.RenameRegisteredModel) -> Json:
    new_name = required("new_name", message.new_name)
    return {
        "registered_model": registered_model_json(_registry(store).rename_model(message.model(), new_name))
    }


def update_model(store: Store, message: m.Describe) -> Json:
    model = _registry(store).describe_model(message.model(), message.description or "")
    return {"registered_model": registered_model_json(model)}


def delete_model(store: Store, message: m.OfName) -> Json:
    _registry(store).delete_model(message.model())
    return {}


def search_models(store: Store, message: m.Search) -> Json:
    found, token = _registry(store).search_models(
        message.filter or "",
        message.order_by or (),
        MODELS_PER_PAGE if message.max_results is None else message.max_results,
        message.page_token or "",
    )
    return page({"registered_models": [registered_model_json(model) for model in found]}, token)


def get_latest_versions(store: Store, message: m.GetLatestVersions) -> Json:
    found = _registry(store).latest_versions(message.model(), message.stages or ())
    return {"model_versions": [version_json(version) for version in found]}


def set_model_tag(store: Store, message: m.NameTag) -> Json:
    _registry(store).set_model_tag(message.model(), message.key, message.value)
    return {}


def delete_model_tag(store: Store, message: m.NameTag) -> Json:
    _registry(store).delete_model_tag(message.model(), message.key)
    return {}


def set_alias(store: Store, message: m.OfAlias) -> Json:
    _registry(store).set_alias(message.model(), required("alias", message.alias), message.number())
    return {}


def delete_alias(store: Store, message: m.OfAlias) -> Json:
    _registry(store).delete_alias(message.model(), required("alias", message.alias))
    return {}


def get_alias(store: Store, message: m.OfAlias) -> Json:
    alias = required("alias", message.alias)
    return _registry_answer(_registry(store).version_of_alias(message.model(), alias))


def create_version(store: Store, message: m.CreateVersion) -> Json:
    version = _registry(store).create_version(
        message.model(),
        required("source", message.source),
        run_id=message.run_id or "",
        model_id=message.model_id or "",
        run_link=message.run_link or "",
        description=message.description or "",
        tags=mapping(message.tags),
    )
    return _registry_answer(version)


def get_version(store: Store, message: m.OfVersion) -> Json:
    return _registry_answer(_registry(store).get_version(message.model(), message.number()))


def update_version(store: Store, message: m.DescribeVersion) -> Json:
    description = message.description or ""
    return _registry_answer(_registry(store).describe_version(message.model(), message.number(), description))


def transition_stage(store: Store, message: m.MoveVersion) -> Json:
    version = _registry(store).move_version(
        message.model(),
        message.number(),
        required("stage", message.stage),
        archive_others=bool(message.archive_existing_versions),
    )
    return _registry_answer(version)


def delete_version(store: Store, message: m.OfVersion) -> Json:
    _registry(store).delete_version(message.model(), message.number())
    return {}


def search_versions(store: Store, message: m.Search) -> Json:
    found, token = _registry(store).search_versions(
        message.filter or "",
        message.order_by or (),
        VERSIONS_PER_PAGE if message.max_results is None else message.max_results,
        message.page_token or "",
    )
    return page({"model_versions": [version_json(version) for version in found]}, token)


def set_version_tag(store: Store, message: m.VersionTag) -> Json:
    _registry(store).set_version_tag(message.model(), message.number(), message.key, message.value)
    return {}


def delete_version_tag(store: Store, message: m.VersionTag) -> Json:
    _registry(store).delete_version_tag(message.model(), message.number(), message.key)
    return {}


def get_download_uri(store: Store, message: m.OfVersion) -> Json:
    keeping = keeping_models(store)
    location = keeping.registry.location(message.model(), message.number())
    scheme, _, model_id = location.partition(":/")
    if scheme == "models":
        location = of_model(store, keeping.logged_models.get(model_id))
    return {"artifact_uri": location}


EITHER, REGISTRY_PATCH, REGISTRY_DELETE = ("GET", "POST"), ("PATCH",), ("DELETE",)

REGISTRY_HANDLERS = (
    Handler(POST, "registered-models/create", m.CreateRegisteredModel, create_model),
    Handler(GET, "registered-models/get", m.OfName, get_model),
    Handler(POST, "registered-models/rename", m.RenameRegisteredModel, rename_model),
    Handler(REGISTRY_PATCH, "registered-models/update", m.Describe, update_model),
    Handler(REGISTRY_DELETE, "registered-models/delete", m.OfName, delete_model),
    Handler(GET, "registered-models/search", m.Search, search_models),
    Handler(GET, "registered-models/list", m.Search, search_models),
    Handler(EITHER, "registered-models/get-latest-versions", m.GetLatestVersions, get_latest_versions),
    Handler(POST, "registered-models/set-tag", m.NameTag, set_model_tag),
    Handler(REGISTRY_DELETE, "registered-models/delete-tag", m.NameTag, delete_model_tag),
    Handler(POST, "registered-models/alias", m.OfAlias, set_alias),
    Handler(REGISTRY_DELETE, "registered-models/alias", m.OfAlias, delete_alias),
    Handler(GET, "registered-models/alias", m.OfAlias, get_alias),
    Handler(POST, "model-versions/create", m.CreateVersion, create_version),
    Handler(GET, "model-versions/get", m.OfVersion, get_version),
    Handler(REGISTRY_PATCH, "model-versions/update", m.DescribeVersion, update_version),
    Handler(POST, "model-versions/transition-stage", m.MoveVersion, transition_stage),
    Handler(REGISTRY_DELETE, "model-versions/delete", m.OfVersion, delete_version),
    Handler(GET, "model-versions/search", m.Search, search_versions),
    Handler(POST, "model-versions/set-tag", m.VersionTag, set_version_tag),
    Handler(REGISTRY_DELETE, "model-versions/delete-tag", m.VersionTag, delete_version_tag),
    Handler(GET, "model-versions/get-download-uri", m.OfVersion, get_download_uri),
)


def _registry(store: Store) -> ModelRegistry:
    return keeping_models(store).registry


def _registry_answer(version: ModelVersion) -> Json:
    return {"model_version": version_json(version)}
