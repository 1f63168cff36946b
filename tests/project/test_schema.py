"""The JSON Schemas: current, valid, and of one mind with the parser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped,unused-ignore]
import pytest

from projrun.errors import ProjectError
from projrun.project import read_project
from projrun.project.schema import DIRECTORY, encoded, schemas
from projrun.yamlfile import parse
from tests.project.corpus import CASES, Case

NOT_OF_THE_FILE = {
    "two_files": "two files",
    "missing_environment": "a file is missing",
    "missing_python_env": "a file is missing",
    "conda_as_python_env": "another file is bad",
    "number_as_python": "another file is bad",
}
"""Cases that are refused for something that a schema of one file does not see."""

PYTHON_ENVS = {
    "": True,
    "python: '3.11'\n": True,
    "python: 3.11\n": True,
    "python: 3.10\n": False,
    "python: '>=3.9,<3.12'\n": True,
    "python: three\n": False,
    "python: [3]\n": False,
    "dependencies: [numpy, six]\nother: 1\n": True,
    "dependencies: numpy\n": False,
    "dependencies: [{pip: [numpy]}]\n": False,
    "channels: [defaults]\n": False,
    "build_dependencies: [pip]\ndependencies:\n": True,
    "- a\n": False,
}


@pytest.mark.parametrize("name", schemas())
def test_the_schemas_are_current(name: str) -> None:
    hint = "run: python -m projrun.project.schema"
    assert (DIRECTORY / name).read_bytes() == encoded(schemas()[name]), hint
    jsonschema.Draft202012Validator.check_schema(schemas()[name])


def valid(schema: str, text: str) -> bool:
    try:
        data: Any = json.loads(json.dumps(parse(text, "f").data, default=str))
    except ProjectError:
        return False
    return bool(jsonschema.Draft202012Validator(schemas()[schema]).is_valid(data))


def accepted(directory: Path) -> bool:
    try:
        project = read_project(directory)
        for name in project.entry_points:
            project.entry_point(name)
    except ProjectError:
        return False
    return True


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if "MLproject" in case.files and case.name not in NOT_OF_THE_FILE],
    ids=lambda case: case.name,
)
def test_schema_and_parser_agree(case: Case, tmp_path: Path) -> None:
    for name, content in case.files.items():
        (tmp_path / name).write_bytes(content.encode())
    assert valid("mlproject.schema.json", case.files["MLproject"]) == accepted(tmp_path)


@pytest.mark.parametrize(("text", "good"), PYTHON_ENVS.items())
def test_schema_and_parser_agree_on_python_env(text: str, good: bool, tmp_path: Path) -> None:
    (tmp_path / "python_env.yaml").write_text(text)
    assert (valid("python_env.schema.json", text), accepted(tmp_path)) == (good, good)
