"""`projrun cache`, `run --keep` and `runs path`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from projrun.disk import Home, file_locks
from projrun.disk.file_locks import hold_lock
from tests.conftest import MakeProject, Projrun
from tests.support.git_server import Upstream, make_upstream, run_git

PROJECT = "name: p\nentry_points: {main: {command: 'pwd; touch made'}}\n"
KEY = "0123456789abcdef" * 4


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    upstream = make_upstream(tmp_path / "project.git")
    upstream.commit("runs", MLproject=PROJECT)
    return upstream


def run(projrun: Projrun, uri: object, *more: str) -> str:
    """The id of the run."""
    done = projrun("run", str(uri), "--env-manager", "local", *more)
    assert done.returncode == 0, done.stderr
    return str(json.loads(projrun("runs", "list", "--json").stdout)[0]["run_id"])


def prune(projrun: Projrun, *more: str) -> list[str]:
    """Names of what was taken away."""
    done = projrun("cache", "prune", "--json", *more)
    assert done.returncode == 0, done.stderr
    return [Path(entry["path"]).name for entry in json.loads(done.stdout)["removed"]]


def info(projrun: Projrun) -> dict[str, Any]:
    return dict(json.loads(projrun("cache", "info", "--json").stdout))


def environment(home: Home, key: str, *, size: int = 1000, days: float = 0) -> Path:
    path = home.environments / "uv" / key
    path.mkdir(parents=True)
    (path / ".ready.json").write_text("{}")
    (path / "file").write_bytes(b"x" * size)
    lock = path.with_name(f"{key}.lock")
    lock.touch()
    then = time.time() - days * 86400
    os.utime(lock, (then, then))
    return path


def test_a_kept_checkout_stays_and_is_found(projrun: Projrun, upstream: Upstream, home: Home) -> None:
    kept = run(projrun, upstream.bare, "--keep")
    directory = Path(projrun("runs", "path", kept[:8]).stdout.strip())
    assert (directory / "made").exists()
    other = run(projrun, upstream.bare)
    assert (directory / "made").exists(), "another run swept it"
    gone = projrun("runs", "path", other)
    assert (gone.returncode, "is gone" in gone.stderr, "--keep" in gone.stderr) == (125, True, True)
    prune(projrun, "--older-than", "1d")
    assert run_git("log", "--format=%s", "-1", cwd=directory) == "runs"
    assert len(prune(projrun, "--older-than", "0s")) >= 1
    assert not directory.exists()
    prune(projrun, "--older-than", "0s")
    assert list(home.git.glob("*.git")) == []
    assert run(projrun, upstream.bare)


def test_a_repository_that_a_kept_checkout_borrows_from_stays(
    projrun: Projrun, upstream: Upstream, home: Home
) -> None:
    directory = Path(projrun("runs", "path", run(projrun, upstream.bare, "--keep")).stdout.strip())
    assert prune(projrun, "--older-than", "1d", "--max-size", "100TB") == []
    (kept,) = home.checkouts.glob("*.kept")
    os.utime(kept)
    (used,) = home.git.glob("*.used")
    os.utime(used, (1, 1))
    assert prune(projrun, "--older-than", "1d") == []
    assert run_git("status", "--porcelain", cwd=directory) == "?? made"


def test_the_path_of_a_local_run(projrun: Projrun, make_project: MakeProject) -> None:
    project = make_project(MLproject=PROJECT)
    assert projrun("runs", "path", run(projrun, project, "--keep")).stdout == f"{project}\n"
    assert (project / "MLproject").exists()


def test_prune_takes_what_was_not_used_and_leaves_what_is(projrun: Projrun, home: Home) -> None:
    old = environment(home, KEY, days=40)
    held = environment(home, KEY[::-1], days=40)
    new = environment(home, KEY[:32], days=1)
    with hold_lock(held.with_name(f"{held.name}.lock"), shared=True):
        assert prune(projrun, "--dry-run") == [old.name]
        assert old.exists()
        assert prune(projrun) == [old.name]
    assert (old.exists(), held.exists(), new.exists()) == (False, True, True)


def test_an_environment_that_was_built_beside_another_is_one_of_them(projrun: Projrun, home: Home) -> None:
    beside = environment(home, f"{KEY[:24]}-2", days=40)
    rest = home.environments / "uv" / f".{KEY[:24]}-3.{KEY[:16]}.tmp"
    rest.mkdir()
    assert {Path(entry["path"]) for entry in info(projrun)["entries"]} == {beside, rest}
    assert sorted(prune(projrun)) == sorted((beside.name, rest.name))


def test_max_size_takes_the_least_recently_used_first(projrun: Projrun, home: Home) -> None:
    paths = [environment(home, f"{n}{KEY[1:]}", size=1_000_000, days=n) for n in (1, 2, 3)]
    assert prune(projrun, "--max-size", "2.5MB") == [paths[2].name]
    assert prune(projrun, "--max-size", "0") == [paths[1].name, paths[0].name]


def test_files_of_several_names_count_once(projrun: Projrun, home: Home) -> None:
    one, two = environment(home, KEY, size=1_000_000), environment(home, KEY[::-1])
    os.link(one / "file", two / "again")
    assert 1_000_000 <= info(projrun)["size"] < 1_200_000


def test_what_is_not_ours_is_left_alone(projrun: Projrun, home: Home) -> None:
    strange = [
        home.cache / "mine",
        home.git / "mine.git",
        home.environments / "uv" / "mine",
        home.locks / "x",
    ]
    for path in strange:
        path.mkdir(parents=True)
    (home.git / f"{KEY}.git").symlink_to(strange[0])
    assert prune(projrun, "--older-than", "0s", "--max-size", "0") == []
    assert all(path.exists() for path in strange)


def test_what_killed_processes_left_goes_at_once(projrun: Projrun, home: Home) -> None:
    half_built = environment(home, KEY)
    (half_built / ".ready.json").unlink()
    temporary = home.git / f".{KEY}.git.{KEY[:16]}.tmp"
    lost = home.checkouts / KEY[:32]
    for path in (temporary, lost):
        path.mkdir(parents=True)
    lost.with_suffix(".lock").touch()
    live = file_locks.new_directory_name(home.inputs)
    file_locks.claim_directory(live)
    assert sorted(prune(projrun)) == sorted([KEY, temporary.name, lost.name])
    assert live.exists()
    file_locks.release_directory(live)


def test_a_repository_in_use_stays(projrun: Projrun, upstream: Upstream, home: Home) -> None:
    from tests.sources.children import first_line_of, start_fetching

    child = start_fetching(str(upstream.bare))
    root = Path(first_line_of(child))
    assert prune(projrun, "--older-than", "0s", "--max-size", "0") == []
    assert run_git("status", "--porcelain", cwd=root) == ""
    states = {entry["bucket"]: entry["state"] for entry in info(projrun)["entries"]}
    assert states == {"git-v1": "in use", "checkouts-v1": "in use"}
    child.communicate()
    assert len(prune(projrun, "--max-size", "0")) == 1


def test_what_was_kept_of_trees_and_yaml_files_is_listed_and_goes(
    projrun: Projrun, make_project: MakeProject, home: Home
) -> None:
    run_id = run(projrun, make_project(MLproject=PROJECT))
    (held,) = home.sources.iterdir()
    lonely, young = (home.sources / f"{start}{KEY[1:]}.tar.gz" for start in "ab")
    half = home.sources / f".new.{KEY[:16]}.tmp"
    strange = home.sources / "mine.tar.gz"
    for path in (lonely, young, half, strange):
        path.write_bytes(b"x" * 5000)
    for path in (*home.sources.iterdir(), home.yaml):
        if path != young:
            os.utime(path, (1, 1))
    listed = {Path(one["path"]): one for one in info(projrun)["entries"]}
    assert {path: one["state"] for path, one in listed.items()} == {
        held: "in use",
        lonely: "unused",
        young: "in use",
        half: "left by a killed run",
        home.yaml: "unused",
    }
    assert listed[lonely]["size"] >= 5000 and listed[home.yaml]["size"] > 0
    assert prune(projrun, "--older-than", "1000000d") == [half.name]
    assert sorted(prune(projrun)) == sorted([lonely.name, "yaml-v1"])
    assert {*home.sources.iterdir()} == {held, young, strange}
    assert projrun("runs", "source", run_id, "-o", home.data / "back").returncode == 0
    assert run(projrun, home.data / "back"), "what was forgotten is read again"


def test_an_empty_cache(projrun: Projrun, home: Home) -> None:
    assert "nothing is in it" in projrun("cache", "info").stdout
    assert "took 0 away" in projrun("cache", "prune").stderr
    assert not home.cache.exists()


@pytest.mark.parametrize("option", [("--older-than", "soon"), ("--max-size", "much"), ("--max-size", "5iB")])
def test_limits_that_are_none(projrun: Projrun, option: tuple[str, str]) -> None:
    done = projrun("cache", "prune", *option)
    assert (done.returncode, option[1] in done.stderr) == (2, True)


def test_a_hundred_runs_of_one_commit_take_the_place_of_one(upstream: Upstream, home: Home) -> None:
    from projrun import sources

    def used() -> int:
        return sum(path.lstat().st_blocks for path in home.cache.rglob("*"))

    sources.release(sources.fetch(str(upstream.bare), "", home), home)
    before = used()
    for _ in range(100):
        sources.release(sources.fetch(str(upstream.bare), upstream.head, home), home)
    assert used() == before
