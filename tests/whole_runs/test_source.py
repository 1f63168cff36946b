"""Stories of which source is run, and of getting it back."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path

import pytest

from projrun.disk import Home
from tests.conftest import MakeProject, Projrun
from tests.support.git_server import run_git

LISTS = "name: lists\nentry_points: {main: {command: 'ls -A'}, fails: {command: 'rm MLproject; exit 7'}}\n"
LOCAL = ("--env-manager", "local")


@pytest.fixture
def project(make_project: MakeProject) -> Path:
    """A repository without a remote."""
    directory = make_project(MLproject=LISTS)
    (directory / ".gitignore").write_text("*.ign\n")
    for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "first")):
        run_git(*arguments, cwd=directory)
    return directory


def last_run(projrun: Projrun) -> dict[str, object]:
    (run,) = json.loads(projrun("runs", "list", "--json", "-n", "1").stdout)
    assert isinstance(run, dict)
    return run


def test_isolated_runs_what_is_recorded_and_nothing_else(projrun: Projrun, project: Path, home: Home) -> None:
    (project / "ignored.ign").write_text("")
    (project / "untracked").write_text("")
    in_place = projrun("run", project, *LOCAL)
    apart = projrun("run", project, *LOCAL, "--isolated")
    assert in_place.stdout.split() == [".git", ".gitignore", "MLproject", "ignored.ign", "untracked"]
    assert apart.stdout.split() == [".git", ".gitignore", "MLproject", "untracked"]
    assert [entry for entry in home.checkouts.iterdir() if entry.is_dir()] == []


def test_isolated_has_the_users_commit(projrun: Projrun, project: Path) -> None:
    (project / "MLproject").write_text("entry_points: {main: {command: 'git rev-parse HEAD; git status -s'}}")
    done = projrun("run", project, *LOCAL, "--isolated")
    assert done.stdout.splitlines() == [run_git("rev-parse", "HEAD", cwd=project), " M MLproject"]


def test_a_run_that_is_isolated_cannot_change_the_users_tree(projrun: Projrun, project: Path) -> None:
    assert projrun("run", project, *LOCAL, "--isolated", "-e", "fails").returncode == 7
    assert (project / "MLproject").exists()


def test_require_clean(projrun: Projrun, project: Path) -> None:
    assert projrun("run", project, *LOCAL, "--require-clean").returncode == 0
    (project / "new file").write_text("")
    done = projrun("run", project, *LOCAL, "--require-clean")
    assert done.returncode == 125
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "is not as its commit: new file; commit the changes" in line


def test_the_source_of_a_failed_run_comes_back_as_it_was_at_the_start(
    projrun: Projrun, project: Path, tmp_path: Path
) -> None:
    (project / "script.sh").write_text("#!/bin/sh\n")
    (project / "script.sh").chmod(0o755)
    (project / "link").symlink_to("script.sh")
    assert projrun("run", project, *LOCAL, "-e", "fails").returncode == 7
    assert not (project / "MLproject").exists()
    run_id = str(last_run(projrun)["run_id"])
    done = projrun("runs", "source", run_id[:8], "-o", "back", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "4 files" in done.stderr
    back = tmp_path / "back"
    assert sorted(path.name for path in back.iterdir()) == [".gitignore", "MLproject", "link", "script.sh"]
    assert (back / "MLproject").read_text() == LISTS
    assert os.access(back / "script.sh", os.X_OK)
    assert (back / "link").is_symlink()
    again = projrun("runs", "source", run_id[:8], "-o", "back", cwd=tmp_path)
    assert again.returncode == 2
    assert "something already" in again.stderr


def test_the_source_of_a_run_of_a_remote_commit(projrun: Projrun, project: Path, tmp_path: Path) -> None:
    bare = tmp_path / "remote.git"
    run_git("clone", "-q", "--bare", str(project), str(bare))
    assert projrun("run", f"file://{bare}", *LOCAL).returncode == 0
    run_id = str(last_run(projrun)["run_id"])
    record = json.loads(projrun("runs", "show", run_id, "--json").stdout)["record"]
    assert record["closure"]["commit"] == run_git("rev-parse", "HEAD", cwd=project)
    assert record["closure"]["artifact"] == ""
    assert projrun("runs", "source", run_id, "-o", tmp_path / "back").returncode == 0
    assert (tmp_path / "back/MLproject").read_text() == LISTS
    bare.rename(tmp_path / "gone")
    assert projrun("runs", "source", run_id, "-o", tmp_path / "cached").returncode == 0


def test_an_archive_is_run_and_its_digest_recorded(projrun: Projrun, tmp_path: Path) -> None:
    archive = tmp_path / "p.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("p-1/MLproject", LISTS)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    done = projrun("run", archive, *LOCAL, "--sha256", digest, "--isolated", "--require-clean")
    assert (done.returncode, done.stdout) == (0, "MLproject\n"), done.stderr
    run_id = str(last_run(projrun)["run_id"])
    record = json.loads(projrun("runs", "show", run_id, "--json").stdout)["record"]
    assert record["plan"]["source"]["sha256"] == digest
    refused = projrun("run", archive, *LOCAL, "--sha256", "0" * 64)
    assert (refused.returncode, refused.stdout) == (125, "")
    assert projrun("run", archive, "-v", "main").returncode == 125
    described = json.loads(projrun("describe", archive, "--json").stdout)
    assert (described["name"], described["source"]["kind"]) == ("lists", "archive")
    assert projrun("validate", archive).returncode == 0


def test_large_files_are_told_and_the_run_goes_on(projrun: Projrun, project: Path) -> None:
    (project / "data.bin").write_bytes(bytes(2000))
    environ = {"PROJRUN_SOURCE_FILE_LIMIT": "0.001"}
    done = projrun("run", project, *LOCAL, environ=environ)
    assert done.returncode == 0
    assert "recorded by size and digest alone, for they are large: data.bin" in done.stderr
    refused = projrun("run", project, *LOCAL, "--isolated", environ=environ)
    assert refused.returncode == 125
    assert "data.bin" in refused.stderr
