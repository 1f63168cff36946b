"""Test the entry point where the streams of the program cannot be written."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Projrun

HELLO = "entry_points: {main: {command: 'echo hello; echo warned >&2'}}\n"
ANSWERS = (
    "runs list",
    "runs list --json",
    "run --help",
    "runs logs --help",
    "--version",
    "describe .",
    "doctor",
)


@pytest.fixture
def project(make_project: MakeProject) -> Path:
    return make_project(MLproject=HELLO)


def run_in_shell(arguments: str, redirections: str, project: Path) -> subprocess.CompletedProcess[str]:
    """Call projrun with its streams redirected by a shell, which can close them too."""
    command = f"exec {shlex.quote(sys.executable)} -m projrun {arguments} {redirections}"
    return subprocess.run(["/bin/sh", "-c", command], cwd=project, capture_output=True, text=True)


@pytest.mark.parametrize(
    "redirections", [">&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>&1"]
)
def test_a_run_ends_as_its_command_whoever_can_read_its_output(
    redirections: str, project: Path, projrun: Projrun
) -> None:
    done = run_in_shell("run . --env-manager local", redirections, project)
    assert done.returncode == 0, done.stderr
    assert "a bug" not in done.stderr
    (run,) = json.loads(projrun("runs", "list", "--json").stdout)
    assert run["status"] == "FINISHED"
    assert sorted(projrun("runs", "logs", run["run_id"]).stdout.split()) == ["hello", "warned"]


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
@pytest.mark.parametrize("arguments", [*ANSWERS, "runs list # unbuffered"])
def test_an_answer_that_cannot_be_written_is_one_clear_line(
    arguments: str, redirection: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, _, is_unbuffered = arguments.partition(" # ")
    monkeypatch.setenv("PYTHONUNBUFFERED", "1" if is_unbuffered else "")
    done = run_in_shell(arguments, redirection, project)
    assert done.returncode == 125
    (line,) = done.stderr.splitlines()
    assert line.startswith("projrun: error: cannot write")


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize("arguments", ["runs list", "run --help"])
def test_an_answer_does_not_need_stderr(arguments: str, redirection: str, project: Path) -> None:
    done = run_in_shell(arguments, redirection, project)
    assert done.returncode == 0
    assert done.stdout


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize(("arguments", "code"), [("run /nowhere", 125), ("no-such-verb", 2), ("run . -P", 2)])
def test_an_error_that_cannot_be_written_keeps_its_exit_code(
    arguments: str, code: int, redirection: str, project: Path
) -> None:
    assert run_in_shell(arguments, redirection, project).returncode == code


def test_logs_end_when_their_reader_is_gone(make_project: MakeProject, projrun: Projrun) -> None:
    long = make_project("long", MLproject="entry_points: {main: {command: 'seq 1000000'}}\n")
    assert projrun("run", long, "--env-manager", "local").returncode == 0
    (run,) = json.loads(projrun("runs", "list", "--json").stdout)
    command = [sys.executable, "-m", "projrun", "runs", "logs", "--raw", "--follow", run["run_id"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reading:
        assert reading.stdout is not None and reading.stderr is not None
        assert reading.stdout.readline() == b"1\n"
        reading.stdout.close()
        assert (reading.wait(), reading.stderr.read()) == (141, b"")
