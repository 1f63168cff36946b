"""Compare what projrun and mlflow make of every project of the corpus."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from projrun.disk.file_locks import hold_lock
from projrun.errors import ProjrunError
from projrun.project import read_project
from projrun.project.command import render_command
from projrun.project.mlproject import Project
from tests.project.corpus import CASES, Case, Run
from tests.support.mlflow_clients import MLFLOW, Client
from tests.support.repository import ROOT

REFERENCE = Path(__file__).parent / "project_script.py"
EXAMPLES = sorted(file.parent for file in (ROOT / "examples").rglob("MLproject"))
DOCUMENT = ROOT / "docs" / "mlproject.md"


@pytest.fixture(scope="module")
def corpus(shared_directory: Path) -> Path:
    """Return a directory that has one for each case, and `caller`, from which they are run."""
    return shared_directory / "corpus"


@pytest.fixture(scope="module")
def answers(client_python: Client, corpus: Path) -> dict[str, Any]:
    """Return mlflow's reading of every case and example: one process of mlflow for all of this session."""
    file = corpus.with_suffix(".json")
    with hold_lock(corpus.with_suffix(".lock")):
        if not file.exists():
            write_corpus(corpus)
            file.write_text(ask_mlflow(client_python("", *MLFLOW), corpus))
    answers: dict[str, Any] = json.loads(file.read_text())
    return answers


def write_corpus(corpus: Path) -> None:
    for case in CASES:
        for name, content in case.files.items():
            file = corpus / case.name / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode())
        (corpus / case.name).mkdir(exist_ok=True)
    (corpus / "caller").mkdir(exist_ok=True)
    for name in ("data.csv", "da%74a.csv", "100%25.csv"):
        (corpus / "caller" / name).touch()


def ask_mlflow(python: Path, corpus: Path) -> str:
    questions = {
        str(corpus / case.name): [{"entry": run.entry, "values": run.values} for run in case.runs]
        for case in CASES
    } | {str(example): [] for example in EXAMPLES}
    done = subprocess.run(
        [python, REFERENCE],
        input=json.dumps([{"directory": directory, "runs": runs} for directory, runs in questions.items()]),
        cwd=corpus / "caller",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.dumps(dict(zip(questions, json.loads(done.stdout), strict=True)))


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
def test_same_as_mlflow_or_a_documented_difference(case: Case, answers: dict[str, Any], corpus: Path) -> None:
    directory = corpus / case.name
    answer = answers[str(directory)]
    project = read(directory)
    ours = described(project, directory) if project else None
    check_difference(case.name, ours, answer.get("project"), case.difference)
    for run, theirs in zip(case.runs, answer.get("runs", ())):
        command = rendered(project, run, corpus / "caller") if project else None
        check_difference(f"{case.name} {run.values}", command, theirs.get("command"), run.difference)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_mlflow_reads_the_examples_too(example: Path, answers: dict[str, Any]) -> None:
    project = read_project(example)
    assert answers[str(example)]["project"] == {**described(project, example), "name": project.name}


def test_every_difference_is_a_row_of_the_documentation() -> None:
    rows = set(re.findall(r"^\| `([a-z-]+)` \|", DOCUMENT.read_text(), re.MULTILINE))
    used = {case.difference for case in CASES} | {run.difference for case in CASES for run in case.runs}
    assert used - {""} <= rows
