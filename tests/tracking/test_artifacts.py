"""Symbolic links and other files in a run's directory that nobody expects there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.errors import TrackingError
from projrun.tracking import Store


@pytest.fixture
def run_id(embedded: Store) -> str:
    run_id = embedded.create_run("0").run_id
    embedded.write_artifact(run_id, "dir/file", b"inside")
    return run_id


@pytest.fixture
def top(home: Home, run_id: str) -> Path:
    return home.artifacts / "0" / run_id


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    return tmp_path / "outside" / "secret"


def refused(call: Callable[[], object], error_code: str = "INVALID_PARAMETER_VALUE") -> None:
    with pytest.raises(TrackingError) as caught:
        call()
    assert caught.value.error_code == error_code, caught.value


def read(store: Store, run_id: str, path: str) -> bytes:
    with store.open_artifact(run_id, path) as file:
        return file.read()


def test_links_within_a_run_are_followed(embedded: Store, run_id: str, top: Path) -> None:
    (top / "link").symlink_to("dir/file")
    (top / "dirlink").symlink_to("dir")
    assert read(embedded, run_id, "link") == read(embedded, run_id, "dirlink/file") == b"inside"
    assert [info.path for info in embedded.list_artifacts(run_id)] == ["dir", "dirlink", "link"]


@pytest.mark.parametrize("absolute", [True, False])
def test_links_out_of_a_run_are_refused_and_not_listed(
    embedded: Store, run_id: str, top: Path, secret: Path, absolute: bool
) -> None:
    def target(path: Path) -> Path:
        return path if absolute else Path(os.path.relpath(path, top))

    (top / "link").symlink_to(target(secret))
    (top / "dirlink").symlink_to(target(secret.parent))
    (top / "new").symlink_to(target(secret.parent / "new"))
    for path in ("link", "dirlink/secret"):
        refused(lambda path=path: read(embedded, run_id, path))  # type: ignore[misc]
        refused(lambda path=path: embedded.write_artifact(run_id, path, b"x"))  # type: ignore[misc]
    refused(lambda: embedded.write_artifact(run_id, "new", b"x"))
    refused(lambda: embedded.write_artifact(run_id, "dirlink/new/deep", b"x"))
    refused(lambda: embedded.log_file(run_id, "dirlink/log"))
    refused(lambda: embedded.list_artifacts(run_id, "dirlink"))
    refused(lambda: embedded.delete_artifact(run_id, "dirlink/secret"))
    assert [info.path for info in embedded.list_artifacts(run_id)] == ["dir"]
    assert os.listdir(secret.parent) == ["secret"] and secret.read_text() == "secret"


def test_deleting_a_link_leaves_what_it_leads_to(
    embedded: Store, run_id: str, top: Path, secret: Path
) -> None:
    (top / "dirlink").symlink_to(secret.parent)
    (top / "dir" / "inner").symlink_to(secret.parent)
    embedded.delete_artifact(run_id, "dirlink")
    embedded.delete_artifact(run_id, "dir")
    assert secret.read_text() == "secret"
    assert os.listdir(top) == []


def test_a_run_whose_directory_is_a_link_has_nothing(embedded: Store, secret: Path, home: Home) -> None:
    run_id = embedded.create_run("0").run_id
    (home.artifacts / "0").mkdir(exist_ok=True)
    (home.artifacts / "0" / run_id).symlink_to(secret.parent)
    assert embedded.list_artifacts(run_id) == []
    refused(lambda: read(embedded, run_id, "secret"))
    refused(lambda: embedded.write_artifact(run_id, "secret", b"x"))
    refused(lambda: embedded.delete_artifact(run_id, "secret"), "RESOURCE_DOES_NOT_EXIST")
    assert secret.read_text() == "secret"


def test_another_runs_artifacts_are_out_of_reach(embedded: Store, run_id: str, top: Path) -> None:
    other = embedded.create_run("0").run_id
    refused(lambda: read(embedded, other, f"../{run_id}/dir/file"))
    (top.parent / other).mkdir()
    (top.parent / other / "link").symlink_to(top / "dir" / "file")
    refused(lambda: read(embedded, other, "link"))


def test_links_in_circles_and_into_nothing_are_refused(embedded: Store, run_id: str, top: Path) -> None:
    (top / "a").symlink_to("b")
    (top / "b").symlink_to("a")
    (top / "nowhere").symlink_to("missing")
    with pytest.raises(TrackingError):
        read(embedded, run_id, "a")
    refused(lambda: read(embedded, run_id, "nowhere"), "RESOURCE_DOES_NOT_EXIST")
    assert [info.path for info in embedded.list_artifacts(run_id)] == ["dir"]


def test_pipes_are_no_artifacts_and_nobody_waits_for_them(embedded: Store, run_id: str, top: Path) -> None:
    os.mkfifo(top / "pipe")
    refused(lambda: read(embedded, run_id, "pipe"))
    assert [info.path for info in embedded.list_artifacts(run_id)] == ["dir"]


def test_names_that_are_not_text_are_not_listed(embedded: Store, run_id: str, top: Path) -> None:
    (Path(os.fsdecode(os.fsencode(top) + b"/\xff\xfe"))).write_text("")
    assert [info.path for info in embedded.list_artifacts(run_id)] == ["dir"]


def test_a_home_behind_a_link_works(home: Home, tmp_path: Path) -> None:
    from contextlib import closing

    from projrun.tracking import open_store

    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with closing(open_store(Home(home.cache, tmp_path / "link"))) as store:
        run_id = store.create_run("0").run_id
        store.write_artifact(run_id, "a", b"x")
        assert read(store, run_id, "a") == b"x"
        assert [info.path for info in store.list_artifacts(run_id)] == ["a"]
