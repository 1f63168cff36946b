from __future__ import annotations

import os
from pathlib import Path

import pytest

from projrun import sources
from projrun.disk import Home
from projrun.errors import SourceError
from tests.sources.conftest import Fetcher
from tests.support.git_server import Upstream, make_upstream, run_git


@pytest.fixture
def tree(upstream: Upstream) -> Path:
    """A clone of the user's own."""
    clone = upstream.bare.with_name("clone")
    run_git("clone", "--quiet", "--", str(upstream.bare), str(clone))
    return clone


def everything_in(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Content and modification time of every file, those of .git too."""
    return {
        str(path): (path.read_bytes() if path.is_file() else b"", path.lstat().st_mtime_ns)
        for path in directory.rglob("*")
    }


def test_a_directory_is_used_in_place(
    fetch: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "plain"
    directory.mkdir()
    monkeypatch.setenv("PATH", "")  # outside Git no process is asked
    for uri in (str(directory), f"file://{directory}", f"'{directory}'"):
        checkout = fetch(uri)
        assert checkout.root == checkout.directory == directory
        assert (checkout.source.kind, checkout.source.commit) == ("local", "")
        assert not checkout.temporary
    monkeypatch.chdir(directory)
    assert fetch(".").directory == directory


def test_a_directory_in_git_says_which_tree_it_is(fetch: Fetcher, tree: Path, upstream: Upstream) -> None:
    checkout = fetch(tree / "sub")
    assert checkout.root == tree
    assert checkout.directory == tree / "sub"
    source = checkout.source
    assert source.commit == upstream.head
    assert (source.branch, source.subdirectory, source.dirty) == ("main", "sub", False)
    assert source.repository == str(upstream.bare)
    assert checkout.notices == ()


def test_the_subdirectory_after_the_hash(fetch: Fetcher, tree: Path) -> None:
    assert fetch(f"{tree}#sub/dir").directory == tree / "sub/dir"
    assert fetch(f"{tree}#sub/dir/").source.subdirectory == "sub/dir"
    assert fetch(f"file://{tree}#sub").directory == tree / "sub"


def test_a_directory_whose_name_has_a_hash_wins(fetch: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "a#b" / "c").mkdir(parents=True)
    assert fetch(tmp_path / "a#b").directory == tmp_path / "a#b"
    assert fetch(f"{tmp_path}/a#b#c").directory == tmp_path / "a#b" / "c"


@pytest.mark.parametrize("bad", ["nothing", "../clone-other", "/etc", "sub/../..", ".git"])
def test_a_subdirectory_that_is_not_there_or_leads_out(fetch: Fetcher, tree: Path, bad: str) -> None:
    with pytest.raises(SourceError) as caught:
        fetch(f"{tree}#{bad}")
    assert caught.value.hint


def test_a_subdirectory_that_is_a_link_out_of_the_tree(fetch: Fetcher, tree: Path) -> None:
    (tree / "out").symlink_to("/etc")
    with pytest.raises(SourceError, match="leads out"):
        fetch(f"{tree}#out")


def test_a_directory_behind_a_link_belongs_to_its_repository(
    fetch: Fetcher, tree: Path, upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(tree / "sub")
    source = fetch(tmp_path / "link").source
    assert (source.commit, source.subdirectory) == (upstream.head, "sub")


@pytest.mark.parametrize("change", ["changed", "staged", "untracked", "deleted"])
def test_every_difference_makes_it_dirty(fetch: Fetcher, tree: Path, change: str) -> None:
    if change == "deleted":
        (tree / "MLproject").unlink()
    else:
        (tree / ("new" if change == "untracked" else "MLproject")).write_text("other")
    if change == "staged":
        run_git("add", "MLproject", cwd=tree)
    assert fetch(tree / "sub").source.dirty


def test_ignored_files_do_not_make_it_dirty(fetch: Fetcher, tree: Path) -> None:
    (tree / ".git/info/exclude").write_text("*.tmp\n")
    (tree / "some.tmp").write_text("")
    assert not fetch(tree).source.dirty


def test_untracked_files_count_whatever_the_users_settings(fetch: Fetcher, tree: Path) -> None:
    run_git("config", "status.showUntrackedFiles", "no", cwd=tree)
    (tree / "new").write_text("")
    assert fetch(tree).source.dirty


def test_a_detached_head_has_no_branch(fetch: Fetcher, tree: Path, upstream: Upstream) -> None:
    run_git("checkout", "--quiet", "--detach", cwd=tree)
    source = fetch(tree).source
    assert (source.commit, source.branch) == (upstream.head, "")


def test_a_repository_without_commits(fetch: Fetcher, tmp_path: Path) -> None:
    run_git("init", "--quiet", "--initial-branch=main", str(tmp_path / "fresh"))
    source = fetch(tmp_path / "fresh").source
    assert (source.commit, source.branch, source.repository, source.dirty) == ("", "main", "", False)
    with pytest.raises(SourceError, match="no branch, tag or commit 'main'"):
        fetch(tmp_path / "fresh", "main")


def test_credentials_of_the_remote_are_removed(fetch: Fetcher, tree: Path) -> None:
    run_git("remote", "set-url", "origin", "https://user:secret@example.org/p.git", cwd=tree)
    assert fetch(tree).source.repository == "https://example.org/p.git"
    run_git("remote", "set-url", "origin", "git@example.org:p.git", cwd=tree)
    assert fetch(tree).source.repository == "git@example.org:p.git"


def test_another_remote_serves_when_there_is_no_origin(fetch: Fetcher, tree: Path) -> None:
    run_git("remote", "rename", "origin", "upstream", cwd=tree)
    assert fetch(tree).source.repository.endswith("project.git")


def test_a_worktree_is_a_tree_too(fetch: Fetcher, tree: Path, tmp_path: Path, upstream: Upstream) -> None:
    run_git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "second"), cwd=tree)
    source = fetch(tmp_path / "second").source
    assert (source.commit, source.branch) == (upstream.head, "side")
    assert fetch(tmp_path / "second", "side").source.branch == "side"


def test_without_git_the_project_runs_and_the_user_is_told(
    fetch: Fetcher, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    checkout = fetch(tree)
    assert checkout.source.commit == ""
    assert len(checkout.notices) == 1
    assert "not recorded" in checkout.notices[0]


def test_a_repository_that_git_distrusts_runs_and_the_user_is_told(fetch: Fetcher, tree: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a directory away")
    for path in (tree, tree / ".git"):
        os.chown(path, 12345, 12345)
    checkout = fetch(tree)
    assert checkout.source.commit == ""
    assert "dubious ownership" in checkout.notices[0]
    with pytest.raises(SourceError, match=r"safe\.directory"):
        fetch(tree, "main")


def test_a_repository_that_is_broken_runs_and_the_user_is_told(fetch: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "broken/.git").mkdir(parents=True)
    checkout = fetch(tmp_path / "broken")
    assert checkout.directory == tmp_path / "broken"
    assert "not a git repository" in checkout.notices[0]


def test_looking_changes_nothing(fetch: Fetcher, tree: Path) -> None:
    os.utime(tree / "MLproject", (1, 1))  # git status would like to refresh the index
    before = everything_in(tree)
    fetch(tree)
    assert everything_in(tree) == before


def test_a_version_is_checked_out_apart_and_the_users_tree_stays(
    fetch: Fetcher, tree: Path, upstream: Upstream
) -> None:
    first = upstream.head
    (tree / "MLproject").write_text("name: second\n")
    run_git("commit", "--quiet", "-am", "second", cwd=tree)
    (tree / "MLproject").write_text("name: dirty\n")
    (tree / "new").write_text("")
    os.utime(tree / "sub/dir/data", (1, 1))
    before = everything_in(tree)
    checkout = fetch(f"{tree}#sub", first[:9])
    assert checkout.temporary
    assert (checkout.root / "MLproject").read_text() == "name: served\n"
    assert checkout.directory == checkout.root / "sub"
    assert not (checkout.root / "new").exists()
    source = checkout.source
    assert (source.kind, source.commit, source.version) == ("local", first, first[:9])
    assert (source.branch, source.subdirectory, source.dirty) == ("", "sub", False)
    assert source.repository == str(upstream.bare)
    assert fetch(tree, "HEAD").source.commit == run_git("rev-parse", "HEAD", cwd=tree)
    assert everything_in(tree) == before


def test_a_version_names_a_branch_a_tag_or_a_branch_of_the_remote(
    fetch: Fetcher, tree: Path, upstream: Upstream
) -> None:
    run_git("tag", "-a", "-m", "one", "v1", cwd=tree)
    run_git("branch", "side", cwd=tree)
    upstream.git("branch", "theirs")
    upstream.push()
    run_git("fetch", "--quiet", cwd=tree)
    branches = {version: fetch(tree, version).source.branch for version in ("v1", "side", "theirs", "main~0")}
    assert branches == {"v1": "", "side": "side", "theirs": "theirs", "main~0": ""}


def test_a_subdirectory_that_only_the_version_has(fetch: Fetcher, tree: Path) -> None:
    run_git("rm", "--quiet", "-r", "sub", cwd=tree)
    run_git("commit", "--quiet", "-m", "gone", cwd=tree)
    assert (fetch(f"{tree}#sub/dir", "HEAD~1").directory / "data").read_text() == "deep\n"
    with pytest.raises(SourceError, match="at HEAD has no directory 'sub/dir'"):
        fetch(f"{tree}#sub/dir", "HEAD")


def test_the_version_of_a_project_below_the_top(fetch: Fetcher, tree: Path) -> None:
    checkout = fetch(tree / "sub", "main")
    assert checkout.directory == checkout.root / "sub"
    assert checkout.source.subdirectory == "sub"


def test_a_shallow_clone_can_give_its_version(fetch: Fetcher, upstream: Upstream, tmp_path: Path) -> None:
    upstream.commit("second")
    clone = tmp_path / "shallow"
    run_git("clone", "--quiet", "--depth=1", f"file://{upstream.bare}", str(clone))
    checkout = fetch(clone, "main")
    assert run_git("log", "--format=%s", cwd=checkout.root) == "second"


def test_an_unknown_version_suggests_one(fetch: Fetcher, tree: Path, home: Home) -> None:
    run_git("tag", "release-1", cwd=tree)
    with pytest.raises(SourceError) as caught:
        fetch(tree, "relaese-1")
    assert "'relaese-1'" in caught.value.message
    assert caught.value.hint == "did you mean 'release-1'?"
    assert not home.checkouts.exists()


def test_a_version_needs_a_repository(fetch: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(SourceError, match="not a Git repository"):
        fetch(tmp_path / "plain", "v1")


@pytest.mark.parametrize("version", ["-x", "--output=/tmp/x", "a\nb", "a\x1b"])
def test_a_version_that_is_no_name_is_refused(fetch: Fetcher, tree: Path, version: str) -> None:
    with pytest.raises(SourceError, match="cannot be a version"):
        fetch(tree, version)


def test_the_callers_repository_in_the_environment_is_not_ours(
    fetch: Fetcher, tree: Path, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git sets such variables inside a hook."""
    other = make_upstream(tmp_path / "other.git")
    other.commit("another", file="x")
    monkeypatch.setenv("GIT_DIR", str(other.tree / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.tree))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.tree / ".git/index"))
    head = run_git("--git-dir", str(upstream.bare), "rev-parse", "main")
    assert fetch(tree).source.commit == head
    assert fetch(tree, "main").source.commit == head
    assert fetch(upstream.bare).source.commit == head


def test_what_is_nothing_at_all(home: Home) -> None:
    with pytest.raises(SourceError, match="neither a directory, an archive nor a Git URL"):
        sources.fetch("no/such/thing", "", home)
