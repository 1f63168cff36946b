"""Searches as SQL. What the user wrote is bound as a parameter, never part of the statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from projrun.tracking import experiments, runs
from projrun.tracking.entities import Experiment, Run
from projrun.tracking.filters import (
    EXPERIMENT_ATTRIBUTES,
    RUN_ATTRIBUTES,
    Clause,
    Column,
    Order,
    attribute,
    parse_filter,
    parse_order,
)
from projrun.tracking.limits import check_page, check_text, invalid, shown

Bound = list[object]

_STAGES = {"ACTIVE_ONLY": ("active",), "DELETED_ONLY": ("deleted",), "ALL": ("active", "deleted")}
_TABLES = {"metric": "latest_metrics", "parameter": "params", "tag": "tags"}


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
    check_page(max_results)
    statement = _Statement(runs.SELECT)
    statement.where("r.lifecycle_stage", "IN", _stages(view_type))
    if experiment_ids:
        statement.where("r.experiment_id", "IN", experiments.numbers(experiment_ids))
    for clause in _checked(parse_filter(filter_string, RUN_ATTRIBUTES)):
        statement.add_clause(clause, RUN_ATTRIBUTES, "r.id")
    for text in order_by:
        statement.add_order(parse_order(text, RUN_ATTRIBUTES), RUN_ATTRIBUTES)
    statement.orders += ["r.start_time DESC", "r.run_id"]
    rows, token = statement.page(db, max_results, page_token)
    return runs.loaded(db, rows, root_uri), token


def search_experiments(
    db: sqlite3.Connection,
    filter_string: str,
    order_by: Sequence[str],
    max_results: int,
    page_token: str,
    view_type: str,
    root_uri: str,
) -> tuple[list[Experiment], str]:
    check_page(max_results)
    statement = _Statement(experiments.SELECT)
    statement.where("e.lifecycle_stage", "IN", _stages(view_type))
    for clause in _checked(parse_filter(filter_string, EXPERIMENT_ATTRIBUTES)):
        statement.add_clause(clause, EXPERIMENT_ATTRIBUTES, "e.experiment_id")
    for text in order_by:
        statement.add_order(parse_order(text, EXPERIMENT_ATTRIBUTES), EXPERIMENT_ATTRIBUTES)
    statement.orders += ["e.last_update_time DESC", "e.experiment_id DESC"]
    rows, token = statement.page(db, max_results, page_token)
    return experiments.loaded(db, rows, root_uri), token


class _Statement:
    """A SELECT that grows; `conditions` and `orders` hold only text that is ours."""

    def __init__(self, select: str) -> None:
        self.select = select
        self.conditions: list[str] = []
        self.bound: Bound = []
        self.orders: list[str] = []
        self.order_bound: Bound = []

    def where(self, column: str, comparator: str, value: object) -> None:
        text, bound = _comparison(column, comparator, value)
        self.conditions.append(text)
        self.bound += bound

    def add_clause(self, clause: Clause, attributes: Mapping[str, Column], owner: str) -> None:
        if clause.entity == "attribute":
            column = attribute(clause.key, attributes)
            assert column is not None, clause
            self.where(column.sql, clause.comparator, clause.value)
            return
        text, bound = _exists(clause, owner)
        self.conditions.append(text)
        self.bound += bound

    def add_order(self, order: Order, attributes: Mapping[str, Column]) -> None:
        """Missing values last, NaN before them, whichever the direction."""
        value, bound = _order_value(order, attributes)
        rank = f"{value} IS NULL"
        if order.entity == "metric":
            rank = f"ifnull({value.replace('value', 'is_nan', 1)}, 2)"
        self.orders += [rank, f"{value} {'DESC' if order.descending else 'ASC'}"]
        self.order_bound += bound * 2

    def page(self, db: sqlite3.Connection, max_results: int, page_token: str) -> tuple[list[Any], str]:
        offset = _offset(page_token)
        parts = [self.select, "WHERE", " AND ".join(self.conditions), "ORDER BY", ", ".join(self.orders)]
        bound = [*self.bound, *self.order_bound, max_results + 1, offset]
        rows = db.execute(" ".join([*parts, "LIMIT ? OFFSET ?"]), bound).fetchall()
        token = _token(offset + max_results) if len(rows) > max_results else ""
        return rows[:max_results], token


def _order_value(order: Order, attributes: Mapping[str, Column]) -> tuple[str, Bound]:
    if order.entity == "attribute":
        column = attribute(order.key, attributes)
        assert column is not None, order
        return column.sql, []
    if attributes is EXPERIMENT_ATTRIBUTES:
        parts = ["(SELECT value FROM experiment_tags WHERE experiment_id = e.experiment_id AND key = ?)"]
    else:
        parts = ["(SELECT value FROM", _TABLES[order.entity], "WHERE run = r.id AND key = ?)"]
    check_text("name", order.key)
    return " ".join(parts), [order.key]


def _exists(clause: Clause, owner: str) -> tuple[str, Bound]:
    if clause.entity == "dataset":
        column = "json_extract(tags, '$.\"mlflow.data.context\"')" if clause.key == "context" else clause.key
        text, bound = _comparison(column, clause.comparator, clause.value)
        return " ".join(["EXISTS (SELECT 1 FROM datasets WHERE run =", owner, "AND", text + ")"]), bound
    table = "experiment_tags" if owner.startswith("e.") else _TABLES[clause.entity]
    link = "experiment_id" if owner.startswith("e.") else "run"
    inner = ["EXISTS (SELECT 1 FROM", table, "WHERE", link, "=", owner, "AND key = ?"]
    if clause.comparator == "IS NULL":
        return " ".join(["NOT", *inner]) + ")", [clause.key]
    if clause.comparator == "IS NOT NULL":
        return " ".join(inner) + ")", [clause.key]
    text, bound = _comparison("value", clause.comparator, clause.value)
    if clause.entity == "metric":
        # NaN, stored as 0, is unequal to every number and neither above nor below.
        text = f"(is_nan OR {text})" if clause.comparator == "!=" else f"(NOT is_nan AND {text})"
    return " ".join([*inner, "AND", text]) + ")", [clause.key, *bound]


def _comparison(column: str, comparator: str, value: object) -> tuple[str, Bound]:
    if isinstance(value, (tuple, list)):
        return f"{column} {comparator} ({', '.join('?' * len(value))})", list(value)
    if comparator == "LIKE":
        return f"{column} GLOB ?", [_glob(str(value))]
    if comparator == "ILIKE":
        return f"{column} LIKE ?", [value]
    return f"{column} {comparator} ?", [value]


def _glob(pattern: str) -> str:
    """A LIKE pattern as a GLOB pattern: SQLite's LIKE does not tell upper case from lower."""
    special = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
    return "".join(special.get(char, char) for char in pattern)


def _checked(clauses: list[Clause]) -> list[Clause]:
    for clause in clauses:
        for text in (clause.key, *(clause.value if isinstance(clause.value, tuple) else (clause.value,))):
            check_text("filter's", str(text))
    return clauses


def _stages(view_type: str) -> tuple[str, ...]:
    if view_type not in _STAGES:
        raise invalid(f"{shown(view_type)} is not a view type", f"use one of {', '.join(_STAGES)}")
    return _STAGES[view_type]


def _token(offset: int) -> str:
    return f"o{offset}"


def _offset(page_token: str) -> int:
    digits = page_token[1:]
    if page_token and not (
        page_token[0] == "o" and digits.isascii() and digits.isdigit() and len(digits) < 18
    ):
        raise invalid(f"{shown(page_token)} is not a page token that this store gave")
    return int(digits or 0)
