"""Make the JSON Schemas of MLproject, python_env.yaml and the run record from the types that read them.

`python -m projrun.schemas` writes them to schemas/.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from projrun import plan, record
from projrun.disk.file_operations import write_atomically
from projrun.project.environment.descriptor import ENV_KEYS
from projrun.project.shapes import ProjectShape, PythonEnvShape
from projrun.record import RECORD_VERSION, Record

DIRECTORY = Path(__file__).parents[1] / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def make_schemas() -> dict[str, dict[str, Any]]:
    """Return the schemas by file name."""
    pairs = [[a, b] for index, a in enumerate(ENV_KEYS) for b in ENV_KEYS[index + 1 :]]
    one_environment = {"not": {"type": "object", "anyOf": [{"required": pair} for pair in pairs]}}
    no_conda = {"not": {"type": "object", "required": ["channels"]}}
    return {
        "mlproject.schema.json": _make_schema(ProjectShape, "MLproject", one_environment),
        "python_env.schema.json": _make_schema(PythonEnvShape, "python_env.yaml", no_conda),
        "run-record.schema.json": _make_record_schema(),
    }


def encode_schema(schema: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


def _make_schema(shape: type, title: str, more: dict[str, Any]) -> dict[str, Any]:
    (made,), definitions = msgspec.json.schema_components([shape], ref_template="#/$defs/{name}")
    own = definitions.pop(made["$ref"].rsplit("/", 1)[1])
    own["type"] = ["object", "null"]  # an empty file is valid
    name = title.removesuffix(".yaml").lower()
    return {
        "$schema": DIALECT,
        "$id": f"urn:projrun:schema:{name}:1",
        **own,
        "title": title,
        **more,
        "$defs": {key: _named(value) for key, value in definitions.items()},
    }


def _make_record_schema() -> dict[str, Any]:
    # The records that this version writes have all members
    (made,), definitions = msgspec.json.schema_components([Record], ref_template="#/$defs/{name}")
    documented: dict[str, dict[str, str]] = {}
    for module in (plan, record):
        documented.update(_documented(module))
    for name, definition in definitions.items():
        definition["required"] = list(definition["properties"])
        for member, text in documented.get(name, {}).items():
            definition["properties"][member]["description"] = text
    own = definitions.pop(made["$ref"].rsplit("/", 1)[1])
    identity = {"$schema": DIALECT, "$id": f"urn:projrun:schema:run-record:{RECORD_VERSION}"}
    return {**identity, **own, "title": "run record", "$defs": definitions}


def _documented(module: ModuleType) -> dict[str, dict[str, str]]:
    """Return the docstrings of members, by class and member."""
    classes = (node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef))
    return {node.name: dict(_texts_below(node.body)) for node in classes}


def _texts_below(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for member, text in pairwise(body):
        if isinstance(member, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(member.target, ast.Name) and isinstance(text.value, ast.Constant)
            yield member.target.id, inspect.cleandoc(str(text.value.value))


def _named(definition: dict[str, Any]) -> dict[str, Any]:
    title = definition["title"].removesuffix("Shape")
    build = {"required": ["build"], "properties": {"build": {"not": {"type": "null"}}}}
    more = {"anyOf": [{"required": ["image"]}, build]} if title == "Docker" else {}
    return {**definition, "title": title, **more}


if __name__ == "__main__":
    for file, schema in make_schemas().items():
        write_atomically(DIRECTORY / file, encode_schema(schema))
