"""The tree of a run comes back byte for byte, and taking it down touches nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projrun import sources
from projrun.home import Home
from projrun.plan import Checkout
from projrun.sources.closure import Captured
from tests.gitserver import Upstream, run_git

Tree = dict[bytes, tuple[str, bytes]]
EXAMPLES = 4 if os.environ.get("PROJRUN_TEST_EXAMPLES") else 1


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


def every_stat(top: Path) -> dict[str, tuple[object, ...]]:
    """All that stat says of everything below, Git's files too, but for when it was read last."""
    result = {}
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
        apart = sources.isolated(checkout, captured, self._home)
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
    max_examples=60 * EXAMPLES,
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
