"""MLflow's search language."""

from __future__ import annotations

import math

import pytest

from projrun.errors import TrackingError
from projrun.tracking import Store
from projrun.tracking.entities import Metric


@pytest.fixture
def runs(embedded: Store) -> Store:
    """Three runs: tree (FINISHED), Forest (FAILED), net (RUNNING)."""
    nan = math.nan
    rows: tuple[tuple[str, str, int, dict[str, float], dict[str, str], dict[str, str]], ...] = (
        ("tree", "FINISHED", 100, {"acc": 0.9, "loss": nan},
         {"depth": "3", "my param": "x"}, {"team": "blue"}),
        ("Forest", "FAILED", 200, {"acc": -0.5, "loss": 1.0},
         {"depth": "10"}, {"team": "Red", "its": "o'clock"}),
        ("net", "RUNNING", 300, {"loss": math.inf}, {}, {"a.b.c": "dots"}),
    )  # fmt: skip
    for name, status, start_time, metrics, params, tags in rows:
        run = embedded.create_run("0", run_name=name, start_time=start_time, user_id=name.upper())
        embedded.log_batch(run.run_id, [Metric(k, v, 1) for k, v in metrics.items()], params, tags)
        ended = None if status == "RUNNING" else start_time + 50
        embedded.update_run(run.run_id, status=status, end_time=ended)  # type: ignore[arg-type]
    return embedded


def names(store: Store, filter_string: str = "", *order_by: str) -> list[str]:
    return [run.run_name for run in store.search_runs(["0"], filter_string, order_by)[0]]


@pytest.mark.parametrize(
    ("filter_string", "expected"),
    [
        ("", "net Forest tree"),
        ("   ", "net Forest tree"),
        ("metrics.acc > 0", "tree"),
        ("metrics.acc >= 0.9", "tree"),
        ("metric.acc < -.4", "Forest"),
        ("metrics.acc <= 9e-1", "Forest tree"),
        ("metrics.acc = 0.9", "tree"),
        ("metrics.acc != 0.9", "Forest"),
        ("metrics.loss != 1", "net tree"),
        ("metrics.loss < 5", "Forest"),
        ("metrics.loss > 1e300", "net"),
        ("metrics.nothing != 1", ""),
        ("params.depth = '3'", "tree"),
        ('param.depth = "3"', "tree"),
        ("params.depth != '3'", "Forest"),
        ("parameters.`my param` = 'x'", "tree"),
        ("params.\"my param\" LIKE 'x'", "tree"),
        ("params.depth IS NULL", "net"),
        ("params.depth is not  null", "Forest tree"),
        ("tags.team LIKE 'B%'", ""),
        ("tags.team ILIKE 'B%'", "tree"),
        ("tags.team LIKE '_e_'", "Forest"),
        ("tags.a.b.c = 'dots'", "net"),
        ("tag.its = 'o''clock'", "Forest"),
        ('tag.its = "o\'clock"', "Forest"),
        ("tags.team LIKE '[b]*'", ""),
        ("status = 'FAILED'", "Forest"),
        ("attributes.status IN ('FAILED', 'RUNNING')", "net Forest"),
        ("attr.status NOT IN ('FAILED')", "net tree"),
        ("run_name ILIKE 'FOREST'", "Forest"),
        ("attributes.`run name` = 'net'", "net"),
        ("\"Run Name\" = 'net'", "net"),
        ("user_id = 'NET'", "net"),
        ("start_time >= 200", "net Forest"),
        ("Created < 200", "tree"),
        ("end_time < 1000", "Forest tree"),
        ("run.end_time != 150", "Forest"),
        ("metrics.acc > 0 and params.depth='3' AND tags.team = 'blue'", "tree"),
        ("metrics.acc>0 AND status='FAILED'", ""),
    ],
)
def test_a_filter_finds(runs: Store, filter_string: str, expected: str) -> None:
    assert names(runs, filter_string) == expected.split()


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        (["metrics.acc"], "Forest tree net"),
        (["metrics.acc DESC"], "tree Forest net"),
        (["metrics.loss ASC"], "Forest net tree"),
        (["metrics.loss desc"], "net Forest tree"),
        (["params.depth"], "Forest tree net"),
        (["params.depth DESC"], "tree Forest net"),
        (["tags.`team` ASC"], "Forest tree net"),
        (["start_time ASC"], "tree Forest net"),
        (["attributes.end_time DESC"], "Forest tree net"),
        (["status", "start_time"], "Forest tree net"),
        (["params.nothing", "run_name DESC"], "tree net Forest"),
    ],
)  # fmt: skip
def test_an_order_puts_missing_values_last_and_nan_before_them(
    runs: Store, order_by: list[str], expected: str
) -> None:
    assert names(runs, "", *order_by) == expected.split()


@pytest.mark.parametrize(
    ("filter_string", "character"),
    [
        ("metrics.acc", 12),
        ("metrics.acc >", 14),
        ("metrics.acc > 'x'", 15),
        ("metrics.acc > 1x", 15),
        ("metrics.acc LIKE 'x'", 13),
        ("params.depth = 3", 16),
        ("params.depth > '3'", 14),
        ("params.depth = '3", 16),
        ("params.depth = '3' OR params.depth = '4'", 20),
        ("params.depth = '3' AND", 23),
        ("params.depth = '3' params.x = '4'", 20),
        ("(params.depth = '3')", 1),
        ("status IN 'FAILED'", 11),
        ("status IN ('FAILED'", 20),
        ("status IN ()", 12),
        ("start_time = '3'", 14),
        ("colour = 'red'", 1),
        ("things.a = 'b'", 1),
        ("dataset.size = 'x'", 1),
        ("metrics.acc > 1; DROP TABLE runs", 16),
        ("metrics.acc IS NULL", 13),
    ],
)
def test_a_wrong_filter_is_refused_with_its_place(runs: Store, filter_string: str, character: int) -> None:
    with pytest.raises(TrackingError, match=f"at character {character}, found") as caught:
        names(runs, filter_string)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    "order_by", ["", "metrics.acc sideways", "colour", "metrics.acc ASC DESC", "1; DROP", "dataset.name"]
)
def test_a_wrong_order_is_refused(runs: Store, order_by: str) -> None:
    with pytest.raises(TrackingError, match="order_by") as caught:
        names(runs, "", order_by)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    "text",
    [
        "x' OR '1'='1",
        "x'; DROP TABLE runs; --",
        "x' UNION SELECT * FROM params --",
        "?",
        ":name",
        "%') OR 1=1 --",
        'x" OR ""="',
        "\\' OR 1=1 --",
    ],
)
def test_sql_in_a_value_is_only_text(runs: Store, text: str) -> None:
    quoted = text.replace("'", "''")
    assert names(runs, f"params.depth = '{quoted}'") == []
    assert names(runs, f"tags.team LIKE '{quoted}'") == []
    assert names(runs, f"run_name IN ('{quoted}')") == []
    assert names(runs, f"metrics.`{text.replace('`', '')}` > 0") == []
    assert len(names(runs, "", f"metrics.`{text}` DESC")) == 3
    assert runs.search_runs([text])[0] == []
    assert runs.get_experiment_by_name(text) is None
    runs.log_batch(runs.create_run("0").run_id, params={"depth": text})
    assert len(names(runs, f"params.depth = '{quoted}'")) == 1


def test_endless_filters_are_refused(runs: Store) -> None:
    for text in (" AND ".join(["params.a = 'b'"] * 101), f"run_id IN ({listed(10_002)})", "a" * 100_001):
        with pytest.raises(TrackingError) as caught:
            names(runs, text)
        assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert names(runs, f"run_id IN ({listed(5_000)})") == []


def listed(count: int) -> str:
    return ", ".join(["'a'"] * count)
