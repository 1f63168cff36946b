"""The model registry of the embedded store."""

from __future__ import annotations

import threading
from sqlite3 import connect

import pytest

from projrun.disk import Home
from projrun.tracking.models import PROMPT_TAG
from projrun.tracking.sqlite import SqliteStore
from tests.tracking.test_contract import refused


@pytest.fixture
def run_id(kept: SqliteStore) -> str:
    return kept.create_run("0").run_id


@pytest.fixture
def prices(kept: SqliteStore, run_id: str) -> SqliteStore:
    """A registered model with three versions of one run, and another one with none."""
    kept.models.registry.create_model("prices", "what houses cost", {"team": "blue"})
    for number in range(3):
        kept.models.registry.create_version(
            "prices", f"runs:/{run_id}/m{number}", run_id=run_id, tags={"n": str(number)}
        )
    kept.models.registry.create_model("weather", tags={"team": "red"})
    return kept


def test_a_model_is_registered_described_renamed_and_deleted(prices: SqliteStore) -> None:
    registry = prices.models.registry
    assert registry.describe_model("prices", "new").description == "new"
    registry.set_model_tag("prices", "a", "b")
    registry.delete_model_tag("prices", "team")
    registry.delete_model_tag("prices", "never there")
    registry.set_alias("prices", "champion", "2")
    model = registry.rename_model("prices", "costs")
    assert (model.name, model.tags, model.aliases) == ("costs", {"a": "b"}, {"champion": 2})
    assert [version.name for version in registry.search_versions()[0]] == ["costs"] * 3
    refused("RESOURCE_DOES_NOT_EXIST", lambda: registry.get_model("prices"))
    refused("RESOURCE_ALREADY_EXISTS", lambda: registry.create_model("costs"))
    refused("RESOURCE_ALREADY_EXISTS", lambda: registry.rename_model("costs", "weather"))
    registry.delete_model("costs")
    assert registry.search_versions() == ([], "")
    assert registry.create_model("costs").latest_versions == ()


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", ".", "..", "x" * 257, "\ud800"])
def test_names_that_would_not_do_in_a_uri_are_refused(kept: SqliteStore, name: str) -> None:
    refused("INVALID_PARAMETER_VALUE", lambda: kept.models.registry.create_model(name))
    refused("INVALID_PARAMETER_VALUE", lambda: kept.models.registry.get_model(name))


def test_the_number_of_a_deleted_version_is_not_given_again(prices: SqliteStore, run_id: str) -> None:
    registry = prices.models.registry
    registry.set_alias("prices", "newest", "3")
    registry.delete_version("prices", "3")
    refused("RESOURCE_DOES_NOT_EXIST", lambda: registry.get_version("prices", "3"))
    refused("INVALID_PARAMETER_VALUE", lambda: registry.version_of_alias("prices", "newest"))
    assert registry.create_version("prices", f"runs:/{run_id}/m").version == 4


def test_a_version_moves_through_the_stages(prices: SqliteStore) -> None:
    registry = prices.models.registry
    registry.move_version("prices", "1", "production")
    registry.move_version("prices", "2", "Production")
    assert [v.version for v in registry.latest_versions("prices", ["Production"])] == [2]
    assert registry.move_version("prices", "3", "PRODUCTION", archive_others=True).stage == "Production"
    assert [registry.get_version("prices", n).stage for n in ("1", "2")] == ["Archived", "Archived"]
    assert [v.version for v in registry.latest_versions("prices")] == [2, 3]
    for stage in ("nowhere", ""):
        refused("INVALID_PARAMETER_VALUE", lambda stage=stage: registry.move_version("prices", "1", stage))  # type: ignore[misc]
    refused(
        "INVALID_PARAMETER_VALUE",
        lambda: registry.move_version("prices", "1", "Archived", archive_others=True),
    )


def test_an_alias_points_at_one_version_until_it_is_moved(prices: SqliteStore) -> None:
    registry = prices.models.registry
    registry.set_alias("prices", "champion", "1")
    registry.set_alias("prices", "champion", "2")
    assert registry.version_of_alias("prices", "champion").aliases == ("champion",)
    assert registry.version_of_alias("prices", "Latest").version == 3
    registry.delete_alias("prices", "champion")
    registry.delete_alias("prices", "champion")
    refused("INVALID_PARAMETER_VALUE", lambda: registry.version_of_alias("prices", "champion"))
    refused("RESOURCE_DOES_NOT_EXIST", lambda: registry.version_of_alias("weather", "latest"))
    refused("RESOURCE_DOES_NOT_EXIST", lambda: registry.set_alias("prices", "a", "9"))
    for alias in ("latest", "v1", "V22", "a b", "", "x" * 256):
        refused("INVALID_PARAMETER_VALUE", lambda alias=alias: registry.set_alias("prices", alias, "1"))  # type: ignore[misc]


@pytest.mark.parametrize("version", ["x", "", "1.0", "¹", "9" * 19])
def test_a_version_is_a_number(prices: SqliteStore, version: str) -> None:
    refused("INVALID_PARAMETER_VALUE", lambda: prices.models.registry.get_version("prices", version))
    refused("RESOURCE_DOES_NOT_EXIST", lambda: prices.models.registry.get_version("prices", "-1"))


def test_versions_of_one_model_that_are_made_at_once_get_numbers_of_their_own(
    prices: SqliteStore, run_id: str
) -> None:
    def register() -> None:
        prices.models.registry.create_version("weather", f"runs:/{run_id}/m")

    threads = [threading.Thread(target=register) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found, _ = prices.models.registry.search_versions("name = 'weather'")
    assert sorted(version.version for version in found) == list(range(1, 9))


@pytest.mark.parametrize(
    ("filter_string", "order_by", "expected"),
    [
        ("", [], "prices weather"),
        ("", ["name DESC"], "weather prices"),
        ("", ["creation_timestamp DESC", "name DESC"], "weather prices"),
        ("name LIKE 'p%'", [], "prices"),
        ("name ilike 'P%' and tags.team != 'red'", [], "prices"),
        ("tag.`mlflow.prompt.is_prompt` != 'true'", [], "prices weather"),
        ("tag.`mlflow.prompt.is_prompt` = 'true'", [], "greeting"),
    ],
)
def test_registered_models_are_found(
    prices: SqliteStore, filter_string: str, order_by: list[str], expected: str
) -> None:
    prices.models.registry.create_model("greeting", tags={PROMPT_TAG: "true"})
    found, _ = prices.models.registry.search_models(filter_string, order_by)
    assert [model.name for model in found] == expected.split()


@pytest.mark.parametrize(
    ("filter_string", "order_by", "expected"),
    [
        ("name='prices'", [], [3, 2, 1]),
        ("", ["version_number ASC"], [1, 2, 3]),
        ("version_number > 1 AND tags.n = '2'", [], [3]),
        ("source_path LIKE '%m1'", [], [2]),
        ("run_id IN ('nope')", [], []),
        ("tags.n IS NULL", [], []),
    ],
)
def test_versions_are_found(
    prices: SqliteStore, filter_string: str, order_by: list[str], expected: list[int]
) -> None:
    found, _ = prices.models.registry.search_versions(filter_string, order_by)
    assert [version.version for version in found] == expected


def test_searches_come_in_pages_and_refuse_what_they_do_not_know(prices: SqliteStore) -> None:
    registry = prices.models.registry
    first, token = registry.search_versions(max_results=2)
    last, end = registry.search_versions(max_results=2, page_token=token)
    assert [len(first), len(last), end] == [2, 1, ""]
    for text in ("colour = 'a'", "metrics.m > 1", "params.a = 'b'", "name =", "name = 1; DROP TABLE runs"):
        refused("INVALID_PARAMETER_VALUE", lambda text=text: registry.search_models(text))  # type: ignore[misc]
        refused("INVALID_PARAMETER_VALUE", lambda text=text: registry.search_versions(text))  # type: ignore[misc]
    refused("INVALID_PARAMETER_VALUE", lambda: registry.search_models(order_by=["colour"]))
    refused("INVALID_PARAMETER_VALUE", lambda: registry.search_models(max_results=1001))
    refused("INVALID_PARAMETER_VALUE", lambda: registry.search_versions(page_token="x"))


def test_a_version_remembers_where_it_came_from(prices: SqliteStore, run_id: str) -> None:
    registry = prices.models.registry
    model_id = prices.models.logged.create("0", source_run_id=run_id).model_id
    for source in (f"models:/{model_id}", f"mlflow-artifacts:/0/models/{model_id}/artifacts"):
        version = registry.create_version("weather", source)
        assert (version.source, version.run_id, version.model_id) == (source, run_id, model_id)
    registry.set_alias("weather", "best", "1")
    copies = [
        registry.create_version("prices", f"models:/weather{which}") for which in ("/1", "@best", "/None")
    ]
    assert [copy.source for copy in copies] == ["models:/weather/1", "models:/weather/1", "models:/weather/2"]
    registry.delete_model("weather")
    assert registry.location("prices", "4") == f"models:/{model_id}"
    assert registry.location("prices", "1") == f"runs:/{run_id}/m0"
    tags = prices.models.logged.get(model_id).tags
    assert tags["mlflow.modelVersions"].startswith('[{"name":"weather","version":1}')
    prices.models.logged.delete(model_id)
    refused("RESOURCE_DOES_NOT_EXIST", lambda: registry.location("prices", "4"))


SOURCES = [
    "/etc/passwd",
    "etc/passwd",
    "file:///etc",
    "FILE:///etc",
    "http://169.254.169.254/latest",
    "https://elsewhere.example/api/2.0/mlflow-artifacts/artifacts/0/RUN/artifacts/m",
    "s3://bucket/model",
    "javascript:alert(1)",
    "runs:/RUN",
    "runs:/RUN/",
    "runs:/RUN/../../etc",
    "runs:/RUN/%2e%2e/x",
    "runs:/RUN/%252e%252e/x",
    "runs:/RUN/a\\..\\b",
    "runs:/RUN/a?b",
    "runs:/RUN/a#b",
    "runs://evil@RUN/m",
    "runs:/0123/m",
    "models://evil/prices/1",
    "models:/prices/x",
    "models:/m-0/x",
    "mlflow-artifacts://evil:80/0/RUN/artifacts/m",
    "mlflow-artifacts:/0/RUN/artifacts",
    "mlflow-artifacts:/0/RUN/artifacts/../../x",
    "mlflow-artifacts:/0/RUN/elsewhere/m",
    "mlflow-artifacts:/1/RUN/artifacts/m",
    "mlflow-artifacts:/0/models/MODEL/artifacts/../x",
    "runs:/RUN/" + "x" * 3000,
    "runs:/RUN/a\ud800",
]


@pytest.mark.parametrize("source", SOURCES)
def test_a_version_comes_from_nowhere_else(prices: SqliteStore, home: Home, run_id: str, source: str) -> None:
    model_id = prices.models.logged.create("0").model_id
    named = source.replace("RUN", run_id).replace("MODEL", model_id)
    for given in ({"run_id": run_id}, {"model_id": model_id}, {}):
        refused(
            "INVALID_PARAMETER_VALUE",
            lambda given=given: prices.models.registry.create_version("prices", named, **given),  # type: ignore[misc]
        )
    if "\ud800" in named:
        return
    db = connect(home.tracking_db)  # as if an older version had let it in
    db.execute("UPDATE model_versions SET location = ? WHERE version = 1", (named,))
    db.commit()
    db.close()
    refused("INVALID_PARAMETER_VALUE", lambda: prices.models.registry.location("prices", "1"))


def test_a_source_and_the_run_or_model_named_beside_it_must_agree(prices: SqliteStore, run_id: str) -> None:
    other, registry = prices.create_run("0").run_id, prices.models.registry
    model_id = prices.models.logged.create("0").model_id
    another = prices.models.logged.create("0").model_id
    for source, given in (
        (f"runs:/{run_id}/m", {"run_id": other}),
        (f"mlflow-artifacts:/0/{run_id}/artifacts/m", {"run_id": other}),
        (f"models:/{model_id}", {"model_id": another}),
        ("models:/prices/1", {"run_id": other}),
    ):
        refused(
            "INVALID_PARAMETER_VALUE",
            lambda source=source, given=given: registry.create_version("prices", source, **given),  # type: ignore[misc]
        )


def test_a_model_of_an_experiment_elsewhere_is_registered_from_there(prices: SqliteStore) -> None:
    number = prices.create_experiment("far", artifact_location="s3://bucket/place")
    run = prices.create_run(number)
    inside = f"{run.artifact_uri}/m"
    assert prices.models.registry.create_version("prices", inside, run_id=run.run_id).location == inside
    for source in ("s3://bucket/place", f"{run.artifact_uri}-not/m", f"{run.artifact_uri}/../x"):
        refused(
            "INVALID_PARAMETER_VALUE",
            lambda source=source: prices.models.registry.create_version("prices", source, run_id=run.run_id),  # type: ignore[misc]
        )
