"""The world changes between a run and its repetition: the result is the same, or the reason is said first."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from projrun.disk import Home
from projrun.disk.file_operations import remove_tree
from tests.conftest import MakeProject, Projrun
from tests.server.test_standalone import Standing
from tests.sources.git.test_submodules import add_submodule
from tests.support.git_server import Upstream, make_upstream, run_git
from tests.support.machine_settings import forget_index_settings
from tests.support.threaded_server import answering

LOCAL = ("--env-manager", "local")
SHOWS = "entry_points: {main: {command: 'cat data'}}\n"
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    """A repository whose `data` the run shows."""
    made = make_upstream(tmp_path / "there" / "project.git")
    made.commit(MLproject=SHOWS, data="first")
    return made


def runs(projrun: Projrun) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(projrun("runs", "list", "--json").stdout)
    return found


def ran(projrun: Projrun, uri: object, *options: str, **environ: str) -> str:
    """The id of a run that shows `first`."""
    done = projrun("run", str(uri), *(options or LOCAL), environ=environ)
    assert (done.returncode, done.stdout) == (0, "first"), done.stderr
    return str(runs(projrun)[0]["run_id"])


def assert_the_same(done: Done) -> None:
    assert (done.returncode, done.stdout) == (0, "first"), done.stderr


def assert_said_first(projrun: Projrun, done: Done, *words: str, before: int = 1) -> None:
    """Nothing ran, and the words are in what was said, which is no traceback."""
    assert (done.returncode, done.stdout) == (125, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert len(runs(projrun)) == before


def record_file(home: Home) -> Path:
    (found,) = home.artifacts.glob("*/*/projrun/record.json")
    return found


# the repository


def test_the_branch_moved(projrun: Projrun, upstream: Upstream) -> None:
    run = ran(projrun, f"file://{upstream.bare}")
    upstream.commit(data="second")
    assert_the_same(projrun("reproduce", run[:8]))
    again = runs(projrun)[0]["tags"]
    assert again["projrun.reproduces"] == run
    assert again["mlflow.source.git.commit"] != upstream.head


@pytest.fixture
def rewritten(projrun: Projrun, upstream: Upstream) -> str:
    """A run of a commit that the remote has no more."""
    run = ran(projrun, f"file://{upstream.bare}")
    (upstream.tree / "data").write_text("second")
    upstream.git("commit", "-q", "-a", "--amend", "-m", "rewritten")
    upstream.push()
    run_git("-C", str(upstream.bare), "reflog", "expire", "--expire=now", "--all")
    run_git("-C", str(upstream.bare), "gc", "-q", "--prune=now")
    return run


def test_history_was_rewritten_and_the_commit_is_in_the_cache(projrun: Projrun, rewritten: str) -> None:
    assert_the_same(projrun("reproduce", rewritten))


def test_history_was_rewritten_and_the_commit_is_gone(
    projrun: Projrun, rewritten: str, upstream: Upstream, home: Home
) -> None:
    commit = runs(projrun)[0]["tags"]["mlflow.source.git.commit"]
    remove_tree(home.cache)
    assert_said_first(projrun, projrun("reproduce", rewritten), "source cannot be had", commit[:12])


def test_the_remote_is_gone_and_the_commit_is_in_the_cache(projrun: Projrun, upstream: Upstream) -> None:
    run = ran(projrun, f"file://{upstream.bare}")
    remove_tree(upstream.bare)
    assert_the_same(projrun("reproduce", run))


def test_the_remote_is_gone_and_the_cache_is_empty(projrun: Projrun, upstream: Upstream, home: Home) -> None:
    run = ran(projrun, f"file://{upstream.bare}")
    remove_tree(upstream.bare)
    remove_tree(home.cache)
    assert_said_first(projrun, projrun("reproduce", run), "source cannot be had", str(upstream.bare))


def test_a_submodule_moved(projrun: Projrun, upstream: Upstream, tmp_path: Path, home: Home) -> None:
    library = make_upstream(tmp_path / "there" / "lib.git")
    library.commit(data="first")
    add_submodule(upstream, library, "lib", "../lib.git")
    upstream.commit(MLproject=SHOWS.replace("data", "lib/data"))
    run = ran(projrun, f"file://{upstream.bare}")
    library.commit(data="second")
    remove_tree(home.cache)
    assert_the_same(projrun("reproduce", run))


# the user's own tree


def changed(tree: Path) -> None:
    (tree / "data").write_text("first")


def staged(tree: Path) -> None:
    changed(tree)
    run_git("add", "data", cwd=tree)


def untracked(tree: Path) -> None:
    (tree / "new").write_text("first")
    (tree / "MLproject").write_text(SHOWS.replace("data", "new"))


def unpushed(tree: Path) -> None:
    changed(tree)
    run_git("commit", "-q", "-a", "-m", "not pushed", cwd=tree)


@pytest.mark.parametrize("state", [changed, staged, untracked, unpushed], ids=lambda state: state.__name__)
def test_the_tree_was_not_what_the_remote_has(
    projrun: Projrun, upstream: Upstream, tmp_path: Path, home: Home, state: Any
) -> None:
    upstream.commit(data="zero")
    tree = tmp_path / "mine"
    run_git("clone", "-q", f"file://{upstream.bare}", str(tree))
    state(tree)
    run = ran(projrun, tree)
    run_git("reset", "-q", "--hard", "origin/main", cwd=tree)
    run_git("clean", "-fdq", cwd=tree)
    assert_the_same(projrun("reproduce", run))
    remove_tree(tree)
    remove_tree(home.cache)
    assert_the_same(projrun("reproduce", run))


def test_the_directory_of_the_project_is_gone(
    projrun: Projrun, make_project: MakeProject, home: Home
) -> None:
    project = make_project(MLproject=SHOWS, data="first")
    run = ran(projrun, project)
    remove_tree(project)
    remove_tree(home.cache)
    assert_the_same(projrun("reproduce", run))


def test_what_was_kept_of_the_source_is_lost(projrun: Projrun, make_project: MakeProject, home: Home) -> None:
    run = ran(projrun, make_project(MLproject=SHOWS, data="first"))
    (record_file(home).parent / "source.tar.gz").write_bytes(b"")
    assert_said_first(projrun, projrun("reproduce", run), "not what was recorded")


# the machine


def test_an_empty_home_at_another_path(
    projrun: Projrun, make_project: MakeProject, home: Home, tmp_path: Path
) -> None:
    project = make_project(MLproject=SHOWS, data="first")
    ran(projrun, project)
    shutil.copytree(record_file(home).parent, tmp_path / "sent" / "projrun")
    for path in (project, home.cache, home.data):
        remove_tree(path)
    elsewhere = {"PROJRUN_HOME": str(tmp_path / "a b/data"), "PROJRUN_CACHE_DIR": str(tmp_path / "a b/cache")}
    sent = tmp_path / "sent" / "projrun" / "record.json"
    assert_the_same(projrun("reproduce", sent, environ=elsewhere))


def test_a_tracking_server_has_the_run(
    projrun: Projrun, make_project: MakeProject, home: Home, tmp_path: Path
) -> None:
    """And it is done again from a machine that has nothing else."""
    project = make_project(MLproject=SHOWS, data="first")
    run = ran(projrun, project)
    server = Standing()
    try:
        remove_tree(project)
        own = {"PROJRUN_HOME": str(tmp_path / "own"), "PROJRUN_CACHE_DIR": str(tmp_path / "own-cache")}
        assert_the_same(projrun("reproduce", f"{server.url}#{run}", environ=own))
        there = {**own, "MLFLOW_TRACKING_URI": server.url}
        done = projrun("verify", run, "--vary", "network,umask", environ=there)
        assert done.returncode == 0, done.stderr
        assert "left out  the run logs to a tracking server" in done.stdout
        assert "left out: network" in done.stdout.splitlines()[-1]
        wrong = projrun("reproduce", f"{server.url}#{'0' * 32}", environ=own)
        assert wrong.returncode in (2, 125)
        assert "Traceback" not in wrong.stderr
    finally:
        server.process.terminate()
        server.process.communicate()


def test_another_patch_of_python(projrun: Projrun, make_project: MakeProject, home: Home) -> None:
    run = ran(projrun, make_project(MLproject=SHOWS, data="first"), "--env-manager", "uv")
    file = record_file(home)
    running = ".".join(map(str, sys.version_info[:3]))
    other = f"{sys.version_info[0]}.{sys.version_info[1]}.99"
    file.write_text(file.read_text().replace(f'"python": "{running}"', f'"python": "{other}"'))
    done = projrun("reproduce", run)
    assert_the_same(done)
    assert f"Python {other} is not on this machine; using " in done.stderr
    strict = projrun("reproduce", run, "--strict")
    assert_said_first(projrun, strict, f"Python {other} is not on this machine", before=2)
    verified = projrun("verify", run)
    assert verified.returncode == 0
    assert f"python: {other}, then " in verified.stdout


def test_no_python_of_that_minor_version(projrun: Projrun, make_project: MakeProject, home: Home) -> None:
    run = ran(projrun, make_project(MLproject=SHOWS, data="first"), "--env-manager", "uv")
    file = record_file(home)
    running = ".".join(map(str, sys.version_info[:3]))
    file.write_text(file.read_text().replace(f'"python": "{running}"', '"python": "3.99.1"'))
    assert_said_first(projrun, projrun("reproduce", run), "wants Python 3.99.1", "--env-manager local")


# packages


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An index of wheels on loopback that has `tiny` 1.0, and a cache of packages of its own."""
    root = tmp_path / "index"
    release(root, "1.0", "first")
    forget_index_settings(monkeypatch)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with served(root) as url:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{url}/simple")
        yield root


@contextmanager
def served(root: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    with answering(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"


def release(root: Path, version: str, data: str) -> Path:
    """A wheel of `tiny`, and the page that lists all that there are."""
    page = root / "simple" / "tiny"
    page.mkdir(parents=True, exist_ok=True)
    info = f"tiny-{version}.dist-info"
    files = {
        "tiny.py": f"DATA = {data!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {name: hashlib.sha256(text.encode()).digest() for name, text in files.items()}
    rows = [
        f"{name},sha256={base64.urlsafe_b64encode(d).rstrip(b'=').decode()},{len(files[name])}"
        for name, d in digests.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,\n"])
    wheel = page / f"tiny-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    listing(page)
    return wheel


def listing(page: Path, yanked: str = "") -> None:
    rows = ""
    for wheel in sorted(page.glob("*.whl")):
        mark = ' data-yanked="bad"' if yanked and f"-{yanked}-" in wheel.name else ""
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        rows += f'<a href="{wheel.name}#sha256={digest}"{mark}>{wheel.name}</a>\n'
    (page / "index.html").write_text(f"<!DOCTYPE html><html><body>{rows}</body></html>")


@pytest.fixture
def packaged(make_project: MakeProject, index: Path, projrun: Projrun) -> str:
    """A run of a project that needs `tiny`, whatever its version."""
    command = "python -c 'import tiny; print(tiny.DATA, end=chr(0)[:0])'"
    project = make_project(
        MLproject=f'python_env: python_env.yaml\nentry_points: {{main: {{command: "{command}"}}}}\n',
        **{"python_env.yaml": "dependencies: [tiny]\n"},
    )
    return ran(projrun, project, "--env-manager", "uv")


def test_a_newer_release_is_on_the_index(packaged: str, projrun: Projrun, index: Path, home: Home) -> None:
    release(index, "2.0", "second")
    remove_tree(home.cache)
    assert_the_same(projrun("reproduce", packaged))


def test_the_release_was_yanked(packaged: str, projrun: Projrun, index: Path, home: Home) -> None:
    listing(index / "simple" / "tiny", yanked="1.0")
    remove_tree(home.cache)
    assert_the_same(projrun("reproduce", packaged))


def test_the_release_was_removed_and_is_in_the_cache(
    packaged: str, projrun: Projrun, index: Path, home: Home
) -> None:
    remove_tree(index / "simple" / "tiny")
    remove_tree(home.environments)
    assert_the_same(projrun("reproduce", packaged))


def test_the_release_was_removed_and_is_nowhere(
    packaged: str, projrun: Projrun, index: Path, home: Home, tmp_path: Path
) -> None:
    remove_tree(index / "simple" / "tiny")
    remove_tree(home.cache)
    remove_tree(tmp_path / "uv-cache")
    done = projrun("reproduce", packaged)
    assert (done.returncode, done.stdout) == (125, "")
    assert "tiny" in done.stderr
    assert "Traceback" not in done.stderr
    assert runs(projrun)[0]["status"] == "FAILED"


def test_the_release_has_another_content(
    packaged: str, projrun: Projrun, index: Path, home: Home, tmp_path: Path
) -> None:
    release(index, "1.0", "forged")
    remove_tree(home.cache)
    remove_tree(tmp_path / "uv-cache")
    done = projrun("reproduce", packaged)
    assert (done.returncode, done.stdout) == (125, "")
    assert "tiny" in done.stderr


def test_the_environments_were_wiped(packaged: str, projrun: Projrun, home: Home) -> None:
    remove_tree(home.environments)
    remove_tree(home.locks)
    assert_the_same(projrun("reproduce", packaged))


def test_the_lock_is_lost(packaged: str, projrun: Projrun, home: Home) -> None:
    (record_file(home).parent / "pylock.toml").unlink()
    assert_said_first(projrun, projrun("reproduce", packaged), "lock of the environment is gone")


# inputs, variables


READS = "entry_points: {main: {parameters: {file: path}, command: 'cat {file}'}}\n"


def test_an_input_changed_and_came_back(projrun: Projrun, make_project: MakeProject, tmp_path: Path) -> None:
    (tmp_path / "input").write_text("first")
    run = ran(projrun, make_project(MLproject=READS), *LOCAL, "-P", f"file={tmp_path / 'input'}")
    (tmp_path / "input").write_text("other")
    done = projrun("reproduce", run)
    assert_said_first(projrun, done, "the input 'file'", "not what it was", "put ")
    (tmp_path / "input").unlink()
    assert_said_first(projrun, projrun("reproduce", run), "the input 'file'", "is gone")
    (tmp_path / "input").write_text("first")
    assert_the_same(projrun("reproduce", run))


def test_all_that_is_missing_is_said_at_once(projrun: Projrun, upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "input").write_text("first")
    upstream.commit(MLproject=READS)
    options = ("-P", f"file={tmp_path / 'input'}", "--env", "THE_SECRET=s3cret")
    run = ran(projrun, f"file://{upstream.bare}", *LOCAL, *options)
    (tmp_path / "input").unlink()
    assert_said_first(projrun, projrun("reproduce", run), "the input 'file'", "THE_SECRET")


def test_a_variable_changed(projrun: Projrun, make_project: MakeProject) -> None:
    text = "entry_points: {main: {command: 'printf \"$PYTHONHASHSEED${OMP_NUM_THREADS}rst\"'}}\n"
    run = ran(projrun, make_project(MLproject=text), PYTHONHASHSEED="", OMP_NUM_THREADS="fi")
    assert_the_same(projrun("reproduce", run, environ={"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "9"}))
    assert_the_same(projrun("reproduce", run))


def test_a_secret_is_asked_for_and_used(projrun: Projrun, make_project: MakeProject) -> None:
    text = "entry_points: {main: {command: 'test \"$MY_KEY\" = s3cret && printf first'}}\n"
    run = ran(projrun, make_project(MLproject=text), *LOCAL, "--env", "MY_KEY=s3cret")
    assert_said_first(projrun, projrun("reproduce", run), "the variable MY_KEY", "set MY_KEY")
    done = projrun("reproduce", run, environ={"MY_KEY": "s3cret"})
    assert_the_same(done)
    assert "s3cret" not in json.dumps(runs(projrun))


# what the user types


def test_what_is_no_run_is_said_in_one_line(projrun: Projrun, tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text("{")
    for name in ("ffff", "ftp://host#run", str(tmp_path / "none.json"), str(tmp_path / "no.json")):
        done = projrun("reproduce", name)
        assert done.returncode in (2, 125), name
        assert len(done.stderr.splitlines()) == 1, done.stderr
    assert os.listdir(tmp_path) == ["no.json"]
