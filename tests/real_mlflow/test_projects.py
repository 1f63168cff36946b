"""Compare what projrun and mlflow make of every project of the corpus."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from projrun.errors import ProjrunError
from projrun.project import read_project
from projrun.project.command import render_command
from projrun.project.mlproject import Project
from tests.project.corpus import CASES, Case, Run
from tests.support.mlflow_clients import MLFLOW, Client
from tests.support.repository import ROOT

REFERENCE = Path(__file__).parent / "project_script.py"
EXAMPLES = ROOT / "examples"
DOCUMENT = ROOT / "docs" / "mlproject.md"


@pytest.fixture(scope="module")
def mlflow_python(client_python: Client) -> Path:
    """An interpreter of an environment with the real mlflow."""
    return client_python("", MLFLOW)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for each case, and `caller`, from which they are run."""
    root = tmp_path_factory.mktemp("corpus")
    for case in CASES:
        for name, content in case.files.items():
            file = root / case.name / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode())
        (root / case.name).mkdir(exist_ok=True)
    (root / "caller").mkdir()
    for name in ("data.csv", "da%74a.csv", "100%25.csv"):
        (root / "caller" / name).touch()
    return root


@pytest.fixture(scope="module")
def answers(mlflow_python: Path, places: Path) -> dict[str, Any]:
    """mlflow's reading of every case, from one process."""
    questions = [
        {
            "directory": str(places / case.name),
            "runs": [{"entry": run.entry, "values": run.values} for run in case.runs],
        }
        for case in CASES
    ]
    done = subprocess.run(
        [mlflow_python, REFERENCE],
        input=json.dumps(questions),
        cwd=places / "caller",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {case.name: answer for case, answer in zip(CASES, json.loads(done.stdout))}


def described(project: Project, directory: Path) -> dict[str, Any]:
    kind = project.descriptor.kind
    return {
        "name": None if project.name == directory.name else project.name,
        "env": "python_env" if kind == "none" else kind,
        "file": project.descriptor.file,
        "entry_points": {
            name: [
                parameter.name
                for parameter in entry_point.parameters.values()
                if parameter.default is None and parameter.required
            ]
            for name, entry_point in project.entry_points.items()
        },
    }


def rendered(project: Project, run: Run, caller: Path) -> str | None:
    try:
        return render_command(project.entry_point(run.entry), run.values, caller=caller).command
    except ProjrunError:
        return None


def read(directory: Path) -> Project | None:
    try:
        return read_project(directory)
    except ProjrunError:
        return None


def check_difference(what: str, ours: object, theirs: object, difference: str) -> None:
    if ours == theirs:
        assert not difference, f"{what}: '{difference}' is no longer a difference"
    else:
        assert difference, f"{what}: ours is {ours!r}, mlflow's {theirs!r}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_as_mlflow_or_a_documented_difference(case: Case, answers: dict[str, Any], places: Path) -> None:
    answer = answers[case.name]
    project = read(places / case.name)
    ours = described(project, places / case.name) if project else None
    check_difference(case.name, ours, answer.get("project"), case.difference)
    for run, theirs in zip(case.runs, answer.get("runs", ())):
        command = rendered(project, run, places / "caller") if project else None
        check_difference(f"{case.name} {run.values}", command, theirs.get("command"), run.difference)


@pytest.mark.parametrize(
    "example", sorted(file.parent for file in EXAMPLES.rglob("MLproject")), ids=lambda path: path.name
)
def test_mlflow_reads_the_examples_too(example: Path, mlflow_python: Path, tmp_path: Path) -> None:
    question = json.dumps([{"directory": str(example), "runs": []}])
    done = subprocess.run(
        [mlflow_python, REFERENCE], input=question, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    project = read_project(example)
    theirs = json.loads(done.stdout)[0]["project"]
    assert theirs == {**described(project, example), "name": project.name}


def test_every_difference_is_a_row_of_the_documentation() -> None:
    rows = set(re.findall(r"^\| `([a-z-]+)` \|", DOCUMENT.read_text(), re.MULTILINE))
    used = {case.difference for case in CASES} | {run.difference for case in CASES for run in case.runs}
    assert used - {""} <= rows
