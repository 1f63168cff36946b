from __future__ import annotations

from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.errors import SourceError
from tests.sources.conftest import Fetcher
from tests.support.git_server import GitServer, Upstream, make_upstream, run_git


def add_submodule(upstream: Upstream, of: Upstream, path: str, url: str = "") -> None:
    """`of` at its current commit, to be had from `url`."""
    upstream.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(of.bare), path)
    upstream.git("config", "--file", ".gitmodules", f"submodule.{path}.url", url or str(of.bare))
    upstream.commit(f"add {path}")


@pytest.fixture
def nested(git_server: GitServer) -> GitServer:
    """project.git holds lib.git at lib, which holds data.git at deep/data."""
    project, lib, data = (git_server.upstream(f"{name}.git") for name in ("project", "lib", "data"))
    data.commit("data", file="content\n")
    add_submodule(lib, data, "deep/data", "../data.git")
    add_submodule(project, lib, "lib", f"{git_server.url}/lib.git")
    data.commit("later", file="other\n")
    lib.commit("later", file="other\n")
    return git_server


def test_submodules_are_there_at_their_commits(fetch: Fetcher, nested: GitServer) -> None:
    root = fetch(f"{nested.url}/project.git").root
    assert (root / "lib/deep/data/file").read_text() == "content\n"
    assert not (root / "lib/file").exists()
    assert run_git("status", "--porcelain", cwd=root) == ""
    assert run_git("remote", "get-url", "origin", cwd=root / "lib/deep/data") == f"{nested.url}/data.git"


def test_cached_submodules_need_no_network(fetch: Fetcher, nested: GitServer) -> None:
    commit = fetch(f"{nested.url}/project.git").source.commit
    del nested.requests[:]
    assert (fetch(f"{nested.url}/project.git", commit).root / "lib/deep/data/file").exists()
    assert nested.requests == []


def test_submodules_behind_the_same_door(fetch: Fetcher, nested: GitServer, home: Home) -> None:
    nested.credentials = "user:s3cr3t"
    root = fetch(f"{nested.url_with('user:s3cr3t')}/project.git").root
    assert (root / "lib/deep/data/file").exists()
    assert all("s3cr3t" not in path.read_text() for path in home.cache.rglob("config"))


def test_submodules_of_a_repository_on_this_machine(fetch: Fetcher, tmp_path: Path) -> None:
    project, lib = make_upstream(tmp_path / "project.git"), make_upstream(tmp_path / "lib.git")
    add_submodule(project, lib, "lib", "../lib.git")
    assert (fetch(f"file://{project.bare}").root / "lib/MLproject").exists()
    assert (fetch(project.tree, "HEAD").root / "lib/MLproject").exists()


@pytest.mark.parametrize("url", ["{}/lib.git", "file://{}/lib.git", "ext::touch {}/owned", "-u{}/lib.git"])
def test_a_remote_has_no_way_to_this_machine(
    fetch: Fetcher, git_server: GitServer, tmp_path: Path, home: Home, url: str
) -> None:
    project, lib = git_server.upstream(), make_upstream(tmp_path / "lib.git")
    add_submodule(project, lib, "lib", url.format(tmp_path))
    with pytest.raises(SourceError, match="submodule 'lib'"):
        fetch(f"{git_server.url}/project.git")
    assert not (tmp_path / "owned").exists()
    assert [entry.name for entry in home.checkouts.iterdir()] == ["gate"]


def test_settings_in_gitmodules_run_nothing(fetch: Fetcher, git_server: GitServer, tmp_path: Path) -> None:
    project, lib = git_server.upstream(), git_server.upstream("lib.git")
    add_submodule(project, lib, "lib", "../lib.git")
    project.git("config", "--file", ".gitmodules", "submodule.lib.update", f"!touch {tmp_path}/owned")
    project.git("config", "--file", ".gitmodules", "include.path", f"{tmp_path}/other")
    project.commit("evil")
    assert (fetch(f"{git_server.url}/project.git").root / "lib/MLproject").exists()
    assert not (tmp_path / "owned").exists()


def test_a_submodule_whose_commit_is_gone(fetch: Fetcher, git_server: GitServer) -> None:
    project, lib = git_server.upstream(), git_server.upstream("lib.git")
    lib.commit("to be lost")
    add_submodule(project, lib, "lib", "../lib.git")
    run_git("update-ref", "refs/heads/main", "main~1", cwd=lib.bare)
    run_git("-c", "gc.pruneExpire=now", "gc", "--quiet", "--prune=now", cwd=lib.bare)
    with pytest.raises(SourceError, match=r"submodule 'lib': .*/lib\.git has no branch, tag or commit"):
        fetch(f"{git_server.url}/project.git")


def test_entries_without_a_commit_are_not_submodules(fetch: Fetcher, upstream: Upstream) -> None:
    upstream.commit("left over", **{".gitmodules": '[submodule "x"]\n\tpath = sub\n\turl = ../x.git\n'})
    assert (fetch(upstream.bare).root / "sub/dir/data").exists()
    upstream.commit("broken", **{".gitmodules": "[submodule\n"})
    with pytest.raises(SourceError, match=r"\.gitmodules"):
        fetch(upstream.bare)
