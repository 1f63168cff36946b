"""Stories of looking at a project before running it: `projrun describe` and `projrun run … --help`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Projrun

MLPROJECT = """\
name: iris
python_env: env.yaml
entry_points:
  main:
    parameters:
      alpha: {type: float, default: 0.1, min: 0, max: 1, description: Strength of the penalty}
      mode: {type: string, choices: [fast, exact]}
      depth: {type: int, required: false}
      shuffle: {type: bool, flag: --shuffle}
      out: {type: path, output: true, default: model}
    command: >-
      python train.py {alpha} {mode}
      --depth {depth} {shuffle} {out}
  clean:
    command: rm -rf out
"""
ENV = "python: '3.11'\ndependencies: [numpy==2.1.0]\n"


@pytest.fixture
def iris(make_project: MakeProject) -> Path:
    return make_project("iris", **{"MLproject": MLPROJECT, "env.yaml": ENV, "train.py": ""})


def test_a_user_sees_what_a_project_offers(projrun: Projrun, iris: Path) -> None:
    done = projrun("describe", cwd=iris)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout
        == """\
project  iris
from     .
file     MLproject

entry point main
  python train.py {alpha} {mode} --depth {depth} {shuffle} {out}
  alpha    float; at least 0; at most 1; default 0.1 — Strength of the penalty
  mode     string; one of fast, exact; required
  depth    int; may be left out
  shuffle  bool; stands for --shuffle; may be left out
  out      path; made by the run; default model

entry point clean
  rm -rf out

environment
  manager   uv, because the project's environment is described in env.yaml
  file      env.yaml
  python    3.11
  packages  numpy==2.1.0
"""
    )


def test_a_program_reads_the_same_as_json(projrun: Projrun, iris: Path) -> None:
    described = json.loads(projrun("describe", iris, "--json").stdout)
    assert list(described) == ["name", "source", "file", "entry_points", "environment", "warnings"]
    main, clean = described["entry_points"]
    assert main["parameters"][1] == {
        "name": "mode",
        "type": "string",
        "default": None,
        "description": "",
        "choices": ["fast", "exact"],
        "min": None,
        "max": None,
        "required": True,
        "flag": "",
        "output": False,
        "summary": "string; one of fast, exact; required",
    }
    assert clean == {"name": "clean", "command": "rm -rf out", "fault": "", "parameters": []}
    assert described["environment"]["manager"] == "uv"
    assert described["environment"]["dependencies"] == ["numpy==2.1.0"]


@pytest.mark.parametrize(("package", "manager"), [("numpy", "uv"), ("r-base", "conda")])
def test_the_manager_is_the_one_that_a_run_would_take(
    projrun: Projrun, make_project: MakeProject, package: str, manager: str
) -> None:
    project = make_project(**{"train.py": "", "conda.yaml": f"dependencies: [python=3.11, {package}]\n"})
    described = json.loads(projrun("describe", project, "--json").stdout)
    planned = json.loads(projrun("run", project, "-e", "train.py", "--dry-run", "--json").stdout)
    assert described["environment"]["manager"] == planned["environment"]["manager"] == manager


def test_traps_are_told_as_talk(projrun: Projrun, make_project: MakeProject) -> None:
    text = "entry_points: {main: {command: ls, parameters: {a: int}}}\n"
    done = projrun("describe", make_project(**{"MLproject": text, "python_env.yaml": ENV}))
    assert "warning: MLproject:1:49: parameter 'a' does not occur in the command" in done.stderr
    assert "warning" not in done.stdout


def test_a_project_that_cannot_be_read_is_one_line(projrun: Projrun, make_project: MakeProject) -> None:
    done = projrun("describe", make_project(MLproject="name: [\n"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (125, "", 1)


def test_a_missing_engine_is_told(projrun: Projrun, make_project: MakeProject) -> None:
    done = projrun("describe", make_project(MLproject="docker_env: {image: python:3.11}\n"))
    assert "docker, because the project runs in a container (docker_env)" in done.stdout
    assert "image" in done.stdout


def test_a_commit_of_a_repository_is_described_and_given_back(
    projrun: Projrun, iris: Path, home: object, tmp_path: Path
) -> None:
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"], ["tag", "v1"]):
        subprocess.run(["git", *arguments], cwd=iris, check=True)
    (iris / "MLproject").write_text("name: changed\n")
    here = json.loads(projrun("describe", iris, "--json").stdout)
    there = json.loads(projrun("describe", iris, "-v", "v1", "--json").stdout)
    assert (here["name"], here["source"]["dirty"]) == ("changed", True)
    assert (there["name"], there["source"]["dirty"]) == ("iris", False)
    assert here["source"]["commit"] == there["source"]["commit"]
    assert not list(tmp_path.parent.rglob("checkouts-v1/*/MLproject"))


def test_help_goes_on_with_the_entry_points_parameters(projrun: Projrun, iris: Path) -> None:
    plain = projrun("run", "--help").stdout
    done = projrun("run", iris, "--help", "-P", "alpha=1")
    assert (done.returncode, done.stderr) == (0, "")
    plain = plain.partition("\nExamples:")[0]  # the parameters stand before them
    assert done.stdout.startswith(plain)
    section = done.stdout[len(plain) :]
    assert "Parameters of entry point 'main' (-P NAME=VALUE):" in section
    assert " ".join(section.split()).count("float; at least 0; at most 1; default 0.1") == 1
    assert "It declares none." in projrun("run", iris, "-e", "clean", "--help").stdout


def test_help_is_help_even_when_the_project_is_broken(projrun: Projrun, iris: Path) -> None:
    for arguments in ((iris, "-e", "clan"), ("/nowhere",)):
        done = projrun("run", *arguments, "--help")
        assert done.returncode == 0
        assert done.stdout == projrun("run", "--help").stdout
        assert done.stderr.startswith("projrun: warning: the project's parameters cannot be shown: ")
        assert done.stderr.count("\n") == 1
