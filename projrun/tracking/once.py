"""Requests that would do harm if they were carried out twice, when an answer was lost on its way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence

from projrun.tracking import answers
from projrun.tracking.client import PAUSES_S, Client, LostAnswerError
from projrun.tracking.entities import Metric, Run
from projrun.tracking.tags import CREATION
from projrun.tracking.wire import metric_json, number, pairs


def create_run(client: Client, content: Mapping[str, object], tags: Mapping[str, str]) -> Run:
    """Sent again after a lost answer only if no run has the mark of this one: the server may have made it."""
    mark = os.urandom(16).hex()
    search = {
        "experiment_ids": [content["experiment_id"]],
        "filter": f"tags.`{CREATION}` = '{mark}'",
        "max_results": 1,
    }
    marked = {**content, "tags": pairs({**tags, CREATION: mark})}
    for pause_s in PAUSES_S:
        try:
            return answers.run(client.post("runs/create", marked, may_repeat=False).get("run"))
        except LostAnswerError:
            time.sleep(pause_s)
        for found in client.post("runs/search", search).get("runs", ()):
            return answers.run(found)
    return answers.run(client.post("runs/create", marked, may_repeat=False).get("run"))


def log_batch(
    client: Client,
    content: Mapping[str, object],
    metrics: Sequence[Metric],
    history: Callable[[str], list[Metric]],
) -> None:
    """Sent again after a lost answer without the metrics that have arrived: not every server drops doubles.

    content: the request without its metrics. history: what the server has of a metric.
    """

    def send(wanted: Sequence[Metric]) -> None:
        batch = {**content, "metrics": [metric_json(metric) for metric in wanted]}
        client.post("runs/log-batch", batch, may_repeat=not wanted)

    try:
        send(metrics)
    except LostAnswerError:
        if not metrics:
            raise
        known = {_identity(one) for key in {metric.key for metric in metrics} for one in history(key)}
        send([metric for metric in metrics if _identity(metric) not in known])


def _identity(metric: Metric) -> tuple[object, ...]:
    return metric.key, metric.step, metric.timestamp, number(metric.value)
