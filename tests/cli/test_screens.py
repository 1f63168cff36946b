"""What stands on a real terminal, narrow and wide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from projrun.tables import width
from tests.conftest import MakeProject, Projrun
from tests.terminal import needs, shown, with_projrun

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
    return [width(line[: line.index(cell)]) for cell in cells]


@pytest.mark.parametrize("columns", SIZES)
def test_screens(screen: Screen, projrun: Projrun, columns: int) -> None:
    """One story for each width: the runs that it looks at take longer than looking."""
    header, *rows = screen(columns, "projrun runs list")
    assert len(rows) == 2
    assert all(width(row) <= columns for row in rows)
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
    assert max(map(width, page)) <= min(columns, 100)
    assert (max(map(width, page)) > 80) == (columns == 200)


def assert_words_stay_whole(columns: int, lines: list[str]) -> None:
    """No line fills the terminal to its edge and goes on in the first column, in the middle of a word."""
    assert len(lines) > 3
    for number, line in enumerate(lines[:-1]):
        full = width(line) == columns and line[-1].isalnum()
        assert not (full and lines[number + 1][:1].isalnum()), "\n".join(lines)
