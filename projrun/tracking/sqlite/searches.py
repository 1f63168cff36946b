"""Searches for experiments, runs, logged models, registered models and their versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from projrun.tracking.entities import Experiment, Run
from projrun.tracking.filters import (
    Clause,
    Column,
    Order,
    SearchTarget,
    find_column,
    parse_filter,
    parse_order,
)
from projrun.tracking.limits import (
    MAX_DATASETS,
    MAX_MODELS_PER_PAGE,
    MAX_VERSIONS_PER_PAGE,
    check_page_size,
    check_text,
    invalid_parameter,
    quote_short,
)
from projrun.tracking.models import PROMPT_TAG, Dataset, ModelOrder, ModelVersion, RegisteredModel
from projrun.tracking.sqlite import experiment_rows, registered_model_rows, run_rows

MAX_VALUES = 32_000  # SQLite binds 32766 values at most

Bound = list[object]


class Condition(NamedTuple):
    """A text of SQL that is ours, and the values for its question marks."""

    sql: str
    bound: Bound


class SearchPage(NamedTuple):
    """The part of a request that searches for runs, experiments, models and versions have in common."""

    filter_string: str
    order_by: Sequence[str]
    max_results: int
    page_token: str


class SearchStatement:
    """A SELECT that is put together of text that is ours and of bound values."""

    def __init__(self, select: str, subject: SearchTarget) -> None:
        self.select, self.subject = select, subject
        self._conditions: list[str] = []
        self._bound: Bound = []
        self._orders: list[str] = []
        self._order_bound: Bound = []

    def where(self, condition: Condition) -> None:
        self._conditions.append(condition.sql)
        self._bound += condition.bound

    def add_filter(self, text: str, of_metrics: Condition | None = None) -> None:
        """Add conditions in MLflow's search language. of_metrics: a further condition of each metric."""
        for clause in self.parse(text):
            self.add(clause, of_metrics)

    def parse(self, text: str) -> list[Clause]:
        clauses = parse_filter(text, self.subject)
        for clause in clauses:
            values = clause.value if isinstance(clause.value, tuple) else (clause.value,)
            for part in (clause.key, *values):
                check_text("filter's", str(part))
        return clauses

    def add(self, clause: Clause, of_metrics: Condition | None = None) -> None:
        self.where(self._condition(clause, of_metrics))

    def order_by(self, order: Order, value: Condition) -> None:
        """Put missing values last and NaN before them, whichever the direction."""
        rank = f"{value.sql} IS NULL"
        if order.entity == "metric":
            rank = f"ifnull({value.sql.replace('value', 'is_nan', 1)}, 2)"
        self._orders += [rank, f"{value.sql} {'DESC' if order.descending else 'ASC'}"]
        self._order_bound += value.bound * 2

    def search(self, db: sqlite3.Connection, page: SearchPage, *default_orders: str) -> tuple[list[Any], str]:
        """Return the rows of `page` and the token of the next one ('' after the last)."""
        self.add_filter(page.filter_string)
        for text in page.order_by:
            order = parse_order(text, self.subject)
            self.order_by(order, self._value(order))
        return self.fetch(db, page.max_results, page.page_token, *default_orders)

    def fetch(
        self, db: sqlite3.Connection, max_results: int, page_token: str, *default_orders: str
    ) -> tuple[list[Any], str]:
        offset = _offset(page_token)
        where = " AND ".join(self._conditions) or "1"
        orders = ", ".join([*self._orders, *default_orders])
        parts = [self.select, "WHERE", where, "ORDER BY", orders, "LIMIT ? OFFSET ?"]
        bound = [*self._bound, *self._order_bound, max_results + 1, offset]
        if len(bound) > MAX_VALUES:
            raise invalid_parameter(f"the search compares with more than {MAX_VALUES} values")
        rows = db.execute(" ".join(parts), bound).fetchall()
        token = f"o{offset + max_results}" if len(rows) > max_results else ""
        return rows[:max_results], token

    def _condition(self, clause: Clause, of_metrics: Condition | None) -> Condition:
        if clause.entity == "attribute":
            column = find_column(clause.key, self.subject)
            assert column is not None, clause
            return compare_column(column.sql, clause.comparator, clause.value)
        if clause.entity == "dataset":
            context = "json_extract(tags, '$.\"mlflow.data.context\"')"
            column_sql = context if clause.key == "context" else clause.key
            return self.exists("dataset", compare_column(column_sql, clause.comparator, clause.value))
        if clause.comparator in ("IS NULL", "IS NOT NULL"):
            exists = self.exists(clause.entity, Condition("key = ?", [clause.key]))
            return exists._replace(sql=f"NOT {exists.sql}") if clause.comparator == "IS NULL" else exists
        condition = compare_column("value", clause.comparator, clause.value)
        if clause.entity == "metric":
            condition = _metric_condition(clause, condition, of_metrics)
        keyed = Condition(f"key = ? AND {condition.sql}", [clause.key, *condition.bound])
        return self.exists(clause.entity, keyed)

    def exists(self, entity: str, condition: Condition) -> Condition:
        table, link, owner = self.subject.tables[entity], self.subject.link, self.subject.owner
        parts = ["EXISTS (SELECT 1 FROM", table, "WHERE", link, "=", owner, "AND", condition.sql]
        return Condition(" ".join(parts) + ")", condition.bound)

    def _value(self, order: Order) -> Condition:
        if order.entity == "attribute":
            column = find_column(order.key, self.subject)
            assert column is not None, order
            return Condition(column.sql, [])
        table, link, owner = self.subject.tables[order.entity], self.subject.link, self.subject.owner
        check_text("name", order.key)
        parts = ["(SELECT value FROM", table, "WHERE", link, "=", owner, "AND key = ?)"]
        return Condition(" ".join(parts), [order.key])


def _metric_condition(clause: Clause, value: Condition, of_metrics: Condition | None) -> Condition:
    # NaN, stored as 0, is unequal to every number and neither above nor below.
    sql = f"(is_nan OR {value.sql})" if clause.comparator == "!=" else f"(NOT is_nan AND {value.sql})"
    if of_metrics is None:
        return Condition(sql, value.bound)
    return Condition(f"{sql} AND {of_metrics.sql}", [*value.bound, *of_metrics.bound])


def compare_column(column: str, comparator: str, value: object) -> Condition:
    if isinstance(value, (tuple, list)):
        return Condition(f"{column} {comparator} ({', '.join('?' * len(value))})", list(value))
    if comparator == "LIKE":
        return Condition(f"{column} GLOB ?", [_glob(str(value))])
    if comparator == "ILIKE":
        return Condition(f"{column} LIKE ?", [value])
    return Condition(f"{column} {comparator} ?", [value])


def _glob(pattern: str) -> str:
    # SQLite's LIKE does not tell upper case from lower; its GLOB does.
    special = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
    return "".join(special.get(char, char) for char in pattern)


def _offset(page_token: str) -> int:
    digits = page_token[1:]
    if page_token and not (
        page_token[0] == "o" and digits.isascii() and digits.isdigit() and len(digits) < 18
    ):
        raise invalid_parameter(f"{quote_short(page_token)} is not a page token that this store gave")
    return int(digits or 0)


RUNS = SearchTarget(
    attributes={
        "run_id": Column("r.run_id", False),
        "run_name": Column("r.name", False),
        "run name": Column("r.name", False),
        "user_id": Column("r.user_id", False),
        "status": Column("r.status", False),
        "start_time": Column("r.start_time", True),
        "created": Column("r.start_time", True),
        "end_time": Column("r.end_time", True),
    },
    tables={"metric": "latest_metrics", "parameter": "params", "tag": "tags", "dataset": "datasets"},
    link="run",
    owner="r.id",
)
EXPERIMENTS = SearchTarget(
    attributes={
        "name": Column("e.name", False),
        "experiment_id": Column("CAST(e.experiment_id AS TEXT)", False),
        "creation_time": Column("e.creation_time", True),
        "last_update_time": Column("e.last_update_time", True),
    },
    tables={"tag": "experiment_tags"},
    link="experiment_id",
    owner="e.experiment_id",
)

_STAGES = {"ACTIVE_ONLY": ("active",), "DELETED_ONLY": ("deleted",), "ALL": ("active", "deleted")}


def search_runs(
    db: sqlite3.Connection, experiment_ids: Sequence[str], page: SearchPage, view_type: str, root_uri: str
) -> tuple[list[Run], str]:
    check_page_size(page.max_results)
    statement = SearchStatement(run_rows.SELECT, RUNS)
    statement.where(compare_column("r.lifecycle_stage", "IN", _stages(view_type)))
    if experiment_ids:
        statement.where(compare_column("r.experiment_id", "IN", experiment_rows.parse_ids(experiment_ids)))
    rows, token = statement.search(db, page, "r.start_time DESC", "r.run_id")
    return run_rows.load(db, rows, root_uri), token


def search_experiments(
    db: sqlite3.Connection, page: SearchPage, view_type: str, root_uri: str
) -> tuple[list[Experiment], str]:
    check_page_size(page.max_results)
    statement = SearchStatement(experiment_rows.SELECT, EXPERIMENTS)
    statement.where(compare_column("e.lifecycle_stage", "IN", _stages(view_type)))
    rows, token = statement.search(db, page, "e.last_update_time DESC", "e.experiment_id DESC")
    return experiment_rows.load(db, rows, root_uri), token


def _stages(view_type: str) -> tuple[str, ...]:
    if view_type not in _STAGES:
        raise invalid_parameter(
            f"{quote_short(view_type)} is not a view type", f"use one of {', '.join(_STAGES)}"
        )
    return _STAGES[view_type]


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
