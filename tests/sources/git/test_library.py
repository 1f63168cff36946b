"""Commits and history, read with GitPython."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import git
import msgspec
import pytest

from projrun.disk import Home
from projrun.errors import SourceError
from projrun.history import describe_history
from projrun.plan import Source
from projrun.record import Record, from_json
from projrun.sources.git.library import MAX_COMMITS, read_commit, read_date, read_history
from tests.sources.conftest import Fetcher
from tests.sources.git_settings import PLACES, SETTINGS, UNDOCUMENTED, plant
from tests.support.git_server import run_git

ANN = git.Actor("Ann Äpfel", "ann@example.org")
DATE = "2024-02-29T12:00:00+02:00"


def commit_of(repo: git.Repo, subject: str, **files: str) -> str:
    for name, text in files.items():
        Path(repo.working_dir, name).write_text(text)
    repo.git.add("--all")
    date = datetime.fromisoformat(DATE)
    return repo.index.commit(f"{subject}\n\nBody.", author=ANN, author_date=date, commit_date=date).hexsha


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two branches that parted after the commit `first`; the file `a` is called `b` on one of them."""
    with git.Repo.init(tmp_path / "project", initial_branch="main") as repo:
        first = commit_of(repo, "first", a="some text\n" * 9, MLproject="name: demo\n")
        repo.create_tag("first")
        os.rename(tmp_path / "project/a", tmp_path / "project/b")
        commit_of(repo, "Rename a", c="1")
        commit_of(repo, "Change c", c="2")
        repo.git.checkout("-q", "-b", "other", first)
        commit_of(repo, "Aside", d="1")
    return tmp_path / "project"


def run_at(project: Path, revision: str) -> Record:
    commit = run_git("rev-parse", f"{revision}^{{commit}}", cwd=project)
    return record_of(Source(kind="local", uri=str(project), commit=commit), project)


def record_of(source: Source, root: Path) -> Record:
    record = from_json((Path(__file__).parents[2] / "records" / "first.json").read_bytes())
    plan = msgspec.structs.replace(record.plan, source=source)
    return msgspec.structs.replace(record, plan=plan, root=str(root), closure=None)


def subjects(lines: list[str]) -> list[str]:
    return [line[:2] + line.partition(": ")[2] if line[1] == " " else line for line in lines]


def test_commits_of_both_sides_and_renames_are_read(project: Path, home: Home) -> None:
    history = read_history(run_at(project, "other"), run_at(project, "main"), home)
    assert subjects(describe_history(history)) == [
        "+ Change c",
        "+ Rename a",
        "- Aside",
        "renamed a -> b",
    ]
    assert (history.added_count, history.dropped_count, history.unknown) == (2, 1, "")
    assert (history.added[0].author, history.added[0].date) == ("Ann Äpfel", DATE)
    back = read_history(run_at(project, "main"), run_at(project, "first"), home)
    assert subjects(describe_history(back)) == ["- Change c", "- Rename a", "renamed b -> a"]


def test_a_long_history_is_cut_and_counted(project: Path, home: Home) -> None:
    with git.Repo(project) as repo:
        for number in range(MAX_COMMITS + 3):
            commit_of(repo, f"commit {number}")
    history = read_history(run_at(project, "first"), run_at(project, "other"), home)
    assert (len(history.added), history.added_count) == (MAX_COMMITS, MAX_COMMITS + 4)
    assert describe_history(history)[-1] == "+ 4 more"


def test_a_commit_of_the_cache_is_read_and_missing_history_is_told(
    project: Path, home: Home, fetch: Fetcher
) -> None:
    first, second = [
        record_of(fetch(f"file://{project}/.git", version).source, Path("/nowhere"))
        for version in ("first", "main")
    ]
    commit = read_commit(second, home)
    assert commit and commit.subject == "Change c"
    assert "shallow" in read_history(first, second, home).unknown
    fetch(f"file://{project}/.git", "main~1")  # an expression needs the whole history
    assert subjects(describe_history(read_history(first, second, home)))[:2] == ["+ Change c", "+ Rename a"]


def test_what_no_repository_has_is_told(project: Path, home: Home, tmp_path: Path) -> None:
    run = run_at(project, "main")
    gone = record_of(Source(kind="local", uri=".", commit="1" * 40), tmp_path)
    assert "no repository on this machine has both commits" in read_history(run, gone, home).unknown
    assert read_commit(gone, home) is None
    outside = record_of(Source(kind="local", uri="."), tmp_path)
    assert read_history(run, outside, home).unknown == "not both runs were started from a commit"


def test_a_sha256_repository_has_dates_but_no_history(tmp_path: Path, home: Home) -> None:
    run_git("init", "-q", "--object-format=sha256", str(tmp_path / "new"), cwd=tmp_path)
    for name in ("one", "two"):
        run_git("commit", "-q", "--allow-empty", "-m", name, cwd=tmp_path / "new")
    first, second = [run_at(tmp_path / "new", revision) for revision in ("HEAD~1", "HEAD")]
    assert "SHA-256" in read_history(first, second, home).unknown
    assert read_date(tmp_path / "new", "HEAD~1")[:2] == "20"


@pytest.mark.parametrize("revision", ["first", "main~2", "refs/tags/first", "first^{commit}"])
def test_the_date_of_a_commit(project: Path, revision: str) -> None:
    assert read_date(project, revision) == DATE


@pytest.mark.parametrize("revision", ["nothing", "--output=x", "", "main:b"])
def test_what_is_no_commit_has_no_date(project: Path, revision: str, tmp_path: Path) -> None:
    assert read_date(project, revision) == ""
    assert read_date(tmp_path, revision) == ""


def test_the_variables_of_a_hook_are_not_followed(
    project: Path, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = [run_at(project, revision) for revision in ("first", "main")]
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_NAMESPACE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    assert read_history(first, second, home).added_count == 2
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "elsewhere"))
    assert read_date(project, "first") == DATE


@pytest.mark.parametrize("place", PLACES)
def test_nothing_that_the_settings_name_is_started(place: str, tmp_path: Path, home: Home) -> None:
    canaries = tmp_path / "canaries"
    canaries.mkdir()
    project, file = PLACES[place](tmp_path / "project")
    run_git("commit", "-q", "--allow-empty", "-m", "last", cwd=project)
    first, second = [run_at(project, revision) for revision in ("HEAD~1", "HEAD")]
    for setting in (*SETTINGS, *UNDOCUMENTED):
        if setting.documented not in ("core.worktree", "extensions.worktreeConfig"):
            plant(setting, file, canaries)
    assert read_history(first, second, home).added_count == 1
    assert read_commit(second, home)
    assert read_date(project, "HEAD")
    assert list(canaries.iterdir()) == []


@pytest.mark.parametrize("encoding", ["nonsense", "utf-7", "zlib"])
def test_a_commit_in_a_strange_encoding_stops_nothing(project: Path, home: Home, encoding: str) -> None:
    commit = subprocess.run(
        ["git", "-c", f"i18n.commitEncoding={encoding}", "commit-tree", "main^{tree}", "-p", "main"],
        cwd=project,
        input=b"+2AA- \x1b[2J\xff\n",
        capture_output=True,
        check=True,
    ).stdout.decode()
    run_git("branch", "strange", commit.strip(), cwd=project)
    history = read_history(run_at(project, "main"), run_at(project, "strange"), home)
    assert history.unknown or history.added_count == 1
    assert "\x1b" not in msgspec.json.encode(history).decode()


def test_without_git_it_is_a_source_error(project: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from projrun.errors import SourceError\n"
        "from projrun.sources.git.library import RepositoryLocation, _opened\n"
        "try:\n    with _opened(RepositoryLocation(Path(sys.argv[1]), {})): pass\n"
        "except SourceError as error: print(error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, project / ".git"],
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("install git and see that it is on PATH\n", "")


def test_a_directory_that_git_does_not_take_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(SourceError, match="not a git repository"):
        read_date(tmp_path, "HEAD")
