"""Projects behind a Git URL: over HTTP, ssh, file URLs and paths."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.errors import SourceError
from tests.sources.conftest import Fetcher
from tests.support.git_server import GitServer, Upstream, make_upstream, run_git, stand_in_for_ssh


def test_the_default_branch_whatever_its_name(fetch: Fetcher, git_server: GitServer) -> None:
    upstream = git_server.upstream(branch="trunk/next")
    checkout = fetch(f"{git_server.url}/project.git")
    assert checkout.temporary
    assert checkout.root.name == "project"
    assert (checkout.root / "MLproject").read_text() == "name: served\n"
    source = checkout.source
    assert (source.kind, source.commit, source.branch) == ("git", upstream.head, "trunk/next")
    assert source.uri == source.repository == f"{git_server.url}/project.git"
    assert (source.version, source.subdirectory, source.dirty) == ("", "", False)


def test_every_way_to_name_a_commit(fetch: Fetcher, git_server: GitServer) -> None:
    upstream = git_server.upstream()
    first = upstream.head
    upstream.git("tag", "light")
    upstream.git("tag", "-a", "-m", "words", "annotated")
    second = upstream.commit("second")
    upstream.git("branch", "feature/one", first)
    upstream.git("update-ref", "refs/pull/7/head", first)
    upstream.push()
    url = f"{git_server.url}/project.git"
    expected = {
        "main": (second, "main"),
        "feature/one": (first, "feature/one"),
        "refs/heads/feature/one": (first, "feature/one"),
        "light": (first, ""),
        "annotated": (first, ""),
        "refs/tags/annotated": (first, ""),
        "pull/7/head": (first, ""),
        "HEAD": (second, "main"),
        first: (first, ""),
        first.upper(): (first, ""),
        first[:8]: (first, ""),
        "main~1": (first, ""),
        "HEAD^": (first, ""),
        f"light-0-g{first[:8]}": (first, ""),
        upstream.git("rev-parse", "annotated"): (first, ""),
    }
    found = {version: fetch(url, version).source for version in expected}
    assert {version: (source.commit, source.branch) for version, source in found.items()} == expected
    assert all(source.version == version for version, source in found.items())


def test_a_tag_wins_over_a_branch_of_the_same_name(fetch: Fetcher, upstream: Upstream) -> None:
    first = upstream.head
    upstream.git("tag", "same")
    second = upstream.commit("second")
    upstream.git("branch", "same")
    upstream.push()
    assert fetch(upstream.bare, "same").source.commit == first
    assert fetch(upstream.bare, "heads/same").source.commit == second


def test_a_branch_that_looks_like_a_commit(fetch: Fetcher, upstream: Upstream) -> None:
    first = upstream.head
    upstream.commit("second")
    upstream.git("branch", "deadbeef", first)
    upstream.push()
    source = fetch(upstream.bare, "deadbeef").source
    assert (source.commit, source.branch) == (first, "deadbeef")


@pytest.mark.parametrize("scheme", ["file://", "git+file://", ""])
def test_repositories_on_this_machine(fetch: Fetcher, upstream: Upstream, scheme: str) -> None:
    checkout = fetch(f"{scheme}{upstream.bare}#sub/dir")
    assert checkout.source.commit == upstream.head
    assert checkout.source.uri == f"{scheme}{upstream.bare}#sub/dir"
    assert (checkout.directory / "data").read_text() == "deep\n"


def test_the_repository_of_a_working_tree_is_cloned_the_tree_itself_is_used_in_place(
    fetch: Fetcher, upstream: Upstream
) -> None:
    (upstream.tree / "MLproject").write_text("name: dirty\n")
    assert fetch(f"file://{upstream.tree}").directory == upstream.tree
    for uri in (f"file://{upstream.tree}/.git", f"{upstream.tree}/.git"):
        assert (fetch(uri).root / "MLproject").read_text() == "name: served\n"


def test_a_file_url_with_percent_signs(fetch: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    make_upstream(tmp_path / "a b" / "project.git")
    assert fetch(f"file://{tmp_path}/a%20b/project.git").source.commit
    assert fetch(f"file://{tmp_path}/a%20b/project.git-tree").directory.name == "project.git-tree"


@pytest.mark.parametrize(
    "form",
    ["ssh://git@localhost{}", "git@localhost:{}", "ssh://git@localhost:2222{}", "git+ssh://localhost{}"],
)
def test_ssh_in_every_spelling(
    fetch: Fetcher, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", stand_in_for_ssh(tmp_path))
    uri = form.format(upstream.bare)
    source = fetch(f"{uri}#sub", upstream.head).source
    assert (source.commit, source.repository) == (upstream.head, uri.removeprefix("git+"))
    assert "localhost" in (tmp_path / "ssh.log").read_text()


def test_ssh_never_asks(
    fetch: Fetcher, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found on PATH as `ssh`, the stand-in sees the options that projrun gives."""
    stand_in_for_ssh(tmp_path)
    monkeypatch.delenv("GIT_SSH_COMMAND", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    fetch(f"git@localhost:{upstream.bare}")
    assert (
        "-o ConnectTimeout=30 -o ServerAliveInterval=20 -o BatchMode=yes"
        in (tmp_path / "ssh.log").read_text()
    )


def test_the_users_own_ssh_command_is_used(fetch: Fetcher, upstream: Upstream, tmp_path: Path) -> None:
    run_git("config", "--global", "core.sshCommand", stand_in_for_ssh(tmp_path))
    fetch(f"git@localhost:{upstream.bare}")
    assert "BatchMode" not in (tmp_path / "ssh.log").read_text()


def test_a_cached_commit_needs_no_network(fetch: Fetcher, git_server: GitServer) -> None:
    upstream = git_server.upstream()
    url = f"{git_server.url}/project.git"
    fetch(url, "main")
    asked = len(git_server.requests)
    fetch(url, upstream.head)
    fetch(f"{git_server.url_with('user:other')}/project.git/", upstream.head)
    assert len(git_server.requests) == asked


def test_a_known_commit_of_a_branch_is_only_asked_for_not_fetched(
    fetch: Fetcher, git_server: GitServer
) -> None:
    git_server.upstream()
    fetch(f"{git_server.url}/project.git")
    del git_server.requests[:]
    fetch(f"{git_server.url}/project.git", "main")
    assert git_server.requests == [
        "/project.git/info/refs?service=git-upload-pack",
        "/project.git/git-upload-pack",
    ]


def test_only_what_is_needed_is_fetched(fetch: Fetcher, git_server: GitServer, home: Home) -> None:
    upstream = git_server.upstream()
    for number in range(5):
        upstream.commit(f"commit {number}")
    checkout = fetch(f"{git_server.url}/project.git")
    assert run_git("rev-list", "--count", "HEAD", cwd=checkout.root) == "1"


def test_history_that_was_fetched_stays_whole(fetch: Fetcher, git_server: GitServer) -> None:
    upstream = git_server.upstream()
    first = upstream.head
    upstream.commit("second")
    url = f"{git_server.url}/project.git"
    fetch(url, "main")
    assert fetch(url, "main~1").source.commit == first
    upstream.commit("third")
    assert run_git("rev-list", "--count", "HEAD", cwd=fetch(url, "main").root) == "3"
    del git_server.requests[:]
    assert fetch(url, first).source.commit == first
    assert git_server.requests == []


@pytest.mark.parametrize("cached", [False, True])
def test_a_server_that_refuses_commits_by_id(fetch: Fetcher, git_server: GitServer, cached: bool) -> None:
    git_server.newest_protocol = 0
    upstream = git_server.upstream()
    first = upstream.head
    upstream.commit("second")
    url = f"{git_server.url}/project.git"
    if cached:
        assert fetch(url).source.branch == "main"
    assert fetch(url, first).source.commit == first
    assert fetch(url).source.commit == upstream.head
    with pytest.raises(SourceError, match="no branch, tag or commit"):
        fetch(url, "1" * 40)


def test_a_rewritten_branch_is_followed(fetch: Fetcher, git_server: GitServer) -> None:
    upstream = git_server.upstream()
    url = f"{git_server.url}/project.git"
    old = fetch(url, "main~0").source.commit
    upstream.git("commit", "--quiet", "--amend", "-m", "rewritten")
    upstream.push()
    assert fetch(url, "main~0").source.commit == upstream.head != old
    assert fetch(url, old).source.commit == old


def test_a_project_that_calls_git_finds_its_commit_branch_and_remote(
    fetch: Fetcher, git_server: GitServer
) -> None:
    upstream = git_server.upstream()
    checkout = fetch(f"{git_server.url}/project.git#sub")
    at = checkout.directory
    assert run_git("rev-parse", "HEAD", cwd=at) == upstream.head
    assert run_git("rev-parse", "--abbrev-ref", "HEAD", cwd=at) == "main"
    assert run_git("remote", "get-url", "origin", cwd=at) == f"{git_server.url}/project.git"
    assert run_git("status", "--porcelain", cwd=at) == ""
    run_git("commit", "--quiet", "--allow-empty", "-m", "by the project", cwd=at)
    assert run_git("fsck", "--no-dangling", cwd=at) == ""
    assert fetch(f"{git_server.url}/project.git").source.commit == upstream.head


def test_repositories_with_sha256(fetch: Fetcher, tmp_path: Path) -> None:
    bare, tree = tmp_path / "new.git", tmp_path / "new"
    for options in (("--bare", str(bare)), (str(tree),)):
        run_git("init", "--quiet", "--object-format=sha256", "--initial-branch=main", *options)
    upstream = Upstream(bare, tree)
    commit = upstream.commit("first", MLproject="name: long\n")
    assert len(fetch(bare).source.commit) == 64
    assert fetch(bare, commit[:10]).source.commit == commit


def test_a_missing_subdirectory_is_told_and_nothing_stays(
    fetch: Fetcher, upstream: Upstream, home: Home
) -> None:
    with pytest.raises(SourceError) as caught:
        fetch(f"{upstream.bare}#sbu", "main")
    assert "at main has no directory 'sbu'" in caught.value.message
    assert caught.value.hint == "at its top there are: sub"
    assert [entry.name for entry in home.checkouts.iterdir()] == ["gate"]


@pytest.mark.parametrize("version", ["relaese-1", "relaese-1~2", "abcdef12", "1" * 40])
def test_an_unknown_revision(fetch: Fetcher, git_server: GitServer, home: Home, version: str) -> None:
    upstream = git_server.upstream()
    upstream.git("tag", "release-1")
    upstream.push()
    with pytest.raises(SourceError) as caught:
        fetch(f"{git_server.url_with('user:secret')}/project.git", version)
    assert f"'{version}'" in caught.value.message
    assert f"{git_server.url}/project.git" in caught.value.message
    assert "'release-1'" in caught.value.hint
    assert "secret" not in str(caught.value)
    assert not home.checkouts.exists()


def test_a_repository_without_commits(fetch: Fetcher, tmp_path: Path) -> None:
    run_git("init", "--quiet", "--bare", str(tmp_path / "empty.git"))
    with pytest.raises(SourceError, match="no default branch"):
        fetch(tmp_path / "empty.git")
    with pytest.raises(SourceError, match="no branch, tag or commit 'main'; it has none at all"):
        fetch(tmp_path / "empty.git", "main")


def test_an_unknown_repository(fetch: Fetcher, git_server: GitServer, tmp_path: Path, home: Home) -> None:
    for uri in (f"{git_server.url}/nothing.git", f"file://{tmp_path}/nothing.git"):
        with pytest.raises(SourceError, match="is not a Git repository"):
            fetch(uri)
        with pytest.raises(SourceError, match="is not a Git repository"):
            fetch(uri, "1" * 40)
    assert not home.checkouts.exists()


def test_a_host_that_is_not_there(fetch: Fetcher, unused_port: int) -> None:
    for uri in (f"http://127.0.0.1:{unused_port}/p.git", f"git://127.0.0.1:{unused_port}/p.git"):
        with pytest.raises(SourceError, match="cannot be reached") as caught:
            fetch(uri)
        assert "network" in caught.value.hint


def test_a_cached_commit_costs_one_git_process(
    fetch: Fetcher, git_server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = git_server.upstream("other.git")
    uri, commit = f"{git_server.url}/other.git", served.head
    fetch(uri, commit)
    real, counted = shutil.which("git"), tmp_path / "bin" / "git"
    counted.parent.mkdir()
    counted.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/calls\nexec {real} "$@"\n')
    counted.chmod(0o755)
    monkeypatch.setenv("PATH", f"{counted.parent}{os.pathsep}{os.environ['PATH']}")
    fetch(uri, commit)
    assert len((tmp_path / "calls").read_text().splitlines()) == 1
