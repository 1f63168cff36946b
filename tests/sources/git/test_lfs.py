"""Files that Git LFS keeps, from a real server, by the real git-lfs."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.errors import SourceError
from tests.sources.conftest import Fetcher
from tests.sources.test_safety import text_below
from tests.support.git_server import GitServer, Upstream, make_upstream, run_git

LARGE = b"large\0" * 2000


@pytest.fixture(autouse=True)
def _git_lfs() -> None:
    if not shutil.which("git-lfs"):
        if os.environ.get("PROJRUN_TEST_ENGINES"):
            pytest.fail("git-lfs is missing")
        pytest.skip("git-lfs is not installed")


def pointer_to(content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"


def commit_large(upstream: Upstream, **more: str) -> str:
    return upstream.commit(
        "large",
        **{".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"},
        data__a__large="not one of them\n",
        **{"data__x.bin": pointer_to(LARGE), "data__whole.bin": "committed whole\n"},
        **more,
    )


def has(server: GitServer, *contents: bytes) -> None:
    server.large.update({hashlib.sha256(content).hexdigest(): content for content in contents})


def test_large_files_are_there_and_fetched_once(
    fetch: Fetcher, git_server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = git_server.upstream()
    commit = commit_large(upstream)
    has(git_server, LARGE)
    url = f"{git_server.url}/project.git"
    root = fetch(url).root
    assert (root / "data/x.bin").read_bytes() == LARGE
    assert (root / "data/whole.bin").read_text() == "committed whole\n"
    assert "x.bin" not in run_git("status", "--porcelain", cwd=root)
    (root / "data/x.bin").write_bytes(b"changed by the run")
    del git_server.requests[:]
    assert (fetch(url, commit, offline=True).root / "data/x.bin").read_bytes() == LARGE
    assert git_server.requests == []


def test_large_files_behind_a_password(fetch: Fetcher, git_server: GitServer, home: Home) -> None:
    commit_large(git_server.upstream())
    has(git_server, LARGE)
    git_server.credentials = "user:s3cr3t"
    root = fetch(f"{git_server.url_with('user:s3cr3t')}/project.git").root
    assert (root / "data/x.bin").read_bytes() == LARGE
    assert "s3cr3t" not in text_below(home.cache)


def test_large_files_of_a_submodule(fetch: Fetcher, git_server: GitServer) -> None:
    from tests.sources.git.test_submodules import add_submodule

    project, lib = git_server.upstream(), git_server.upstream("lib.git")
    commit_large(lib)
    add_submodule(project, lib, "lib", "../lib.git")
    has(git_server, LARGE)
    assert (fetch(f"{git_server.url}/project.git").root / "lib/data/x.bin").read_bytes() == LARGE


@pytest.mark.parametrize("scheme", ["file://", ""])
def test_large_files_of_a_repository_on_this_machine(fetch: Fetcher, tmp_path: Path, scheme: str) -> None:
    upstream = make_upstream(tmp_path / "project.git")
    upstream.git("lfs", "install", "--local")
    upstream.git("lfs", "track", "*.bin")
    (upstream.tree / "x.bin").write_bytes(LARGE)
    upstream.git("remote", "add", "origin", f"file://{upstream.bare}")
    upstream.git("add", "--all")
    upstream.git("commit", "--quiet", "-m", "large")
    upstream.git("push", "--quiet", "origin", "main")
    assert (fetch(f"{scheme}{upstream.bare}").root / "x.bin").read_bytes() == LARGE
    assert (fetch(upstream.tree, "main").root / "x.bin").read_bytes() == LARGE


def test_what_the_server_lacks_is_told(fetch: Fetcher, git_server: GitServer, home: Home) -> None:
    commit_large(git_server.upstream())
    with pytest.raises(SourceError, match=r"1 file \(x\.bin\)|no such object|LFS"):
        fetch(f"{git_server.url}/project.git")
    assert [entry.name for entry in home.checkouts.iterdir()] == ["gate"]


def test_offline_without_them(fetch: Fetcher, git_server: GitServer, home: Home) -> None:
    commit = commit_large(git_server.upstream())
    has(git_server, LARGE)
    url = f"{git_server.url}/project.git"
    fetch(url)
    (bare,) = home.git.glob("*.git")
    shutil.rmtree(bare / "lfs")
    with pytest.raises(SourceError, match=r"offline, and the cache does not have 1 file \(x\.bin\)"):
        fetch(url, commit, offline=True)


def test_git_lfs_is_needed_and_missing(
    fetch: Fetcher, git_server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_large(git_server.upstream())
    has(git_server, LARGE)
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("git", "sh"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(SourceError, match="git-lfs is not installed") as caught:
        fetch(f"{git_server.url}/project.git")
    assert "apt install git-lfs" in caught.value.hint


def test_a_server_that_the_tree_names_on_another_host_is_refused(
    fetch: Fetcher, git_server: GitServer
) -> None:
    config = "[lfs]\n\turl = http://localhost:1/evil/lfs\n"
    commit_large(git_server.upstream(), **{".lfsconfig": config})
    has(git_server, LARGE)
    with pytest.raises(SourceError, match=r"sends Git LFS to another place, http://localhost:1/evil/lfs"):
        fetch(f"{git_server.url}/project.git")
    assert not any("/lfs/" in path for path in git_server.requests)


def test_a_server_that_the_tree_names_on_the_same_host_is_asked(
    fetch: Fetcher, git_server: GitServer
) -> None:
    config = f"[lfs]\n\turl = {git_server.url}/elsewhere/lfs\n"
    commit_large(git_server.upstream(), **{".lfsconfig": config})
    has(git_server, LARGE)
    assert (fetch(f"{git_server.url}/project.git").root / "data/x.bin").read_bytes() == LARGE
    assert any(path.startswith("/elsewhere/lfs/") for path in git_server.requests)


def test_settings_of_the_tree_run_nothing(fetch: Fetcher, git_server: GitServer, tmp_path: Path) -> None:
    evil = f"touch {tmp_path}/owned"
    config = (
        f'[lfs]\n\tstandalonetransferagent = evil\n[lfs "customtransfer.evil"]\n\tpath = {evil}\n'
        f'[lfs "extension.evil"]\n\tclean = {evil}\n\tsmudge = {evil}\n'
        f"[credential]\n\thelper = !{evil}\n[core]\n\tsshCommand = {evil}\n"
    )
    commit_large(git_server.upstream(), **{".lfsconfig": config})
    has(git_server, LARGE)
    assert (fetch(f"{git_server.url}/project.git").root / "data/x.bin").read_bytes() == LARGE
    assert not (tmp_path / "owned").exists()


def test_a_pointer_behind_a_link_is_not_followed(
    fetch: Fetcher, git_server: GitServer, tmp_path: Path
) -> None:
    upstream = git_server.upstream()
    outside = tmp_path / "outside.bin"
    outside.write_text(pointer_to(LARGE))
    (upstream.tree / "link.bin").symlink_to(outside)
    commit_large(upstream)
    has(git_server, LARGE)
    fetch(f"{git_server.url}/project.git")
    assert outside.read_text() == pointer_to(LARGE)
