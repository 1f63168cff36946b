"""JSON Schemas of MLproject, python_env.yaml and the run record, made from the types that read them.

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


def schemas() -> dict[str, dict[str, Any]]:
    """File name: schema."""
    return {
        "mlproject.schema.json": _schema(ProjectShape, "MLproject", _one_environment()),
        "python_env.schema.json": _schema(PythonEnvShape, "python_env.yaml", _no_conda()),
        "run-record.schema.json": _of_record(),
    }


def encoded(schema: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


def _schema(shape: type, title: str, more: dict[str, Any]) -> dict[str, Any]:
    (made,), definitions = msgspec.json.schema_components([shape], ref_template="#/$defs/{name}")
    own = definitions.pop(made["$ref"].rsplit("/", 1)[1])
    own["type"] = ["object", "null"]  # an empty file is fine
    name = title.removesuffix(".yaml").lower()
    return {
        "$schema": DIALECT,
        "$id": f"urn:projrun:schema:{name}:1",
        **own,
        "title": title,
        **more,
        "$defs": {key: _named(value) for key, value in definitions.items()},
    }


def _of_record() -> dict[str, Any]:
    """Return the schema of the records that this version writes, which have all members."""
    (made,), definitions = msgspec.json.schema_components([Record], ref_template="#/$defs/{name}")
    documented: dict[str, dict[str, str]] = {}
    for module in (plan, record, plan):
        documented.update(_documented(module))
    for name, definition in definitions.items():
        definition["required"] = list(definition["properties"])
        for member, text in documented.get(name, {}).items():
            definition["properties"][member]["description"] = text
    own = definitions.pop(made["$ref"].rsplit("/", 1)[1])
    identity = {"$schema": DIALECT, "$id": f"urn:projrun:schema:run-record:{RECORD_VERSION}"}
    return {**identity, **own, "title": "run record", "$defs": definitions}


def _documented(module: ModuleType) -> dict[str, dict[str, str]]:
    """Class -> member -> the text that stands below it in the source."""
    classes = (node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef))
    return {node.name: dict(_texts_below(node.body)) for node in classes}


def _texts_below(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for member, text in pairwise(body):
        if isinstance(member, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(member.target, ast.Name) and isinstance(text.value, ast.Constant)
            yield member.target.id, inspect.cleandoc(str(text.value.value))


def _named(definition: dict[str, Any]) -> dict[str, Any]:
    title = definition["title"].removesuffix("Shape")
    return {**definition, "title": title, **(_image_or_build() if title == "Docker" else {})}


def _one_environment() -> dict[str, Any]:
    pairs = [[a, b] for index, a in enumerate(ENV_KEYS) for b in ENV_KEYS[index + 1 :]]
    return {"not": {"type": "object", "anyOf": [{"required": pair} for pair in pairs]}}


def _image_or_build() -> dict[str, Any]:
    return {
        "anyOf": [
            {"required": ["image"]},
            {"required": ["build"], "properties": {"build": {"not": {"type": "null"}}}},
        ]
    }


def _no_conda() -> dict[str, Any]:
    return {"not": {"type": "object", "required": ["channels"]}}


if __name__ == "__main__":
    for file, content in schemas().items():
        write_atomically(DIRECTORY / file, encoded(content))
