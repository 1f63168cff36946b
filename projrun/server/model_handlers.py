"""Logged models (MLflow 3) and the model registry: one function for each request."""

from __future__ import annotations

from projrun.server import messages as m
from projrun.server.artifact_files import model_uri, require_models
from projrun.server.handlers import DELETE, GET, GET_POST, PATCH, POST, Handler, page
from projrun.tracking import Store
from projrun.tracking.limits import invalid_parameter
from projrun.tracking.models import LoggedModel, LoggedModels, ModelRegistry, ModelVersion
from projrun.tracking.wire import Json, file_json, logged_model_json, registered_model_json, version_json


def create(store: Store, message: m.CreateLoggedModel) -> Json:
    model = _models(store).create(
        message.experiment(),
        name=message.name or "",
        model_type=message.model_type or "",
        source_run_id=message.source_run_id or "",
        params=m.unique_params(message.params),
        tags=m.items_to_dict(message.tags),
    )
    return _model_answer(store, model)


def get(store: Store, message: m.GetLoggedModel) -> Json:
    model = _models(store).get(message.model(), allow_deleted=bool(message.allow_deleted))
    return _model_answer(store, model)


def finalize(store: Store, message: m.FinalizeLoggedModel) -> Json:
    return _model_answer(store, _models(store).finalize(message.model(), message.state()))


def delete(store: Store, message: m.ModelMessage) -> None:
    _models(store).delete(message.model())


def set_tags(store: Store, message: m.ModelTags) -> Json:
    return _model_answer(store, _models(store).set_tags(message.model(), m.items_to_dict(message.tags)))


def delete_tag(store: Store, message: m.ModelTag) -> None:
    _models(store).delete_tag(message.model(), message.tag_key or "")


def log_params(store: Store, message: m.ModelParams) -> None:
    _models(store).log_params(message.model(), m.unique_params(message.params))


def search(store: Store, message: m.SearchLoggedModels) -> Json:
    if not message.experiment_ids:
        raise invalid_parameter("Missing value for required parameter 'experiment_ids'")
    models, token = _models(store).search(
        message.experiment_ids,
        message.filter or "",
        [item.dataset() for item in message.datasets or ()],
        [item.order() for item in message.order_by or ()],
        message.max_results or 50,
        message.page_token or "",
    )
    return page({"models": [logged_model_json(model, model_uri(store, model)) for model in models]}, token)


def list_artifacts(store: Store, message: m.ListModelArtifacts) -> Json:
    models = _models(store)
    model = models.get(message.model())
    files = models.artifacts(model.model_id).list_entries(
        (message.artifact_directory_path or "").removesuffix("/")
    )
    return {"root_uri": model_uri(store, model), "files": [file_json(info) for info in files]}


def log_outputs(store: Store, message: m.LogOutputs) -> None:
    steps = {item.model_id: item.step or 0 for item in message.models or ()}
    _models(store).log_outputs(message.run(), steps)


MODEL_HANDLERS = (
    Handler(POST, "logged-models", m.CreateLoggedModel, create),
    Handler(POST, "logged-models/search", m.SearchLoggedModels, search),
    Handler(GET, "logged-models/{model_id}", m.GetLoggedModel, get),
    Handler(PATCH, "logged-models/{model_id}", m.FinalizeLoggedModel, finalize),
    Handler(DELETE, "logged-models/{model_id}", m.ModelMessage, delete),
    Handler(PATCH, "logged-models/{model_id}/tags", m.ModelTags, set_tags),
    Handler(DELETE, "logged-models/{model_id}/tags/{tag_key:path}", m.ModelTag, delete_tag),
    Handler(POST, "logged-models/{model_id}/params", m.ModelParams, log_params),
    Handler(GET, "logged-models/{model_id}/artifacts/directories", m.ListModelArtifacts, list_artifacts),
    Handler(POST, "runs/outputs", m.LogOutputs, log_outputs),
)


def _models(store: Store) -> LoggedModels:
    return require_models(store).logged


def _model_answer(store: Store, model: LoggedModel) -> Json:
    return {"model": logged_model_json(model, model_uri(store, model))}


# MLflow's own default sizes of pages
MODELS_PER_PAGE = 100
VERSIONS_PER_PAGE = 10_000


def create_model(store: Store, message: m.CreateRegisteredModel) -> Json:
    tags = m.items_to_dict(message.tags)
    model = _registry(store).create_model(message.model(), message.description or "", tags)
    return {"registered_model": registered_model_json(model)}


def get_model(store: Store, message: m.NameMessage) -> Json:
    return {"registered_model": registered_model_json(_registry(store).get_model(message.model()))}


def rename_model(store: Store, message: m.RenameRegisteredModel) -> Json:
    new_name = m.require("new_name", message.new_name)
    return {
        "registered_model": registered_model_json(_registry(store).rename_model(message.model(), new_name))
    }


def update_model(store: Store, message: m.DescribeModel) -> Json:
    model = _registry(store).describe_model(message.model(), message.description or "")
    return {"registered_model": registered_model_json(model)}


def delete_model(store: Store, message: m.NameMessage) -> None:
    _registry(store).delete_model(message.model())


def search_models(store: Store, message: m.SearchMessage) -> Json:
    models, token = _registry(store).search_models(*message.page(MODELS_PER_PAGE))
    return page({"registered_models": [registered_model_json(model) for model in models]}, token)


def get_latest_versions(store: Store, message: m.GetLatestVersions) -> Json:
    versions = _registry(store).latest_versions(message.model(), message.stages or ())
    return {"model_versions": [version_json(version) for version in versions]}


def set_model_tag(store: Store, message: m.NameTag) -> None:
    _registry(store).set_model_tag(message.model(), message.key, message.value)


def delete_model_tag(store: Store, message: m.NameTag) -> None:
    _registry(store).delete_model_tag(message.model(), message.key)


def set_alias(store: Store, message: m.AliasMessage) -> None:
    _registry(store).set_alias(message.model(), m.require("alias", message.alias), message.number())


def delete_alias(store: Store, message: m.AliasMessage) -> None:
    _registry(store).delete_alias(message.model(), m.require("alias", message.alias))


def get_alias(store: Store, message: m.AliasMessage) -> Json:
    alias = m.require("alias", message.alias)
    return _registry_answer(_registry(store).version_of_alias(message.model(), alias))


def create_version(store: Store, message: m.CreateVersion) -> Json:
    version = _registry(store).create_version(
        message.model(),
        m.require("source", message.source),
        run_id=message.run_id or "",
        model_id=message.model_id or "",
        run_link=message.run_link or "",
        description=message.description or "",
        tags=m.items_to_dict(message.tags),
    )
    return _registry_answer(version)


def get_version(store: Store, message: m.VersionMessage) -> Json:
    return _registry_answer(_registry(store).get_version(message.model(), message.number()))


def update_version(store: Store, message: m.DescribeVersion) -> Json:
    description = message.description or ""
    return _registry_answer(_registry(store).describe_version(message.model(), message.number(), description))


def transition_stage(store: Store, message: m.MoveVersion) -> Json:
    version = _registry(store).move_version(
        message.model(),
        message.number(),
        m.require("stage", message.stage),
        archive_others=bool(message.archive_existing_versions),
    )
    return _registry_answer(version)


def delete_version(store: Store, message: m.VersionMessage) -> None:
    _registry(store).delete_version(message.model(), message.number())


def search_versions(store: Store, message: m.SearchMessage) -> Json:
    versions, token = _registry(store).search_versions(*message.page(VERSIONS_PER_PAGE))
    return page({"model_versions": [version_json(version) for version in versions]}, token)


def set_version_tag(store: Store, message: m.VersionTag) -> None:
    _registry(store).set_version_tag(message.model(), message.number(), message.key, message.value)


def delete_version_tag(store: Store, message: m.VersionTag) -> None:
    _registry(store).delete_version_tag(message.model(), message.number(), message.key)


def get_download_uri(store: Store, message: m.VersionMessage) -> Json:
    models = require_models(store)
    location = models.registry.location(message.model(), message.number())
    scheme, _, model_id = location.partition(":/")
    if scheme == "models":  # a version made of a logged model (MLflow 3), whose files stay where they are
        location = model_uri(store, models.logged.get(model_id))
    return {"artifact_uri": location}


REGISTRY_HANDLERS = (
    Handler(POST, "registered-models/create", m.CreateRegisteredModel, create_model),
    Handler(GET, "registered-models/get", m.NameMessage, get_model),
    Handler(POST, "registered-models/rename", m.RenameRegisteredModel, rename_model),
    Handler(PATCH, "registered-models/update", m.DescribeModel, update_model),
    Handler(DELETE, "registered-models/delete", m.NameMessage, delete_model),
    Handler(GET, "registered-models/search", m.SearchMessage, search_models),
    Handler(GET, "registered-models/list", m.SearchMessage, search_models),
    Handler(GET_POST, "registered-models/get-latest-versions", m.GetLatestVersions, get_latest_versions),
    Handler(POST, "registered-models/set-tag", m.NameTag, set_model_tag),
    Handler(DELETE, "registered-models/delete-tag", m.NameTag, delete_model_tag),
    Handler(POST, "registered-models/alias", m.AliasMessage, set_alias),
    Handler(DELETE, "registered-models/alias", m.AliasMessage, delete_alias),
    Handler(GET, "registered-models/alias", m.AliasMessage, get_alias),
    Handler(POST, "model-versions/create", m.CreateVersion, create_version),
    Handler(GET, "model-versions/get", m.VersionMessage, get_version),
    Handler(PATCH, "model-versions/update", m.DescribeVersion, update_version),
    Handler(POST, "model-versions/transition-stage", m.MoveVersion, transition_stage),
    Handler(DELETE, "model-versions/delete", m.VersionMessage, delete_version),
    Handler(GET, "model-versions/search", m.SearchMessage, search_versions),
    Handler(POST, "model-versions/set-tag", m.VersionTag, set_version_tag),
    Handler(DELETE, "model-versions/delete-tag", m.VersionTag, delete_version_tag),
    Handler(GET, "model-versions/get-download-uri", m.VersionMessage, get_download_uri),
)


def _registry(store: Store) -> ModelRegistry:
    return require_models(store).registry


def _registry_answer(version: ModelVersion) -> Json:
    return {"model_version": version_json(version)}
