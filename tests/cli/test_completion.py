"""Test completion by the tab key in real shells."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Projrun
from tests.support.terminal import needs, terminal

MLPROJECT = """\
entry_points:
  train:
    parameters:
      alpha: {type: float, default: 0.1, description: "Strength, 0 or more"}
      l1-ratio: float
      mode: {type: string, choices: [fast, exact]}
      shuffle: bool
      $(touch canary): str
    command: ls
  test: {command: ls}
  $(touch canary): {command: ls}
"""
Complete = Callable[..., list[str]]

IN_BASH = """
compopt() { options+=("$*"); }
eval "$(projrun completion bash)"
IFS=' ' read -ra COMP_WORDS <<< "${1//=/ = }"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
COMP_LINE="$1" COMP_POINT=${#1}
_projrun_completion projrun
printf '%s\\n' "${COMPREPLY[@]}" "${options[@]/#/option }"
"""


@pytest.fixture
def project(make_project: MakeProject) -> Path:
    return make_project(MLproject=MLPROJECT)


@pytest.fixture
def path_with_projrun(tmp_path: Path) -> str:
    """PATH on which `projrun` is the one under test."""
    program = tmp_path / "bin" / "projrun"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m projrun "$@"\n')
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


@pytest.fixture
def offered(project: Path, path_with_projrun: str) -> Complete:
    """Return the words that bash offers after a line."""

    def complete(line: str, cwd: Path = project) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", IN_BASH, "bash", line],
            cwd=cwd,
            env={**os.environ, "PATH": path_with_projrun},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.split("\n")[:-1]

    return complete


def test_verbs_and_options(offered: Complete) -> None:
    assert offered("projrun ru") == ["run", "runs"]
    assert offered("projrun run . --exp") == ["--experiment-name", "--experiment-id"]
    assert offered("projrun validate --format s") == ["sarif"]


def test_entry_points_of_the_project_that_was_typed(offered: Complete, project: Path) -> None:
    assert offered("projrun run . -e ") == ["train", "test"]
    assert offered("projrun run . -e tr") == ["train"]
    assert offered(f"projrun run {project.name} --entry-point te", project.parent) == ["test"]
    assert offered(f"projrun run ..#{project.name} -e tr") == ["train"]
    assert offered("projrun run -e tr") == ["train"]


def test_names_of_parameters_want_a_value_behind_them(offered: Complete) -> None:
    assert offered("projrun run . -e train -P l") == ["l1-ratio=", "option -o nospace"]
    assert offered("projrun run . -e train -P alpha=0.5 -P ")[:3] == ["l1-ratio=", "mode=", "shuffle="]


def test_known_values_stand_behind_the_equals_sign(offered: Complete) -> None:
    assert offered("projrun run . -e train -P mode=") == ["fast", "exact"]
    assert offered("projrun run . -e train -P shuffle=t") == ["true"]
    assert offered("projrun run . -e train -P alpha=") == [""]


def test_uris_are_directories(offered: Complete) -> None:
    assert offered("projrun run ex") == ["option -o dirnames"]
    assert offered("projrun describe ex") == ["option -o dirnames"]


def test_nothing_is_fetched_and_nothing_breaks(offered: Complete, project: Path) -> None:
    assert offered("projrun run https://127.0.0.1:1/x.git -e ") == [""]
    assert offered("projrun run . -e nothing -P ") == [""]
    (project / "MLproject").write_text("- [\n")
    assert offered("projrun run . -e ") == [""]


def test_scripts_are_offered_where_nothing_is_declared(offered: Complete, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    for name in ("b.py", "a.sh", "notes.txt"):
        (tmp_path / "bare" / name).touch()
    assert offered("projrun run . -e ", tmp_path / "bare") == ["a.sh", "b.py"]


def test_zsh_and_fish_get_descriptions(projrun: Projrun, project: Path) -> None:
    words = {"COMP_WORDS": "projrun run . -e train -P al"}
    zsh = projrun(cwd=project, environ={**words, "COMP_CWORD": "6", "_PROJRUN_COMPLETE": "zsh_complete"})
    assert zsh.stdout == "plain\nalpha=\nfloat Strength, 0 or more\n"
    fish = projrun(cwd=project, environ={**words, "COMP_CWORD": "al", "_PROJRUN_COMPLETE": "fish_complete"})
    assert fish.stdout == "plain,alpha=\tfloat Strength, 0 or more\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_printed(projrun: Projrun, shell: str) -> None:
    done = projrun("completion", shell)
    assert done.returncode == 0
    assert f"_PROJRUN_COMPLETE={shell}_complete" in done.stdout
    assert projrun("completion", "tcsh").returncode == 2


def test_a_real_fish_completes(project: Path, path_with_projrun: str) -> None:
    needs("fish")
    script = 'projrun completion fish | source; complete -C "projrun run . -e t"; complete -C "projrun ru"'
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        cwd=project,
        env={**os.environ, "PATH": path_with_projrun},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    words = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert sorted(words) == ["run", "runs", "test", "train"]


def test_a_real_zsh_completes(project: Path, path_with_projrun: str, tmp_path: Path) -> None:
    needs("zsh", "tmux")
    (tmp_path / ".zshrc").write_text(
        "autoload -Uz compinit && compinit -u -D\neval \"$(projrun completion zsh)\"\nPS1='ready> '\n"
    )
    environ = {"PATH": path_with_projrun, "ZDOTDIR": str(tmp_path)}
    with terminal(80, ["zsh", "-d", "-i"], cwd=project, environ=environ) as zsh:
        zsh.wait_for(lambda screen: screen.endswith("ready>"))
        zsh.press("projrun run . -e tr", "Tab")
        zsh.wait_for(lambda screen: "projrun run . -e train" in screen)
        zsh.press("-P al", "Tab")
        zsh.wait_for(lambda screen: "projrun run . -e train -P alpha=" in screen)
