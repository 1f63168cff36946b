"""Test how much is said and in which colours; stdout stays the same."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from projrun.console.tables import cut_text, format_pairs, format_table, text_width
from tests.conftest import MakeProject, Projrun

MLPROJECT = "entry_points: {main: {parameters: {x: {type: path, default: MLproject}}, command: 'echo said'}}"
RUN = ("run", ".", "--env-manager", "local")


@pytest.fixture
def project(make_project: MakeProject) -> Path:
    return make_project(MLproject=MLPROJECT)


@pytest.mark.parametrize("arguments", [("-q", *RUN), ("--quiet", *RUN), (*RUN, "-q"), (*RUN, "--quiet")])
def test_quiet_leaves_the_commands_own_output(
    projrun: Projrun, project: Path, arguments: tuple[str, ...]
) -> None:
    done = projrun(*arguments, cwd=project)
    assert (done.stdout, done.stderr, done.returncode) == ("said\n", "", 0)


def test_quiet_leaves_errors(projrun: Projrun, project: Path) -> None:
    done = projrun("-q", "run", ".", "-e", "nothing", cwd=project)
    assert done.stderr.startswith("projrun: error: ") and done.returncode == 125


def test_verbose_tells_commands_and_reasons(projrun: Projrun, project: Path) -> None:
    done = projrun("--verbose", *RUN, cwd=project)
    assert done.stdout == "said\n"
    assert " s  environment manager local: it was asked for\n" in done.stderr
    assert " s  $ bash -c 'echo said'\n" in done.stderr
    assert "projrun-watcher" not in done.stderr


def test_verbose_tells_what_the_cache_had_and_no_password(projrun: Projrun, project: Path) -> None:
    (project / "python_env.yaml").write_text("dependencies: []\n")
    projrun("run", ".", cwd=project)
    assert "the environment is ready: " in projrun("run", ".", "--verbose", cwd=project).stderr
    git = projrun("--verbose", "run", "https://user:hush@127.0.0.1:1/x.git", cwd=project)
    assert "ls-remote" in git.stderr and "hush" not in git.stderr


def test_both_at_once_are_refused(projrun: Projrun, project: Path) -> None:
    done = projrun("-q", *RUN, "--verbose", cwd=project)
    assert done.returncode == 2 and "exclude each other" in done.stderr


def on_a_terminal(*arguments: str, **environ: str) -> str:
    """Return what projrun writes to a terminal."""
    ours, its = pty.openpty()
    own = {**os.environ, "TERM": "xterm", **environ}
    child = subprocess.Popen(
        [sys.executable, "-m", "projrun", *arguments], stdout=its, stderr=its, stdin=its, env=own
    )
    os.close(its)
    said = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux says so when nobody has the other end any more
            break
        if not chunk:
            break
        said += chunk
    child.wait()
    os.close(ours)
    return said.decode()


@pytest.mark.parametrize("arguments", [("runs", "list"), ("run", "nowhere")], ids=["table", "error"])
def test_colours_are_for_terminals(projrun: Projrun, arguments: tuple[str, ...]) -> None:
    assert "\033[" in on_a_terminal(*arguments)
    assert "\033[" not in on_a_terminal(*arguments, NO_COLOR="1")
    assert "\033[" not in on_a_terminal(*arguments, TERM="dumb")
    piped = projrun(*arguments)
    assert "\033[" not in piped.stdout + piped.stderr
    forced = projrun(*arguments, environ={"FORCE_COLOR": "1"})
    assert "\033[" in forced.stdout + forced.stderr
    both = projrun(*arguments, environ={"FORCE_COLOR": "1", "NO_COLOR": "1"})
    assert "\033[" not in both.stdout + both.stderr


@pytest.mark.parametrize(
    "verb", [("runs", "list", "--json"), ("runs", "list", "--csv"), ("env", "list", "--json")]
)
def test_data_for_programs_has_no_colours(projrun: Projrun, verb: tuple[str, ...]) -> None:
    assert "\033[" not in projrun(*verb, environ={"FORCE_COLOR": "1"}).stdout


def test_columns_are_aligned_by_what_is_seen() -> None:
    text = format_table(("NAME", "X"), [("模型", "1"), ("e\u0301te\u0301", "2"), ("plain", "3")])
    assert [line.index("X") for line in text.splitlines()[:1]] == [7]
    assert [text_width(line[:-1]) for line in text.splitlines()] == [7] * 4
    assert format_pairs([("模型", "a"), ("b", "c")]) == "模型  a\nb     c"


def test_what_is_cut_fits() -> None:
    assert cut_text("模型模型", 5) == "模型…"
    assert cut_text("模型模型", 4) == "模…"
    assert cut_text("plain", 5) == "plain"
