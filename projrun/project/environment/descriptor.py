"""Read the environment's descriptor: docker_env, python_env.yaml, or what `conda_file` reads."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, TypeGuard

from projrun.documents import Document
from projrun.documents.yaml_cache import load_yaml
from projrun.plan import Descriptor
from projrun.project.environment import PIXI, PIXI_LOCK, DescriptorResult, require_mapping

ENV_KEYS = ("docker_env", "python_env", "conda_env")
# Files that describe the environment if no key of the MLproject file names one, in this order
BESIDE = (
    ("python_env", "python_env.yaml"),
    *(("conda_env", file) for file in ("conda.yaml", "environment.yml", "environment.yaml", PIXI)),
)
_PLAIN = ("image", "volumes", "environment")
_PYTHON_ENV_KEYS = ("python", "build_dependencies", "dependencies")


def read_descriptor(directory: Path, mlproject: Document | None) -> DescriptorResult:
    """Read the descriptor that the MLproject file names, or that lies beside it. Raises ProjectError."""
    data: dict[Any, Any] = mlproject.data if mlproject and isinstance(mlproject.data, dict) else {}
    named = [key for key in ENV_KEYS if key in data]
    if mlproject and len(named) > 1:
        names = " and ".join(f"'{key}'" for key in named)
        raise mlproject.error(
            f"has {names}, which exclude each other", "keep one of them", named[1], rule="two-environments"
        )
    if mlproject and named and data[named[0]]:
        return _named(directory, mlproject, named[0], data[named[0]])
    for kind, file in BESIDE:
        if is_descriptor_file(directory, file):
            return _from_file(directory, kind, file)
    return Descriptor(kind="none"), ()


def _named(directory: Path, mlproject: Document, key: str, value: object) -> DescriptorResult:
    if key == "docker_env":
        return read_docker_env(mlproject, value), ()
    return _from_file(directory, key, find_named_file(directory, mlproject, key, value))


def find_named_file(directory: Path, mlproject: Document, key: str, value: object) -> str:
    """Return the existing file that `python_env` or `conda_env` names. Raises ProjectError."""
    if not isinstance(value, str):
        hint = f"write the environment to a file and name it: {key}: FILE"
        raise mlproject.error(f"'{key}' is to be the name of a file", hint, key)
    if not os.path.isfile(directory / value):  # not Path.is_file, which raises for impossible names
        hint = "add the file, or correct the name (it is relative to the project's directory)"
        raise mlproject.error(
            f"'{key}' names '{value}', which does not exist", hint, key, rule="missing-file"
        )
    return value


def is_descriptor_file(directory: Path, file: str) -> bool:
    """Return True if the file is a descriptor; pixi.toml is one only with its lock."""
    return (directory / file).exists() and (file != PIXI or (directory / PIXI_LOCK).is_file())


def _from_file(directory: Path, kind: str, file: str) -> DescriptorResult:
    if kind == "python_env":
        return read_python_env(load_yaml(directory / file, file), directory)
    from projrun.project.environment import conda_file

    if file.endswith(".toml"):
        return conda_file.read_pixi(directory, file), ()
    if conda_file.is_explicit(directory / file):
        return conda_file.read_explicit_list(directory, file), ()
    return conda_file.read_conda_env(load_yaml(directory / file, file), directory)


def read_docker_env(mlproject: Document, value: object) -> Descriptor:
    """Read the value of `docker_env`. Raises ProjectError."""
    if _is_plain(value):
        return Descriptor(kind="docker_env", docker={key: value[key] for key in _PLAIN if value.get(key)})
    from msgspec import to_builtins

    from projrun.project.shapes import DockerShape, convert_to_shape  # late: the shapes take long to make

    shape = convert_to_shape(mlproject, value, DockerShape, "'docker_env'", "docker_env")
    if not shape.image and not shape.build:
        raise mlproject.error(
            "'docker_env': object missing required field `image`",
            "write image: NAME, or build: DIRECTORY of a Dockerfile",
            "docker_env",
        )
    docker = {key: part for key, part in to_builtins(shape).items() if part}
    return Descriptor(kind="docker_env", docker=docker)


def _is_plain(value: object) -> TypeGuard[dict[str, Any]]:
    """Return True for a `docker_env` whose plain form needs no closer check."""
    if not isinstance(value, dict) or not value.keys() <= set(_PLAIN):
        return False
    image = value.get("image")
    return isinstance(image, str) and image != "" and _are_lists_of_strings(value, *_PLAIN[1:])


def read_python_env(document: Document, directory: Path) -> DescriptorResult:
    data = require_mapping(document)
    refuse_conda_export(document, data)
    if not (isinstance(data.get("python", ""), str) and _are_lists_of_strings(data, *_PYTHON_ENV_KEYS[1:])):
        # late: the shapes take long to make
        from projrun.project.shapes import PythonEnvShape, convert_to_shape

        convert_to_shape(document, data, PythonEnvShape, "the python_env file")
    from projrun.project.environment.requirements import Requirements  # late: few projects have the file

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
        if key not in _PYTHON_ENV_KEYS
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


def _are_lists_of_strings(data: dict[Any, Any], *keys: str) -> bool:
    """Return True if each of these keys is missing or holds a list of strings."""
    # Asked before a shape is made, which takes long and which most files do not need
    written = [data[key] for key in keys if data.get(key) is not None]
    return all(isinstance(value, list) and all(isinstance(item, str) for item in value) for value in written)
