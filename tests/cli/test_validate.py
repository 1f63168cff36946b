"""Stories of `projrun validate`: what an author sees, and what a machine reads."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from projrun.project.validate.findings import RULES
from tests.conftest import MakeProject, Projrun

BAD = """\
name: demo
python_env: python_env.yaml
entry_points:
  main:
    parameters: {alpha: float, n: {type: int, default: None}}
    command: >
      python train.py {alhpa}
        --n {n}
"""


@pytest.fixture
def bad(make_project: MakeProject) -> Path:
    return make_project("a, b", **{"MLproject": BAD, "python_env.yaml": "python: 3.10\n"})


def test_an_author_reads_where_what_why_and_what_to_do(projrun: Projrun, bad: Path) -> None:
    done = projrun("validate", cwd=bad)
    assert done.returncode == 1
    assert done.stdout == (
        "MLproject:5:47: warning: the default of parameter 'n' (int): 'None' is not an int [default-misfit]\n"
        "    why: projrun would refuse this value if a user gave it\n"
        "    fix: write default: null, or required: false\n"
        "MLproject:7:23: error: the command has a placeholder '{alhpa}' that no parameter declares "
        "[undeclared-placeholder]\n"
        "    why: no parameter gives the placeholder a value, so the run is refused\n"
        "    fix: did you mean '{alpha}'? declare 'alhpa' under parameters, or write {{alhpa}} for braces\n"
        "MLproject:8:9: warning: the command breaks off before '--n {…}' [second-command]\n"
        "    why: bash ends the command at the end of the line and runs the next line as another command\n"
        "    fix: end the line before it with a backslash\n"
        "python_env.yaml:1:1: error: python: 3.1 without quotes is the number 3.1 [unquoted-python]\n"
        "    why: YAML reads 3.10 without quotes as the number 3.1\n"
        "    fix: write python: '3.10'\n"
    ).replace("python: 3.1 without", "python: 3.10 without")
    assert done.stderr == "projrun: 2 errors, 2 warnings\n"


def test_files_are_named_as_the_user_sees_them(projrun: Projrun, bad: Path) -> None:
    lines = projrun("validate", bad.name, cwd=bad.parent).stdout.splitlines()
    assert lines[0].startswith("a, b/MLproject:5:47:")


def test_a_good_project_prints_nothing(projrun: Projrun, make_project: MakeProject) -> None:
    files = {"MLproject": "name: fine\n", "python_env.yaml": "python: '3.11'\n"}
    done = projrun("validate", make_project(**files))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "projrun: nothing found\n")


def test_warnings_alone_are_no_failure(projrun: Projrun, make_project: MakeProject) -> None:
    done = projrun("validate", make_project(MLproject="conda_evn: x\n"))
    assert done.returncode == 0
    assert "did you mean 'conda_env'?" in done.stdout


def test_json_is_an_array_of_findings(projrun: Projrun, bad: Path) -> None:
    findings = json.loads(projrun("validate", "--format", "json", cwd=bad).stdout)
    assert findings[1] == {
        "rule": "undeclared-placeholder",
        "severity": "error",
        "message": "the command has a placeholder '{alhpa}' that no parameter declares",
        "fix": "did you mean '{alpha}'? declare 'alhpa' under parameters, or write {{alhpa}} for braces",
        "file": "MLproject",
        "line": 7,
        "column": 23,
        "explanation": RULES["undeclared-placeholder"].explanation,
    }


def test_github_marks_the_lines(projrun: Projrun, bad: Path) -> None:
    lines = projrun("validate", bad, "--format", "github", cwd=bad.parent).stdout.splitlines()
    assert lines[2] == (
        "::warning file=a%2C b/MLproject,line=8,col=9,title=second-command::"
        "the command breaks off before '--n {…}'; end the line before it with a backslash"
    )
    assert lines[3].startswith(
        "::error file=a%2C b/python_env.yaml,line=1,col=1,title=unquoted-python::python: "
    )


def test_sarif_has_what_its_schema_requires(projrun: Projrun, bad: Path) -> None:
    """https://docs.oasis-open.org/sarif/sarif/v2.1.0: required properties, enumerations and references."""
    log = json.loads(projrun("validate", bad, "--format", "sarif", cwd=bad.parent).stdout)
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "projrun"
    ids = [rule["id"] for rule in driver["rules"]]
    assert ids == list(dict.fromkeys(ids)) == list(RULES)
    assert all(rule["shortDescription"]["text"] for rule in driver["rules"])
    assert {rule["defaultConfiguration"]["level"] for rule in driver["rules"]} <= {"error", "warning", "note"}
    assert len(run["results"]) == 4
    for result in run["results"]:
        check_result(result, ids)


def check_result(result: dict[str, Any], ids: list[str]) -> None:
    assert result["level"] in ("error", "warning", "note")
    assert ids[result["ruleIndex"]] == result["ruleId"]
    assert result["message"]["text"]
    (location,) = result["locations"]
    place = location["physicalLocation"]
    uri = place["artifactLocation"]["uri"]
    assert unquote(uri) in ("a, b/MLproject", "a, b/python_env.yaml")
    assert " " not in uri  # a valid URI reference
    assert place["region"]["startLine"] >= 1
    assert place["region"]["startColumn"] >= 1


def test_every_format_is_valid_without_findings(projrun: Projrun, make_project: MakeProject) -> None:
    project = make_project(**{"MLproject": "name: x\n", "python_env.yaml": "python: '3.11'\n"})
    assert projrun("validate", project, "--format", "json").stdout == "[]\n"
    assert projrun("validate", project, "--format", "github").stdout == ""
    assert json.loads(projrun("validate", project, "--format", "sarif").stdout)["runs"][0]["results"] == []


def test_a_commit_of_a_repository_is_checked(
    projrun: Projrun, make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project("repo/sub", MLproject="nmae: old\n")
    repository = project.parent
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run(["git", *arguments], cwd=repository, check=True)
    (project / "MLproject").write_text("name: new\n")
    done = projrun("validate", f"{repository}#sub", "-v", "main", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sub/MLproject:1:1: warning: the key 'nmae' is unknown")


def test_what_cannot_be_fetched_or_understood_has_its_usual_exit_code(
    projrun: Projrun, tmp_path: Path
) -> None:
    assert projrun("validate", tmp_path / "nowhere").returncode == 125
    assert projrun("validate", tmp_path, "--format", "xml").returncode == 2
    assert projrun("validate", tmp_path).returncode == 0
