"""Read python_env.yaml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from projrun.documents import Document
from projrun.plan import Descriptor
from projrun.project.environment import DescriptorResult, are_lists_of_strings, require_mapping
from projrun.project.environment.requirements import Requirements

_KEYS = ("python", "build_dependencies", "dependencies")


def read_python_env(document: Document, directory: Path) -> DescriptorResult:
    data = require_mapping(document)
    refuse_conda_export(document, data)
    if not (isinstance(data.get("python", ""), str) and are_lists_of_strings(data, *_KEYS[1:])):
        from projrun.project.shapes import (
            PythonEnvShape,
            convert_to_shape,
        )  # late: the shapes take long to make

        convert_to_shape(document, data, PythonEnvShape, "the python_env file")
    requirements = Requirements(directory)
    requirements.add(data.get("build_dependencies") or (), directory, document.file)
    build = tuple(requirements.lines)
    requirements.lines.clear()
    requirements.add(data.get("dependencies") or (), directory, document.file)
    descriptor = Descriptor(
        kind="python_env",
        file=document.file,
        python=parse_python(document, data.get("python")),
        build_dependencies=build,
        dependencies=tuple(requirements.lines),
        constraints=tuple(requirements.constraints),
    )
    return descriptor, tuple(
        f"{document.file}:{document.position(str(key))[0]}: unknown key '{key}' is ignored"
        for key in data
        if key not in _KEYS
    )


def refuse_conda_export(document: Document, data: dict[Any, Any]) -> None:
    dependencies = data.get("dependencies")
    nested = isinstance(dependencies, list) and any(isinstance(item, dict) for item in dependencies)
    if nested or "channels" in data:
        where = ("channels",) if "channels" in data else ("dependencies",)
        raise document.error(
            "is a conda environment, not a python_env file",
            f"name it in the MLproject file as 'conda_env: {document.file}'",
            *where,
            rule="conda-as-python-env",
        )


def parse_python(document: Document, written: str | float | None) -> str:
    if written is None:
        return ""
    text = str(written).strip()
    if isinstance(written, float) and len(text) == 3 and text < "3.4":
        raise document.error(
            f"python: {text}0 without quotes is the number {text}",
            f"write python: '{text}0'",
            "python",
            rule="unquoted-python",
        )
    if text and not _is_version(text):
        hint = "write a version such as '3.11' or '3.11.7', or a set such as '>=3.10,<3.13'"
        raise document.error(f"'{text}' is not a Python version", hint, "python", rule="bad-python")
    return text


def _is_version(text: str) -> bool:
    """Return True for a version or a set of versions (PEP 440)."""
    if text.isascii() and all(part.isdecimal() for part in text.split(".")):
        return True
    from projrun.project.shapes import PYTHON_PATTERN

    return re.match(PYTHON_PATTERN, text) is not None
