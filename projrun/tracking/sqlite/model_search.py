"""Searches for logged models, registered models and their versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from projrun.tracking.filters import Column, Order, SearchTarget, find_column
from projrun.tracking.limits import check_page_size, check_text, invalid_parameter, quote_short
from projrun.tracking.model_limits import MAX_DATASETS, MAX_MODELS_PER_PAGE, MAX_VERSIONS_PER_PAGE
from projrun.tracking.models import PROMPT_TAG, Dataset, ModelOrder, ModelVersion, RegisteredModel
from projrun.tracking.sqlite import experiment_rows, registered_model_rows
from projrun.tracking.sqlite.run_search import Condition, SearchPage, SearchStatement, compare_column

LOGGED_MODELS = SearchTarget(
    attributes={
        "name": Column("m.name", False),
        "model_id": Column("m.model_id", False),
        "model_type": Column("m.model_type", False),
        "status": Column("m.status", False),
        "source_run_id": Column("m.source_run_id", False),
        **dict.fromkeys(
            ("creation_timestamp", "creation_time", "creation_timestamp_ms"), Column("m.creation_time", True)
        ),
        **dict.fromkeys(
            ("last_updated_timestamp", "last_updated_time", "last_updated_timestamp_ms"),
            Column("m.last_updated_time", True),
        ),
    },
    tables={"metric": "logged_model_metrics", "parameter": "logged_model_params", "tag": "logged_model_tags"},
    link="model",
    owner="m.id",
)
_TIMES = ("last_updated_timestamp", "last_updated_time", "timestamp")
REGISTERED_MODELS = SearchTarget(
    attributes={
        "name": Column("m.name", False),
        "creation_timestamp": Column("m.creation_time", True),
        **dict.fromkeys(_TIMES, Column("m.last_updated_time", True)),
    },
    tables={"tag": "registered_model_tags"},
    link="model",
    owner="m.id",
)
VERSIONS = SearchTarget(
    attributes={
        "name": Column("m.name", False),
        "version_number": Column("v.version", True),
        "run_id": Column("v.run_id", False),
        "source_path": Column("v.source", False),
        "creation_timestamp": Column("v.creation_time", True),
        **dict.fromkeys(_TIMES, Column("v.last_updated_time", True)),
    },
    tables={"tag": "model_version_tags"},
    link="version_id",
    owner="v.id",
)


def search_logged_models(
    db: sqlite3.Connection,
    select: str,
    experiment_ids: Sequence[str],
    filter_string: str,
    datasets: Sequence[Dataset],
    order_by: Sequence[ModelOrder],
    max_results: int,
    page_token: str,
) -> tuple[list[Any], str]:
    """Return the rows of `select`, in which `m` is the table of models, and the token of the next page."""
    check_page_size(max_results)
    statement = SearchStatement(select, LOGGED_MODELS)
    statement.where(Condition("m.lifecycle_stage = 'active'", []))
    statement.where(compare_column("m.experiment_id", "IN", experiment_rows.parse_ids(experiment_ids)))
    measured = _measured_on(datasets) if datasets else None
    if measured is not None:
        statement.where(statement.exists("metric", measured))
    statement.add_filter(filter_string, measured)
    for order in order_by:
        statement.order_by(*_order(order))
    return statement.fetch(db, max_results, page_token, "m.creation_time DESC", "m.id DESC")


def search_registered_models(db: sqlite3.Connection, page: SearchPage) -> tuple[list[RegisteredModel], str]:
    check_page_size(page.max_results, MAX_MODELS_PER_PAGE)
    statement = _RegistryStatement(registered_model_rows.SELECT_MODEL, REGISTERED_MODELS)
    rows, token = statement.search(db, page, "m.name")
    return registered_model_rows.load_models(db, rows), token


def search_versions(db: sqlite3.Connection, page: SearchPage) -> tuple[list[ModelVersion], str]:
    check_page_size(page.max_results, MAX_VERSIONS_PER_PAGE)
    statement = _RegistryStatement(registered_model_rows.SELECT_VERSION, VERSIONS)
    newest = () if page.order_by else ("v.last_updated_time DESC",)
    rows, token = statement.search(db, page, *newest, "m.name", "v.version DESC")
    return registered_model_rows.load_versions(db, rows), token


class _RegistryStatement(SearchStatement):
    """Prompts are kept as registered models; they are found only when they are asked for."""

    def add_filter(self, text: str, of_metrics: Condition | None = None) -> None:
        wants_prompts = False
        for clause in self.parse(text):
            if (clause.entity, clause.key) == ("tag", PROMPT_TAG):
                wants_prompts = (clause.comparator == "=") == (str(clause.value).lower() == "true")
            else:
                self.add(clause)
        tag = self.exists("tag", Condition("key = ? AND value = 'true'", [PROMPT_TAG]))
        self.where(tag if wants_prompts else tag._replace(sql=f"NOT {tag.sql}"))


def _measured_on(datasets: Sequence[Dataset]) -> Condition:
    if len(datasets) > MAX_DATASETS:
        raise invalid_parameter(f"{len(datasets)} data sets exceed the limit of {MAX_DATASETS}")
    conditions = [_measured_on_one(dataset) for dataset in datasets]
    sql = " OR ".join(f"({condition.sql})" for condition in conditions)
    return Condition(f"({sql})", [value for condition in conditions for value in condition.bound])


def _measured_on_one(dataset: Dataset) -> Condition:
    if not dataset.name:
        raise invalid_parameter("a data set has no name")
    check_text("data set", dataset.name + dataset.digest)
    if not dataset.digest:
        return Condition("dataset_name = ?", [dataset.name])
    return Condition("dataset_name = ? AND dataset_digest = ?", [dataset.name, dataset.digest])


def _order(order: ModelOrder) -> tuple[Order, Condition]:
    entity, _, key = order.field.partition(".")
    check_text("order_by", order.field)
    if entity in ("metrics", "metric") and key:
        on = _measured_on_one(order.dataset) if order.dataset else Condition("1", [])
        parts = ["(SELECT value FROM logged_model_metrics WHERE model = m.id AND key = ? AND", on.sql]
        value = " ".join([*parts, "ORDER BY timestamp DESC, step DESC, run_id LIMIT 1)"])
        name = key.strip("`")
        return Order("metric", name, not order.ascending), Condition(value, [name, *on.bound])
    column = find_column(order.field, LOGGED_MODELS)
    if column is None:
        known = ", ".join(LOGGED_MODELS.attributes)
        raise invalid_parameter(f"order_by {quote_short(order.field)}: expected metrics.… or one of {known}")
    return Order("attribute", order.field, not order.ascending), Condition(column.sql, [])
