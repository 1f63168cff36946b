"""Databases of every released schema are brought up to date with all that is in them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.tracking import open_store
from projrun.tracking.sqlite.database import MIGRATIONS

SCHEMAS = Path(__file__).parents[1] / "schemas"
RUN = "0123456789abcdef0123456789abcdef"


def test_there_is_a_fixture_of_every_schema() -> None:
    assert [file.stem for file in sorted(SCHEMAS.glob("*.sql"))] == [name for name, _ in MIGRATIONS]


@pytest.mark.parametrize("name", [name for name, _ in MIGRATIONS])
def test_a_database_of_every_release_is_brought_up_to_date(home: Home, name: str) -> None:
    home.data.mkdir(parents=True)
    with closing(sqlite3.connect(home.tracking_db)) as db:
        db.executescript((SCHEMAS / f"{name}.sql").read_text())
    with closing(open_store(home)) as store:
        run = store.get_run(RUN)
        assert (run.run_name, run.status, run.params, run.tags["team"]) == (
            "kept",
            "FINISHED",
            {"depth": "3"},
            "blue",
        )
        assert [metric.value for metric in store.get_metric_history(RUN, "loss")] == [0.5, 0.25]
        assert repr(run.metrics["nan"].value) == "nan" and run.inputs[0].name == "rows"
        assert store.get_experiment(run.experiment_id).tags == {"owner": "me"}
    with closing(sqlite3.connect(home.tracking_db)) as db, closing(sqlite3.connect(":memory:")) as new:
        for _, statements in MIGRATIONS:
            for statement in statements:
                new.execute(statement)
        assert schema(new) <= schema(db)
        applied = [name for (name,) in db.execute("SELECT name FROM migrations ORDER BY name")]
        assert applied == [name for name, _ in MIGRATIONS]
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def schema(db: sqlite3.Connection) -> set[tuple[str, str]]:
    return set(db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
