"""Test the screens of real terminals, narrow and wide."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from projrun.console.tables import text_width
from tests.conftest import MakeProject, Projrun
from tests.support.terminal import needs, shown, with_projrun

MLPROJECT = """\
name: 予測モデル-with-a-name-that-is-rather-long-for-a-column
entry_points:
  main:
    parameters:
      alpha: {type: float, default: 0.5, description: "Strength of the penalty, a number that is 0 or more"}
      note: {type: string, default: "a note that goes on and on, so that no narrow terminal has room for it"}
    command: echo {alpha} {note}
"""
Screen = Callable[..., list[str]]
SIZES = (80, 200)


@pytest.fixture
def project(make_project: MakeProject, projrun: Projrun) -> Path:
    needs("tmux")
    project = make_project(MLproject=MLPROJECT)
    for name, alpha in (("模型 one", "0.1"), ("a name that is much longer than others", "1")):
        run = ("run", project, "--env-manager", "local", "--run-name", name, "-P", f"alpha={alpha}")
        assert projrun(*run).returncode == 0
    return project


@pytest.fixture
def screen(project: Path, tmp_path: Path) -> Screen:
    path = with_projrun(tmp_path)

    def take(columns: int, line: str, **environ: str) -> list[str]:
        return shown(columns, line, cwd=project, environ={"PATH": path, **environ})

    return take


def starts(line: str, cells: tuple[str, ...]) -> list[int]:
    """The columns of the screen in which the cells begin."""
    found = [line.index(cells[0])]
    for cell in cells[1:]:
        found.append(line.index(cell, found[-1] + 1))
    return [text_width(line[:at]) for at in found]


@pytest.mark.parametrize("columns", SIZES)
def test_screens(screen: Screen, projrun: Projrun, columns: int) -> None:
    """One story for each width: the runs that it looks at take longer than looking."""
    header, *rows = screen(columns, "projrun runs list")
    assert len(rows) == 2
    assert all(text_width(row) <= columns for row in rows)
    places = starts(header, ("RUN", "STATUS", "STARTED"))
    for row in rows:
        assert starts(row, (row[:8], "FINISHED", "20")) == places
    assert any("模型 one" in row for row in rows)
    assert ("ENTRY POINT" in header) == (columns == 200)
    assert ("a name that is much longer than others" in "".join(rows)) == (columns == 200)
    piped = projrun("runs", "list").stdout
    assert "予測モデル-with-a-name-that-is-rather-long-for-a-column" in piped

    first, second = [line.split()[0] for line in piped.splitlines()[1:]]
    lines = (
        "runs compare {} {}",
        "runs show {}",
        "describe .",
        "run . --dry-run --env-manager local",
        "--help",
    )
    for line in lines:
        assert_words_stay_whole(columns, screen(columns, f"projrun {line.format(first, second)}"))
    page = screen(columns, "projrun run --help")
    assert max(map(text_width, page)) <= min(columns, 100)
    assert (max(map(text_width, page)) > 80) == (columns == 200)


@pytest.mark.parametrize("columns", [40, 80])
def test_progress_stays_on_one_line(tmp_path: Path, columns: int) -> None:
    """A line that is longer than the terminal could not be written over."""
    needs("tmux")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, time\n"
        "from projrun.console.progress import Progress\n"
        "progress = Progress('a-name-that-goes-on-and-on-' * 4)\n"
        "progress.total = 300\n"
        "for _ in range(3):\n"
        "    progress.add(100)\n"
        "    time.sleep(0.11)\n"
        "print(file=sys.stderr)\n"
    )
    lines = shown(columns, f"{sys.executable} {script}", cwd=tmp_path, environ={})
    assert len(lines) == 1 and text_width(lines[0]) < columns
    assert lines[0].startswith("projrun: downlo") and lines[0].endswith(": 300 B of 300 B")
    assert "…" in lines[0]


def assert_words_stay_whole(columns: int, lines: list[str]) -> None:
    """No line fills the terminal to its edge and goes on in the first column, in the middle of a word."""
    assert len(lines) > 3
    for number, line in enumerate(lines[:-1]):
        full = text_width(line) == columns and line[-1].isalnum()
        assert not (full and lines[number + 1][:1].isalnum()), "\n".join(lines)
