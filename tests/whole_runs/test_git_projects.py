"""Stories of `projrun run URL`: a real repository over real HTTP, ssh's code path and file URLs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from projrun.disk import Home
from tests.conftest import MakeProject, Projrun
from tests.support.git_server import GitServer, Upstream, git_server, stand_in_for_ssh

__all__ = ["git_server"]

MLPROJECT = (
    "name: served\nentry_points: {main: {parameters: {x: {default: 1}}, command: 'cat word; echo {x}'}}"
)


@pytest.fixture
def upstream(git_server: GitServer) -> Upstream:
    """A repository with a project at its root and one in `deep/er`; tag v1 has another word."""
    upstream = git_server.upstream("project.git", branch="trunk")
    upstream.commit(
        "old", MLproject=MLPROJECT, word="old\n", deep__er__MLproject=MLPROJECT, deep__er__word="deep\n"
    )
    upstream.git("tag", "-a", "v1", "-m", "v1")
    upstream.commit("new", word="new\n")
    return upstream


def recorded(projrun: Projrun) -> dict[str, str]:
    (run,) = json.loads(projrun("runs", "list", "--json").stdout)
    assert run["status"] == "FINISHED"
    tags: dict[str, str] = run["tags"]
    return tags


def test_the_default_branch_runs_and_its_commit_is_recorded(
    projrun: Projrun, git_server: GitServer, upstream: Upstream, home: Home
) -> None:
    done = projrun("run", f"{git_server.url}/project.git", "--env-manager", "local", "-P", "x=two words")
    assert done.stdout == "new\ntwo words\n", done.stderr
    tags = recorded(projrun)
    assert tags["mlflow.source.git.commit"] == upstream.head
    assert tags["mlflow.source.git.branch"] == "trunk"
    assert tags["mlflow.source.git.repoURL"] == f"{git_server.url}/project.git"
    assert [path for path in home.checkouts.iterdir() if path.is_dir()] == []


def test_a_tag_and_a_subdirectory(projrun: Projrun, git_server: GitServer, upstream: Upstream) -> None:
    uri = f"{git_server.url}/project.git#deep/er"
    done = projrun("run", uri, "-v", "v1", "--env-manager", "local")
    assert done.stdout == "deep\n1\n", done.stderr
    tags = recorded(projrun)
    assert tags["mlflow.source.git.commit"] == upstream.git("rev-parse", "v1^{commit}")
    assert tags["projrun.source.subdirectory"] == "deep/er"
    assert tags["projrun.source.version"] == "v1"


def test_a_commit_that_was_fetched_needs_no_network(
    projrun: Projrun, git_server: GitServer, upstream: Upstream
) -> None:
    arguments = ("run", f"{git_server.url}/project.git", "-v", upstream.head, "--env-manager", "local")
    assert projrun(*arguments).returncode == 0
    asked = len(git_server.requests)
    assert projrun(*arguments).stdout == "new\n1\n"
    assert len(git_server.requests) == asked


def test_ssh_and_file_urls(
    projrun: Projrun, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", str(stand_in_for_ssh(tmp_path)))
    path = upstream.bare
    for uri in (f"ssh://git@localhost{path}", f"git@localhost:{path}", f"file://{path}", str(path)):
        done = projrun("run", uri, "--env-manager", "local")
        assert done.stdout == "new\n1\n", done.stderr


def test_credentials_are_used_and_never_kept(
    projrun: Projrun, git_server: GitServer, upstream: Upstream, home: Home
) -> None:
    git_server.credentials = "user:hush-hush"
    uri = f"{git_server.url_with('user:hush-hush')}/project.git"
    done = projrun("run", uri, "--env-manager", "local")
    assert done.stdout == "new\n1\n", done.stderr
    assert "hush" not in done.stderr
    for path in (*home.data.rglob("*"), *home.cache.rglob("*")):
        assert not path.is_file() or b"hush-hush" not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("name", "version", "told"),
    [("gone.git", "", "gone.git"), ("project.git", "v9", "v9"), ("project.git", "0123456", "0123456")],
)
def test_what_cannot_be_fetched_is_a_failed_run(
    projrun: Projrun, git_server: GitServer, upstream: Upstream, name: str, version: str, told: str
) -> None:
    done = projrun("run", f"{git_server.url}/{name}", *(["-v", version] if version else []))
    assert done.returncode == 125
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    (run,) = json.loads(projrun("runs", "list", "--json").stdout)
    assert run["status"] == "FAILED"
    assert told in run["tags"]["projrun.reason"]


def test_a_local_repository_at_a_version_is_not_touched(projrun: Projrun, upstream: Upstream) -> None:
    (upstream.tree / "word").write_text("being edited\n")
    before = upstream.git("status", "--porcelain=v2", "--branch")
    done = projrun("run", upstream.tree, "-v", "v1", "--env-manager", "local")
    assert done.stdout == "old\n1\n", done.stderr
    assert upstream.git("status", "--porcelain=v2", "--branch") == before
    assert projrun("run", upstream.tree, "--env-manager", "local").stdout == "being edited\n1\n"


def test_offline_holds_for_the_environment_and_the_inputs_too(
    projrun: Projrun, make_project: MakeProject
) -> None:
    project = make_project(
        MLproject="entry_points: {main: {parameters: {data: path}, command: 'true'}}",
        **{"requirements.txt": "a-package-that-was-never-downloaded\n"},
    )
    done = projrun("run", project, "--offline", "--env-manager", "local", "-P", "data=http://127.0.0.1:9/x")
    assert done.returncode == 125
    assert "--offline forbids it" in done.stderr
    (project / "MLproject").write_text("entry_points: {main: {command: 'true'}}")
    done = projrun("run", project, "--offline")
    assert done.returncode == 125
    assert "could not be made" in done.stderr and "Traceback" not in done.stderr
