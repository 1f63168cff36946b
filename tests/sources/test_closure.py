"""The tree of a run comes back byte for byte, and taking it down touches nothing."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projrun import sources
from projrun.disk import Home
from projrun.errors import ProjrunError, SourceError
from projrun.plan import Checkout
from projrun.sources.closure import Captured
from tests.sources.conftest import Fetcher
from tests.support.git_server import Upstream, run_git

Tree = dict[bytes, tuple[str, bytes]]
EXAMPLES = int(os.environ.get("PROJRUN_TEST_EXAMPLES", "25"))


def snapshot(top: Path) -> Tree:
    """Every file and link that is neither Git's own nor ignored (*.ign), with kind and content."""
    found: Tree = {}
    for directory, inside, names in os.walk(os.fsencode(top)):
        inside[:] = [name for name in inside if name != b".git"]
        links = [name for name in inside if os.path.islink(os.path.join(directory, name))]
        for name in (*names, *links):
            path = os.path.join(directory, name)
            if name == b".git" or name.endswith(b".ign"):
                continue
            if os.path.islink(path):
                found[os.path.relpath(path, os.fsencode(top))] = ("link", os.readlink(path))
            else:
                kind = "program" if os.stat(path).st_mode & 0o100 else "file"
                found[os.path.relpath(path, os.fsencode(top))] = (kind, Path(os.fsdecode(path)).read_bytes())
    return found


def every_stat(top: Path) -> dict[str, tuple[int, ...]]:
    """All that stat says of everything below, Git's files too, but for when it was read last."""
    result: dict[str, tuple[int, ...]] = {}
    for path in (top, *top.rglob("*")):
        s = path.lstat()
        result[str(path)] = (s.st_mode, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_nlink)
    return result


@pytest.fixture
def tree(upstream: Upstream) -> Path:
    """A clone of the user's own."""
    clone = upstream.bare.with_name("clone")
    run_git("clone", "--quiet", "--", str(upstream.bare), str(clone))
    return clone


class Capturer:
    def __init__(self, home: Home) -> None:
        self._home = home
        self._checkouts: list[Checkout] = []

    def __call__(self, uri: str | Path, version: str = "") -> tuple[Checkout, Captured]:
        checkout = sources.fetch(str(uri), version, self._home)
        self._checkouts.append(checkout)
        return checkout, sources.capture(checkout, self._home)

    def restore(self, checkout: Checkout, captured: Captured) -> Path:
        assert captured.closure is not None, captured.notices
        restored = sources.restore(checkout.source, captured.closure, captured.file, self._home)
        self._checkouts.append(restored)
        return restored.root

    def isolate(self, checkout: Checkout, captured: Captured) -> Path:
        apart = sources.isolate(checkout, captured, self._home)
        self._checkouts.append(apart)
        return apart.root

    def comes_back(self, uri: str | Path, version: str = "") -> Captured:
        """Both ways give the very tree; the captured closure."""
        checkout, captured = self(uri, version)
        expected = snapshot(checkout.root)
        assert snapshot(self.restore(checkout, captured)) == expected
        assert snapshot(self.isolate(checkout, captured)) == expected
        return captured

    def release(self) -> None:
        for checkout in self._checkouts:
            sources.release(checkout, self._home)


@pytest.fixture
def capture(home: Home) -> Iterator[Capturer]:
    capturer = Capturer(home)
    yield capturer
    capturer.release()


# the property

NAMES = [
    "a",
    "b.txt",
    "d/x",
    "d/y",
    "d",
    "e/f/g",
    "-dash",
    "new\nline",
    "ünï",
    "with space",
    "é/ß",
    " ",
    '"q"',
]
RAW_NAMES = [*map(os.fsencode, NAMES), b"\xff\xfe", b"n" * 120, b"l" * 100 + b"/" + b"m" * 100]
CONTENTS = [b"", b"one\n", b"one\r\ntwo\r\n", b"mixed\r\nends\n", b"\0\1\xff", b"$Id$\n", b"x" * 5000]
ATTRIBUTES = ["* text=auto\n", "*.txt eol=crlf\n", "* ident\n", "* filter=rot\n", "* -text\n"]
names = st.sampled_from(RAW_NAMES)
edits = st.one_of(
    st.tuples(st.just("write"), names, st.sampled_from(CONTENTS)),
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("rename"), names, names),
    st.tuples(st.just("chmod"), names),
    st.tuples(st.just("link"), names, st.sampled_from([b"a", b"d", b"/nowhere", b"../out"])),
    st.tuples(
        st.just("git"), st.sampled_from([("add", "-A"), ("add", "-N", "."), ("checkout", "-q", "--detach")])
    ),
    st.tuples(
        st.just("git"),
        st.sampled_from([("rm", "-q", "--cached", "-r", "--ignore-unmatch", "d"), ("reset", "-q")]),
    ),
    st.tuples(st.just("commit")),
    st.tuples(st.just("push")),
    st.tuples(st.just("attributes"), st.sampled_from(ATTRIBUTES)),
    st.tuples(
        st.just("git"), st.sampled_from([("config", "core.autocrlf", "true"), ("checkout", "-q", "--", ".")])
    ),
    st.tuples(
        st.just("git"),
        st.sampled_from([("update-index", "--assume-unchanged", "a"), ("sparse-checkout", "set", "d")]),
    ),
    st.tuples(st.just("git"), st.just(("update-index", "--index-version", "4"))),
    st.tuples(st.just("nested"), st.sampled_from(["inner", "d/inner"])),
    st.tuples(st.just("submodule")),
    st.tuples(st.just("merge")),
)


class Scene:
    """A user's repository with or without a remote, and what the user does in it."""

    def __init__(self, root: Path, shape: str) -> None:
        self.root, self.bare, self.top = root, root / "remote.git", root / "work"
        run_git("init", "-q", "--bare", str(self.bare))
        run_git("init", "-q", str(self.top))
        if shape != "no commits":
            for name, content in ((b"a", b"1\n"), (b"b.txt", b"2\n"), (b"d/x", b"3\n"), (b"d/y", b"\xff\0")):
                self.write(name, content)
            self.commit()
        if shape not in ("no commits", "no remote"):
            self.try_git("remote", "add", "origin", str(self.bare))
            self.push()
        if shape in ("shallow", "worktree"):
            self.commit()
            self.push()
            other = root / "other"
            if shape == "shallow":
                run_git("clone", "-q", "--depth=1", f"file://{self.bare}", str(other))
            else:
                self.try_git("worktree", "add", "-q", "-b", "side", str(other))
            self.top = other
        self.try_git("config", "filter.rot.clean", "tr a-y b-z")
        self.try_git("config", "filter.rot.smudge", "tr b-z a-y")
        (self.top / ".gitignore").write_text("*.ign\n")
        (self.top / "secret.ign").write_text("ignored")

    def try_git(self, *arguments: str) -> None:
        """Not all that a random user tries succeeds."""
        import subprocess

        subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *arguments], cwd=self.top, capture_output=True
        )

    def write(self, name: bytes, content: bytes) -> None:
        path = Path(os.fsdecode(os.path.join(os.fsencode(self.top), name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            path.unlink()
        path.write_bytes(content)

    def delete(self, name: bytes) -> None:
        path = self.top / os.fsdecode(name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

    def rename(self, old: bytes, new: bytes) -> None:
        target = self.top / os.fsdecode(new)
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.top / os.fsdecode(old)).rename(target)

    def chmod(self, name: bytes) -> None:
        path = self.top / os.fsdecode(name)
        if path.is_file() and not path.is_symlink():
            path.chmod(path.stat().st_mode ^ 0o111)

    def link(self, name: bytes, target: bytes) -> None:
        (self.top / os.fsdecode(name)).symlink_to(os.fsdecode(target))

    def git(self, arguments: tuple[str, ...]) -> None:
        self.try_git(*arguments)

    def commit(self) -> None:
        self.try_git("add", "-A")
        self.try_git("commit", "-q", "--allow-empty", "-m", "change")

    def push(self) -> None:
        self.try_git("push", "-q", "origin", "HEAD:refs/heads/main")

    def attributes(self, text: str) -> None:
        (self.top / ".gitattributes").write_text(text)

    def nested(self, name: str) -> None:
        (self.top / name).mkdir(parents=True, exist_ok=True)  # an OSError where a file is in the way
        run_git("init", "-q", str(self.top / name))
        (self.top / name / "file").write_text("inside")
        (self.top / name / "not.ign").write_text("ignored")
        (self.top / name / ".gitignore").write_text("*.ign\n")

    def submodule(self) -> None:
        other = self.root / "library"
        if not other.exists():
            run_git("init", "-q", str(other))
            (other / "lib").write_text("library")
            run_git("add", "-A", cwd=other)
            run_git("commit", "-q", "-m", "library", cwd=other)
        self.try_git("submodule", "add", "-q", str(other), "module")
        if (self.top / "module/lib").exists():
            (self.top / "module/lib").write_text("changed in place")

    def merge(self) -> None:
        """A merge with a conflict, left as it is."""
        self.commit()
        self.try_git("checkout", "-q", "-b", "theirs", "HEAD~1")
        self.write(b"a", b"theirs\n")
        self.commit()
        self.try_git("checkout", "-q", "-")
        self.write(b"a", b"ours\n")
        self.commit()
        self.try_git("merge", "theirs")


SHAPES = ["pushed", "no remote", "no commits", "shallow", "worktree"]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(shape=st.sampled_from(SHAPES), steps=st.lists(edits, max_size=8))
def test_any_tree_comes_back_as_it_was(shape: str, steps: list[tuple[object, ...]], home: Home) -> None:
    with tempfile.TemporaryDirectory() as directory:
        scene = Scene(Path(directory), shape)
        for what, *arguments in steps:
            try:
                getattr(scene, str(what))(*arguments)
            except OSError:
                continue  # such as a file in the way of a directory
        capturer = Capturer(home)
        before = every_stat(scene.root)
        try:
            capturer.comes_back(scene.top)
        finally:
            capturer.release()
        assert every_stat(scene.root) == before


# what is recorded


def test_a_clean_and_pushed_tree_is_its_commit(capture: Capturer, tree: Path, upstream: Upstream) -> None:
    closure = capture.comes_back(tree).closure
    assert closure is not None
    assert (closure.remote, closure.commit, closure.artifact) == (str(upstream.bare), upstream.head, "")


def test_a_clean_tree_costs_one_process(
    capture: Capturer, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted_git(tmp_path, monkeypatch)
    capture(tree)
    assert [line.split()[-1] for line in calls.read_text().splitlines()] == ["status"]


def test_a_dirty_tree_costs_one_process_too(
    capture: Capturer, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "MLproject").write_text("changed")
    (tree / "new").write_text("")
    calls = counted_git(tmp_path, monkeypatch)
    capture(tree)
    assert len(calls.read_text().splitlines()) == 1


def counted_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that gets a line for every git that is started: its subcommand."""
    real, calls = shutil.which("git"), tmp_path / "calls"
    script = tmp_path / "bin/git"
    script.parent.mkdir()
    script.write_text(
        "#!/bin/sh\n"
        'for word; do case "$word" in status|config|ls-files|rev-list|for-each-ref|diff-tree|read-tree)'
        f' echo "$word" >> {calls}; break;; esac; done\nexec {real} "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    return calls


def test_what_differs_is_kept_and_nothing_else(capture: Capturer, tree: Path, upstream: Upstream) -> None:
    (tree / "MLproject").write_text("name: changed\n")
    (tree / "sub/dir/data").unlink()
    (tree / "new").write_text("new")
    captured = capture.comes_back(tree)
    assert captured.closure is not None
    assert captured.file is not None
    with tarfile.open(captured.file) as archive:
        assert archive.getnames() == ["status", "removed", "tree/MLproject", "tree/new"]
        removed = archive.extractfile("removed")
        status = archive.extractfile("status")
        assert removed is not None
        assert status is not None
        assert removed.read() == b"sub/dir/data\0"
        assert b"1 .M" in status.read()
    assert (captured.closure.commit, captured.closure.files) == (upstream.head, 2)


def test_commits_that_were_not_pushed_are_kept_as_what_they_change(
    capture: Capturer, tree: Path, upstream: Upstream
) -> None:
    (tree / "second").write_text("2")
    run_git("add", "-A", cwd=tree)
    run_git("commit", "-q", "-m", "second", cwd=tree)
    checkout, captured = capture(tree)
    assert captured.closure is not None
    assert (captured.closure.commit, captured.closure.files) == (upstream.head, 1)
    assert checkout.source.commit == run_git("rev-parse", "HEAD", cwd=tree)
    apart = capture.isolate(checkout, captured)
    assert run_git("rev-parse", "HEAD", cwd=apart) == checkout.source.commit
    assert run_git("status", "--porcelain", cwd=apart) == ""
    capture.comes_back(tree)


def test_a_commit_behind_the_tip_of_the_remote_needs_no_artifact(
    capture: Capturer, tree: Path, upstream: Upstream
) -> None:
    upstream.commit("later", later="x")
    run_git("fetch", "-q", cwd=tree)
    closure = capture.comes_back(tree).closure
    assert closure is not None
    assert closure.artifact == ""


def test_only_a_commit_that_the_remote_has_is_taken_for_pushed(capture: Capturer, tree: Path) -> None:
    run_git("remote", "set-url", "origin", "https://user:secret@127.0.0.1:1/gone.git", cwd=tree)
    checkout, captured = capture(tree)
    assert captured.closure is not None
    assert captured.closure.remote == "https://127.0.0.1:1/gone.git"
    assert "secret" not in repr((checkout, captured.closure)).replace("settings", "").split("worktree")[0]
    run_git("remote", "remove", "origin", cwd=tree)
    closure = capture.comes_back(tree).closure
    assert closure is not None
    assert (closure.remote, closure.commit, closure.files) == ("", "", 2)


def test_a_version_that_only_this_machine_has(capture: Capturer, tree: Path) -> None:
    closure = capture(tree, "main")[1].closure
    assert closure is not None
    assert closure.artifact == ""
    (tree / "MLproject").write_text("name: here alone\n")
    run_git("commit", "-q", "-am", "not pushed", cwd=tree)
    (tree / "MLproject").write_text("dirty")
    checkout, captured = capture(tree, "main")
    assert (capture.restore(checkout, captured) / "MLproject").read_text() == "name: here alone\n"


def test_equal_trees_share_one_artifact(capture: Capturer, tree: Path, home: Home) -> None:
    (tree / "new").write_text("x")
    first, second = capture(tree)[1], capture(tree)[1]
    assert first.closure == second.closure
    assert [entry.name for entry in home.sources.iterdir()] == [first.file.name] if first.file else False


def test_large_files_are_recorded_by_digest(
    capture: Capturer, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROJRUN_SOURCE_FILE_LIMIT", "0.001")
    (tree / "data.bin").write_bytes(bytes(1001))
    checkout, captured = capture(tree)
    assert captured.closure is not None
    (unkept,) = captured.closure.unkept
    assert (unkept.path, unkept.size, len(unkept.sha256)) == ("data.bin", 1001, 64)
    assert "data.bin" in captured.notices[0]
    assert "PROJRUN_SOURCE_FILE_LIMIT" in captured.notices[0]
    with pytest.raises(SourceError, match=r"by digest alone: data\.bin"):
        capture.isolate(checkout, captured)
    monkeypatch.delenv("PROJRUN_SOURCE_FILE_LIMIT")
    monkeypatch.setenv("PROJRUN_SOURCE_LIMIT", "0.0015")
    (tree / "small").write_bytes(bytes(600))
    closure = capture(tree)[1].closure
    assert closure is not None
    assert [file.path for file in closure.unkept] == ["data.bin"]
    monkeypatch.setenv("PROJRUN_SOURCE_LIMIT", "much")
    with pytest.raises(ProjrunError, match="PROJRUN_SOURCE_LIMIT=much"):
        capture(tree)


def test_an_artifact_that_was_changed_is_refused(capture: Capturer, tree: Path) -> None:
    (tree / "new").write_text("x")
    checkout, captured = capture(tree)
    assert captured.file is not None
    captured.file.write_bytes(b"other")
    with pytest.raises(SourceError, match="is not what was recorded"):
        capture.restore(checkout, captured)


def test_an_artifact_that_nobody_has_goes_after_a_day(capture: Capturer, tree: Path, tmp_path: Path) -> None:
    (tree / "new").write_text("x")
    old, held = capture(tree)[1].file, None
    (tree / "new").write_text("y")
    held = capture(tree)[1].file
    assert old is not None
    assert held is not None
    os.link(held, tmp_path / "a run's")
    long_ago = time.time() - 1e6
    for file in (old, held):
        os.utime(file, (long_ago, long_ago))
    (tree / "new").write_text("z")
    capture(tree)
    assert (old.exists(), held.exists()) == (False, True)


# directories without Git


def plain(tmp_path: Path, **contents: str) -> Path:
    top = tmp_path / "plain"
    for name, content in contents.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return top


def test_a_directory_without_git_comes_back_whole(capture: Capturer, tmp_path: Path) -> None:
    top = plain(tmp_path, **{"a": "1", "d/b": "2", "n\nl": "3"})
    (top / "empty/inner").mkdir(parents=True)
    (top / "link").symlink_to("/etc/passwd")
    (top / "a").chmod(0o755)
    before = every_stat(top)
    checkout, captured = capture(top)
    restored = capture.restore(checkout, captured)
    assert snapshot(restored) == snapshot(top)
    assert (restored / "empty/inner").is_dir()
    assert every_stat(top) == before


def test_what_is_made_anew_and_what_is_secret_is_left_out(capture: Capturer, tmp_path: Path) -> None:
    top = plain(
        tmp_path,
        **{
            **dict.fromkeys(
                ("__pycache__/m.pyc", "mlruns/0/x", "myenv/pyvenv.cfg", "myenv/bin/x", ".env"), ""
            ),
            **dict.fromkeys(("data/keep.csv", "data/drop.csv", "deep/data/drop.csv", "log.txt", "a.tmp"), ""),
            ".projrunignore": "# a comment\n/data/drop.csv\n*.tmp\nlog?txt\n!.env\n",
        },
    )
    checkout, captured = capture(top)
    names = {os.fsdecode(name) for name in snapshot(capture.restore(checkout, captured))}
    assert names == {".projrunignore", ".env", "data/keep.csv", "deep/data/drop.csv"}


@pytest.mark.parametrize("in_git", [False, True])
def test_our_own_places_in_the_tree_are_no_source(in_git: bool, tmp_path: Path) -> None:
    """In CI, PROJRUN_HOME is often a directory of the checkout."""
    top = tmp_path / "project"
    home = Home(cache=top / "build" / "cache", data=top / "data")
    for file in (top / "data.csv", top / "build" / "kept", home.data / "tracking.db", home.cache / "big"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.name)
    if in_git:
        run_git("init", "--quiet", str(top))
    capturer = Capturer(home)
    for _ in range(2):
        checkout, captured = capturer(top)
        assert captured.closure is not None
        assert captured.closure.files == 2
        restored = capturer.restore(checkout, captured)
        assert {str(file.relative_to(restored)) for file in restored.rglob("*") if file.is_file()} == {
            *("data.csv", "build/kept")
        }
    capturer.release()


@pytest.mark.parametrize(
    ("pattern", "left_out"),
    [
        ("*.log", {"a.log", "d/a.log", "d/e/a.log"}),
        ("/*.log", {"a.log"}),
        ("d/*.log", {"d/a.log"}),
        ("**/e", {"d/e/a.log", "d/e/b"}),
        ("e/", {"d/e/a.log", "d/e/b"}),
        ("d/**", {"d/a.log", "d/e/a.log", "d/e/b"}),
        ("[a-b]", {"d/e/b"}),
        ("[!b].log", {"a.log", "d/a.log", "d/e/a.log"}),
        ("*.log\n!d/a.log", {"a.log", "d/e/a.log"}),
        ("\\#x", {"#x"}),
        ("#x", set()),
        ("d/**/b", {"d/e/b"}),
    ],
)
def test_the_ignore_file_means_what_it_means_to_git(
    tmp_path: Path, capture: Capturer, pattern: str, left_out: set[str]
) -> None:
    all_names = {"a.log", "d/a.log", "d/e/a.log", "d/e/b", "#x"}
    top = plain(tmp_path, **dict.fromkeys(all_names, ""))
    (top / ".projrunignore").write_text(pattern)
    checkout, captured = capture(top)
    kept = {os.fsdecode(name) for name in snapshot(capture.restore(checkout, captured))} - {".projrunignore"}
    assert kept == all_names - left_out
    run_git("init", "-q", str(top))
    run_git("config", "core.excludesFile", str(top / ".projrunignore"), cwd=top)
    listed = run_git("ls-files", "--others", "--exclude-standard", "-z", cwd=top).split("\0")
    assert {name for name in listed if name} - {".projrunignore"} == kept


def test_too_many_files_are_told_and_the_project_runs(
    capture: Capturer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projrun.sources.plain_files.MAX_FILES", 1)
    checkout, captured = capture(plain(tmp_path, a="", b=""))
    assert captured.closure is None
    assert "more than 1 files" in captured.notices[0]
    with pytest.raises(SourceError, match=r"--isolated.*more than 1 files"):
        capture.isolate(checkout, captured)


def test_a_file_that_may_not_be_read_is_told(capture: Capturer, tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may read all")
    top = plain(tmp_path, a="")
    (top / "a").chmod(0)
    assert "Permission denied" in capture(top)[1].notices[0]


# --require-clean


@pytest.mark.parametrize("change", ["changed", "staged", "untracked"])
def test_require_clean_names_what_is_not(fetch: Fetcher, tree: Path, change: str) -> None:
    sources.require_clean(fetch(tree))
    name = "new" if change == "untracked" else "MLproject"
    (tree / name).write_text("other")
    if change == "staged":
        run_git("add", name, cwd=tree)
    with pytest.raises(SourceError, match=f"is not as its commit: {name}"):
        sources.require_clean(fetch(tree))
    sources.require_clean(fetch(tree, "main"))


def test_require_clean_needs_a_commit(fetch: Fetcher, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no commit"):
        sources.require_clean(fetch(plain(tmp_path, a="")))
