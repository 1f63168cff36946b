"""The model registry: what each request does and answers."""

from __future__ import annotations

from projrun.server import modelmessages as m
from projrun.server.addresses import keeping_models, of_model
from projrun.server.handlers import GET, POST, Handler, page
from projrun.server.messages import mapping, required
from projrun.tracking import Store
from projrun.tracking.modelentities import ModelVersion
from projrun.tracking.modelstores import ModelRegistry
from projrun.tracking.modelwire import registered_model_json, version_json
from projrun.tracking.wire import Json

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
    return _answer(_registry(store).version_of_alias(message.model(), alias))


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
    return _answer(version)


def get_version(store: Store, message: m.OfVersion) -> Json:
    return _answer(_registry(store).get_version(message.model(), message.number()))


def update_version(store: Store, message: m.DescribeVersion) -> Json:
    description = message.description or ""
    return _answer(_registry(store).describe_version(message.model(), message.number(), description))


def transition_stage(store: Store, message: m.MoveVersion) -> Json:
    version = _registry(store).move_version(
        message.model(),
        message.number(),
        required("stage", message.stage),
        archive_others=bool(message.archive_existing_versions),
    )
    return _answer(version)


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


EITHER, PATCH, DELETE = ("GET", "POST"), ("PATCH",), ("DELETE",)

HANDLERS = (
    Handler(POST, "registered-models/create", m.CreateRegisteredModel, create_model),
    Handler(GET, "registered-models/get", m.OfName, get_model),
    Handler(POST, "registered-models/rename", m.RenameRegisteredModel, rename_model),
    Handler(PATCH, "registered-models/update", m.Describe, update_model),
    Handler(DELETE, "registered-models/delete", m.OfName, delete_model),
    Handler(GET, "registered-models/search", m.Search, search_models),
    Handler(GET, "registered-models/list", m.Search, search_models),
    Handler(EITHER, "registered-models/get-latest-versions", m.GetLatestVersions, get_latest_versions),
    Handler(POST, "registered-models/set-tag", m.NameTag, set_model_tag),
    Handler(DELETE, "registered-models/delete-tag", m.NameTag, delete_model_tag),
    Handler(POST, "registered-models/alias", m.OfAlias, set_alias),
    Handler(DELETE, "registered-models/alias", m.OfAlias, delete_alias),
    Handler(GET, "registered-models/alias", m.OfAlias, get_alias),
    Handler(POST, "model-versions/create", m.CreateVersion, create_version),
    Handler(GET, "model-versions/get", m.OfVersion, get_version),
    Handler(PATCH, "model-versions/update", m.DescribeVersion, update_version),
    Handler(POST, "model-versions/transition-stage", m.MoveVersion, transition_stage),
    Handler(DELETE, "model-versions/delete", m.OfVersion, delete_version),
    Handler(GET, "model-versions/search", m.Search, search_versions),
    Handler(POST, "model-versions/set-tag", m.VersionTag, set_version_tag),
    Handler(DELETE, "model-versions/delete-tag", m.VersionTag, delete_version_tag),
    Handler(GET, "model-versions/get-download-uri", m.OfVersion, get_download_uri),
)


def _registry(store: Store) -> ModelRegistry:
    return keeping_models(store).registry


def _answer(version: ModelVersion) -> Json:
    return {"model_version": version_json(version)}
