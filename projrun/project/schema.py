"""JSON Schemas of MLproject and python_env.yaml, made from the types that the parser checks against.

`python -m projrun.project.schema` writes them to schemas/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from projrun.files import write_atomically
from projrun.project.descriptors import ENV_KEYS
from projrun.project.shapes import ProjectShape, PythonEnvShape

DIRECTORY = Path(__file__).parents[2] / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """File name: schema."""
    return {
        "mlproject.schema.json": _schema(ProjectShape, "MLproject", _one_environment()),
        "python_env.schema.json": _schema(PythonEnvShape, "python_env.yaml", _no_conda()),
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
