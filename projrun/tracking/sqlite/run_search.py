"""Searches for runs and experiments."""

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
from projrun.tracking.limits import check_page_size, check_text, invalid_parameter, quote_short
from projrun.tracking.sqlite import experiment_rows, run_rows

MAX_VALUES = 32_000
"""Of one search. SQLite binds 32766 at most."""

Bound = list[object]


class Condition(NamedTuple):
    """SQL that is ours, and the values for its question marks."""

    sql: str
    bound: Bound


class SearchStatement:
    """`conditions` and `orders` hold only text that is ours."""

    def __init__(self, select: str, subject: SearchTarget) -> None:
        self.select, self.subject = select, subject
        self.conditions: list[str] = []
        self.bound: Bound = []
        self.orders: list[str] = []
        self.order_bound: Bound = []

    def where(self, condition: Condition) -> None:
        self.conditions.append(condition.sql)
        self.bound += condition.bound

    def filter(self, text: str, of_metrics: Condition | None = None) -> None:
        """`text` as MLflow's search language. of_metrics: what a metric must fulfil besides."""
        for clause in self.parsed(text):
            self.add(clause, of_metrics)

    def parsed(self, text: str) -> list[Clause]:
        return _checked(parse_filter(text, self.subject))

    def add(self, clause: Clause, of_metrics: Condition | None = None) -> None:
        self.where(self._condition(clause, of_metrics))

    def order(self, text: str) -> None:
        order = parse_order(text, self.subject)
        self.order_by(order, self._value(order))

    def order_by(self, order: Order, value: Condition) -> None:
        """Missing values last, NaN before them, whichever the direction."""
        rank = f"{value.sql} IS NULL"
        if order.entity == "metric":
            rank = f"ifnull({value.sql.replace('value', 'is_nan', 1)}, 2)"
        self.orders += [rank, f"{value.sql} {'DESC' if order.descending else 'ASC'}"]
        self.order_bound += value.bound * 2

    def page(self, db: sqlite3.Connection, max_results: int, page_token: str) -> tuple[list[Any], str]:
        offset = _offset(page_token)
        where = " AND ".join(self.conditions) or "1"
        parts = [self.select, "WHERE", where, "ORDER BY", ", ".join(self.orders)]
        bound = [*self.bound, *self.order_bound, max_results + 1, offset]
        if len(bound) > MAX_VALUES:
            raise invalid_parameter(f"the search compares with more than {MAX_VALUES} values")
        rows = db.execute(" ".join([*parts, "LIMIT ? OFFSET ?"]), bound).fetchall()
        token = _token(offset + max_results) if len(rows) > max_results else ""
        return rows[:max_results], token

    def _condition(self, clause: Clause, of_metrics: Condition | None) -> Condition:
        if clause.entity == "attribute":
            column = find_column(clause.key, self.subject)
            assert column is not None, clause
            return compare_column(column.sql, clause.comparator, clause.value)
        if clause.entity == "dataset":
            return self._dataset_condition(clause)
        if clause.comparator in ("IS NULL", "IS NOT NULL"):
            found = self._exists(clause.entity, clause.key, Condition("1", []))
            return Condition(f"NOT {found.sql}", found.bound) if clause.comparator == "IS NULL" else found
        wanted = compare_column("value", clause.comparator, clause.value)
        if clause.entity == "metric":
            wanted = _metric_condition(clause, wanted, of_metrics)
        return self._exists(clause.entity, clause.key, wanted)

    def _exists(self, entity: str, key: str, wanted: Condition) -> Condition:
        table, link, owner = self.subject.tables[entity], self.subject.link, self.subject.owner
        parts = ["EXISTS (SELECT 1 FROM", table, "WHERE", link, "=", owner, "AND key = ? AND", wanted.sql]
        return Condition(" ".join(parts) + ")", [key, *wanted.bound])

    def _dataset_condition(self, clause: Clause) -> Condition:
        column = "json_extract(tags, '$.\"mlflow.data.context\"')" if clause.key == "context" else clause.key
        wanted = compare_column(column, clause.comparator, clause.value)
        table, link, owner = self.subject.tables["dataset"], self.subject.link, self.subject.owner
        parts = ["EXISTS (SELECT 1 FROM", table, "WHERE", link, "=", owner, "AND", wanted.sql]
        return Condition(" ".join(parts) + ")", wanted.bound)

    def _value(self, order: Order) -> Condition:
        if order.entity == "attribute":
            column = find_column(order.key, self.subject)
            assert column is not None, order
            return Condition(column.sql, [])
        table, link, owner = self.subject.tables[order.entity], self.subject.link, self.subject.owner
        check_text("name", order.key)
        parts = ["(SELECT value FROM", table, "WHERE", link, "=", owner, "AND key = ?)"]
        return Condition(" ".join(parts), [order.key])


def _metric_condition(clause: Clause, wanted: Condition, of_metrics: Condition | None) -> Condition:
    # NaN, stored as 0, is unequal to every number and neither above nor below.
    sql = f"(is_nan OR {wanted.sql})" if clause.comparator == "!=" else f"(NOT is_nan AND {wanted.sql})"
    if of_metrics is None:
        return Condition(sql, wanted.bound)
    return Condition(f"{sql} AND {of_metrics.sql}", [*wanted.bound, *of_metrics.bound])


def compare_column(column: str, comparator: str, value: object) -> Condition:
    if isinstance(value, (tuple, list)):
        return Condition(f"{column} {comparator} ({', '.join('?' * len(value))})", list(value))
    if comparator == "LIKE":
        return Condition(f"{column} GLOB ?", [_glob(str(value))])
    if comparator == "ILIKE":
        return Condition(f"{column} LIKE ?", [value])
    return Condition(f"{column} {comparator} ?", [value])


def _checked(clauses: list[Clause]) -> list[Clause]:
    for clause in clauses:
        for text in (clause.key, *(clause.value if isinstance(clause.value, tuple) else (clause.value,))):
            check_text("filter's", str(text))
    return clauses


def _glob(pattern: str) -> str:
    """A LIKE pattern as a GLOB pattern: SQLite's LIKE does not tell upper case from lower."""
    special = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
    return "".join(special.get(char, char) for char in pattern)


def _token(offset: int) -> str:
    return f"o{offset}"


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
    db: sqlite3.Connection,
    experiment_ids: Sequence[str],
    filter_string: str,
    order_by: Sequence[str],
    max_results: int,
    page_token: str,
    view_type: str,
    root_uri: str,
) -> tuple[list[Run], str]:
    check_page_size(max_results)
    statement = SearchStatement(run_rows.SELECT, RUNS)
    statement.where(compare_column("r.lifecycle_stage", "IN", _stages(view_type)))
    if experiment_ids:
        statement.where(compare_column("r.experiment_id", "IN", experiment_rows.parse_ids(experiment_ids)))
    statement.filter(filter_string)
    for text in order_by:
        statement.order(text)
    statement.orders += ["r.start_time DESC", "r.run_id"]
    rows, token = statement.page(db, max_results, page_token)
    return run_rows.load(db, rows, root_uri), token


def search_experiments(
    db: sqlite3.Connection,
    filter_string: str,
    order_by: Sequence[str],
    max_results: int,
    page_token: str,
    view_type: str,
    root_uri: str,
) -> tuple[list[Experiment], str]:
    check_page_size(max_results)
    statement = SearchStatement(experiment_rows.SELECT, EXPERIMENTS)
    statement.where(compare_column("e.lifecycle_stage", "IN", _stages(view_type)))
    statement.filter(filter_string)
    for text in order_by:
        statement.order(text)
    statement.orders += ["e.last_update_time DESC", "e.experiment_id DESC"]
    rows, token = statement.page(db, max_results, page_token)
    return experiment_rows.load(db, rows, root_uri), token


def _stages(view_type: str) -> tuple[str, ...]:
    if view_type not in _STAGES:
        raise invalid_parameter(
            f"{quote_short(view_type)} is not a view type", f"use one of {', '.join(_STAGES)}"
        )
    return _STAGES[view_type]
