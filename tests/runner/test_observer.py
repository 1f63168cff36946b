from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.disk.file_operations import sha256_of_readable, sha256_text
from projrun.errors import TrackingError
from projrun.plan import Checkout, Source, VerifyRules
from projrun.runner.observer import Observer
from projrun.tracking import sqlite
from projrun.tracking.entities import ArtifactInfo
from projrun.tracking.sqlite import SqliteStore


def test_what_goes_away_while_digests_are_taken_has_none(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    places = [tmp_path / "gone", tmp_path / "there"]
    for size in (0, 1 << 30):  # one after the other, and several at once
        assert sha256_of_readable(places, size, "taking digests of") == ["", sha256_text("x")]


class Forgetful(SqliteStore):
    """Somebody else deletes an artifact in the moment in which it is asked for."""

    def artifact_file(self, run_id: str, path: str) -> Path | None:
        file = super().artifact_file(run_id, path)
        if file is not None and path == "gone.txt":
            file.unlink()
        return file


class Leaving(SqliteStore):
    """A server that goes away while the user interrupts what he waits for."""

    asked = 0

    def list_artifacts(self, run_id: str, path: str = "") -> list[ArtifactInfo]:
        self.asked += 1
        raise KeyboardInterrupt if self.asked == 1 else TrackingError("the server is away")


def test_an_interruption_and_a_server_that_went_away_do_not_take_the_record_with_them(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite.open_store(home)) as store:
        observer = Observer(store, store.create_run("0").run_id, checkout_in(tmp_path), home)
        store.__class__ = Leaving
        assert observer.outputs(True, VerifyRules()) is None
    said = capsys.readouterr().err
    assert "lacks the digests" in said and "is not recorded: the server is away" in said


def checkout_in(place: Path) -> Checkout:
    (place / "tree").mkdir()
    source = Source(kind="local", uri=str(place))
    return Checkout(source=source, root=place / "tree", directory=place / "tree")


def test_an_artifact_that_vanishes_does_not_take_the_record_with_it(home: Home, tmp_path: Path) -> None:
    with closing(sqlite.open_store(home)) as store:
        store.__class__ = Forgetful
        run = store.create_run("0")
        observer = Observer(store, run.run_id, checkout_in(tmp_path), home)
        for name in ("gone.txt", "kept.txt"):
            store.write_artifact(run.run_id, name, b"x")
        found = observer.outputs(True, VerifyRules())
    assert found is not None
    assert [(one.path, one.sha256) for one in found] == [("gone.txt", ""), ("kept.txt", sha256_text("x"))]
