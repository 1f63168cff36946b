"""The life of temporary checkouts and of the cache, between processes that get killed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from projrun import sources
from projrun.disk import Home
from projrun.errors import SourceError
from tests.sources.children import first_line_of, kill, start_fetching
from tests.sources.conftest import Fetcher
from tests.support.chaos import MARK, processes_marked
from tests.support.git_server import GitServer, Upstream, run_git
from tests.support.waiting import PATIENCE_S


def names_in(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_a_released_checkout_is_gone(upstream: Upstream, home: Home) -> None:
    checkout = sources.fetch(str(upstream.bare), "", home)
    (checkout.root / "sub/output").write_text("made by the run")
    (checkout.root / "sub").chmod(0o500)
    sources.release(checkout, home)
    sources.release(checkout, home)
    assert names_in(home.checkouts) == ["gate"]


def test_a_directory_that_was_used_in_place_is_not_released(upstream: Upstream, home: Home) -> None:
    sources.release(sources.fetch(str(upstream.tree), "", home), home)
    assert (upstream.tree / "MLproject").exists()


def test_runs_have_checkouts_of_their_own(fetch: Fetcher, upstream: Upstream) -> None:
    one, two = fetch(upstream.bare), fetch(upstream.bare)
    (one.root / "MLproject").write_text("changed")
    assert (two.root / "MLproject").read_text() == "name: served\n"


def test_many_runs_of_one_commit_take_the_place_of_one(
    fetch: Fetcher, upstream: Upstream, home: Home
) -> None:
    def files_in_cache() -> int:
        return sum(path.is_file() for path in home.git.rglob("*"))

    fetch(upstream.bare)
    before = files_in_cache()
    roots = [fetch(upstream.bare, "main").root for _ in range(3)]
    assert files_in_cache() == before
    borrowed = [path.name for root in roots for path in (root / ".git/objects").rglob("*") if path.is_file()]
    assert borrowed == ["alternates"] * 3


def test_what_a_killed_process_left_is_swept(fetch: Fetcher, upstream: Upstream) -> None:
    child = start_fetching(str(upstream.bare))
    root = Path(first_line_of(child))
    assert (root / "MLproject").exists()
    fetch(upstream.bare)
    assert (root / "MLproject").exists(), "a checkout in use was swept"
    kill(child)
    assert (root / "MLproject").exists()
    fetch(upstream.bare)
    assert not root.parent.exists()
    assert not root.parent.with_suffix(".lock").exists()


def test_a_checkout_that_fails_half_way_leaves_nothing(
    fetch: Fetcher, upstream: Upstream, home: Home
) -> None:
    upstream.commit("filtered", **{".gitattributes": "MLproject filter=broken\n"})
    run_git("config", "--global", "filter.broken.smudge", "false")
    run_git("config", "--global", "filter.broken.required", "true")
    with pytest.raises(SourceError, match="checkout of"):
        fetch(upstream.bare)
    assert names_in(home.checkouts) == ["gate"]


def test_two_processes_fetch_a_new_repository_once(git_server: GitServer) -> None:
    upstream = git_server.upstream()
    children = [start_fetching(f"{git_server.url}/project.git", upstream.head) for _ in range(3)]
    roots = {first_line_of(child) for child in children}
    for child in children:
        _, stderr = child.communicate()
        assert child.returncode == 0, stderr
    assert len(roots) == 3
    assert git_server.requests.count("/project.git/info/refs?service=git-upload-pack") == 1


def test_a_killed_fetch_leaves_a_usable_cache(fetch: Fetcher, git_server: GitServer, home: Home) -> None:
    upstream = git_server.upstream()
    asked, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        go_on.wait(PATIENCE_S)

    git_server.on_request = hang
    child = start_fetching(f"{git_server.url}/project.git", upstream.head)
    assert asked.wait(PATIENCE_S)
    kill(child)
    git_server.on_request = lambda: None
    (bare,) = home.git.glob("*.git")
    for leftover in ("shallow.lock", "objects/pack/tmp_pack_x"):  # a kill at a worse moment
        (bare / leftover).write_text("")
    go_on.set()
    assert fetch(f"{git_server.url}/project.git", upstream.head).source.commit == upstream.head
    assert not (bare / "objects/pack/tmp_pack_x").exists()


def test_a_commit_without_its_tree_is_fetched_again(
    fetch: Fetcher, git_server: GitServer, home: Home
) -> None:
    """A kill can leave a commit whose objects are incomplete."""
    upstream = git_server.upstream()
    url = f"{git_server.url}/project.git"
    fetch(url)
    (bare,) = home.git.glob("*.git")
    (bare / "refs/commits" / upstream.head).unlink()
    blob = run_git("rev-parse", "HEAD:sub/dir/data", cwd=upstream.tree)
    (bare / "objects" / blob[:2] / blob[2:]).unlink()
    assert (fetch(url, upstream.head).root / "sub/dir/data").read_text() == "deep\n"


def test_killed_at_any_moment_the_cache_stays_usable(
    fetch: Fetcher, git_server: GitServer, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = git_server.upstream()
    url = f"{git_server.url}/project.git"
    monkeypatch.setenv(MARK, str(home.cache))
    for number in range(8):
        upstream.commit(f"commit {number}", data=f"{number}\n" * 5000)
        child = start_fetching(url, upstream.head)
        time.sleep(0.05 * number)
        kill(child)
    assert not processes_marked(str(home.cache)), "what the killed ones had started goes on"
    for commit in upstream.git("rev-list", "main").split():
        assert fetch(url, commit).source.commit == commit
    (bare,) = home.git.glob("*.git")
    assert run_git("fsck", "--connectivity-only", "--no-dangling", cwd=bare) == ""
