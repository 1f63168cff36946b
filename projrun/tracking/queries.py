"""Searches for runs and experiments."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from projrun.tracking import experiments, runrows
from projrun.tracking.entities import Experiment, Run
from projrun.tracking.filters import Column, Subject
from projrun.tracking.limits import check_page, invalid, shown
from projrun.tracking.statements import Statement, comparison

RUNS = Subject(
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
EXPERIMENTS = Subject(
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
    check_page(max_results)
    statement = Statement(runrows.SELECT, RUNS)
    statement.where(comparison("r.lifecycle_stage", "IN", _stages(view_type)))
    if experiment_ids:
        statement.where(comparison("r.experiment_id", "IN", experiments.numbers(experiment_ids)))
    statement.filter(filter_string)
    for text in order_by:
        statement.order(text)
    statement.orders += ["r.start_time DESC", "r.run_id"]
    rows, token = statement.page(db, max_results, page_token)
    return runrows.loaded(db, rows, root_uri), token


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
    statement = Statement(experiments.SELECT, EXPERIMENTS)
    statement.where(comparison("e.lifecycle_stage", "IN", _stages(view_type)))
    statement.filter(filter_string)
    for text in order_by:
        statement.order(text)
    statement.orders += ["e.last_update_time DESC", "e.experiment_id DESC"]
    rows, token = statement.page(db, max_results, page_token)
    return experiments.loaded(db, rows, root_uri), token


def _stages(view_type: str) -> tuple[str, ...]:
    if view_type not in _STAGES:
        raise invalid(f"{shown(view_type)} is not a view type", f"use one of {', '.join(_STAGES)}")
    return _STAGES[view_type]
