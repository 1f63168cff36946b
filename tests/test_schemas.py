"""The JSON Schemas: current, valid, and of one mind with the parser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped,unused-ignore]
import pytest

from projrun.documents.yaml_file import parse_yaml
from projrun.errors import ProjectError
from projrun.project import read_project
from projrun.project.mlproject import Parameter
from projrun.project.parameters import kind_of
from projrun.project.validate import check_project
from projrun.schemas import DIRECTORY, encode_schema, make_schemas
from tests.project.corpus import CASES, Case

NOT_OF_THE_FILE = {
    "two_files": "two files",
    "missing_environment": "a file is missing",
    "missing_python_env": "a file is missing",
    "conda_as_python_env": "another file is bad",
    "number_as_python": "another file is bad",
}
"""Cases that are refused for something that a schema of one file does not see."""

SCHEMA_OF = {"MLproject": "mlproject.schema.json", "python_env.yaml": "python_env.schema.json"}

STRICTER = {
    "unknown_keys": "unknown keys",
    "spark_job": "an unknown key",
    "no_blank": "unknown keys, made by missing blanks",
    "no_blank_at_all": "unknown keys, made by missing blanks",
    "type_names": "unknown types",
}
"""Cases that are run with a warning, which an editor should mark."""

PYTHON_ENVS = {
    "": True,
    "python: '3.11'\n": True,
    "python: 3.11\n": True,
    "python: 3.10\n": False,
    "python: '>=3.9,<3.12'\n": True,
    "python: three\n": False,
    "python: [3]\n": False,
    "dependencies: numpy\n": False,
    "dependencies: [{pip: [numpy]}]\n": False,
    "channels: [defaults]\n": False,
    "build_dependencies: [pip]\ndependencies:\n": True,
    "- a\n": False,
}


@pytest.mark.parametrize("name", make_schemas())
def test_the_schemas_are_current(name: str) -> None:
    hint = "run: python -m projrun.schemas"
    assert (DIRECTORY / name).read_bytes() == encode_schema(make_schemas()[name]), hint
    jsonschema.Draft202012Validator.check_schema(make_schemas()[name])


def valid(schema: str, text: str) -> bool:
    try:
        data: Any = json.loads(json.dumps(parse_yaml(text, "f").data, default=str))
    except ProjectError:
        return False
    return bool(jsonschema.Draft202012Validator(make_schemas()[schema]).is_valid(data))


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
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content.encode())
    if valid("mlproject.schema.json", case.files["MLproject"]):
        assert accepted(tmp_path)
    else:
        assert {finding.severity for finding in check_project(tmp_path)} & {"error", "warning"}
        assert accepted(tmp_path) == (case.name in STRICTER)


TYPES = "string STRING str int Integer float number double bool Boolean path Path uri URI list list[int]"
OTHER_TYPES = [
    "List[Str]",
    "list[path]",
    "list[",
    "flaot",
    "",
    " int ",
    "int\n",
    "list[ float ]",
    "any",
    "string!",
]


@pytest.mark.parametrize("name", [*TYPES.split(), *OTHER_TYPES])
def test_schema_and_parser_know_the_same_types(name: str) -> None:
    for body in (name, {"type": name}):
        data = {"entry_points": {"main": {"command": "ls", "parameters": {"a": body}}}}
        validator = jsonschema.Draft202012Validator(make_schemas()["mlproject.schema.json"])
        assert validator.is_valid(data) == bool(kind_of(Parameter(name="a", type=name)))


def test_unknown_keys_of_a_python_env_are_marked_and_read(tmp_path: Path) -> None:
    text = "python: '3.11'\nother: 1\n"
    (tmp_path / "python_env.yaml").write_text(text)
    assert not valid("python_env.schema.json", text)
    assert accepted(tmp_path)
    assert "unknown-key" in [finding.rule for finding in check_project(tmp_path)]


def test_the_examples_name_the_schemas() -> None:
    examples = [file for file in (DIRECTORY.parent / "examples").glob("*/*") if file.name in SCHEMA_OF]
    assert examples
    for file in examples:
        comment, _, path = file.read_text().splitlines()[0].partition("=")
        assert comment == "# yaml-language-server: $schema"
        assert (file.parent / path).resolve() == DIRECTORY / SCHEMA_OF[file.name]
        assert valid(SCHEMA_OF[file.name], file.read_text())


@pytest.mark.parametrize(("text", "good"), PYTHON_ENVS.items())
def test_schema_and_parser_agree_on_python_env(text: str, good: bool, tmp_path: Path) -> None:
    (tmp_path / "python_env.yaml").write_text(text)
    assert (valid("python_env.schema.json", text), accepted(tmp_path)) == (good, good)
