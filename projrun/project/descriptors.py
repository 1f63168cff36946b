"""python_env.yaml, conda.yaml and docker_env: what the author wrote about the environment."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from msgspec import UnsetType, to_builtins

from projrun.documents import Document
from projrun.plan import Descriptor
from projrun.project import condafiles
from projrun.project.requirements import Requirements
from projrun.project.shapes import PYTHON_PATTERN, DockerShape, PythonEnvShape, conform
from projrun.urls import channel_without_credentials
from projrun.yamlcache import load

ENV_KEYS = ("docker_env", "python_env", "conda_env")
BESIDE = (
    ("python_env", "python_env.yaml"),
    *(("conda_env", file) for file in ("conda.yaml", "environment.yml", "environment.yaml", condafiles.PIXI)),
)
"""Files that count when no key of the MLproject file names one, in this order."""

_PYTHON = re.compile(PYTHON_PATTERN)
_MATCH_SPEC = re.compile(r"(?:[\w.+/-]+::)?(?P<name>[\w.-]+)\s*(?P<version>[^\s\[]*)(?P<rest>.*)$")
_INSTALLERS = ("pip", "setuptools", "wheel")

Read = tuple[Descriptor, tuple[str, ...]]
"""A descriptor, and what to warn about."""


def read_descriptor(directory: Path, mlproject: Document | None) -> Read:
    """The descriptor that the MLproject file names, or that lies beside it."""
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
        if condafiles.counts(directory, file):
            return _from_file(directory, kind, file)
    return Descriptor(kind="none"), ()


def _named(directory: Path, mlproject: Document, key: str, value: object) -> Read:
    if key == "docker_env":
        return docker_of(mlproject, value), ()
    return _from_file(directory, key, named_file(directory, mlproject, key, value))


def named_file(directory: Path, mlproject: Document, key: str, value: object) -> str:
    """The file that the value of `python_env` or `conda_env` names, which exists."""
    if not isinstance(value, str):
        raise mlproject.error(
            f"'{key}' is to be the name of a file",
            f"write the environment to a file and name it: {key}: FILE",
            key,
        )
    if not os.path.isfile(directory / value):  # which is false, and no error, for impossible names
        hint = "add the file, or correct the name (it is relative to the project's directory)"
        raise mlproject.error(
            f"'{key}' names '{value}', which does not exist", hint, key, rule="missing-file"
        )
    return value


def _from_file(directory: Path, kind: str, file: str) -> Read:
    if kind == "conda_env" and file.endswith(".toml"):
        return condafiles.from_pixi(directory, file), ()
    if kind == "conda_env" and condafiles.is_explicit(directory / file):
        return condafiles.from_explicit(directory, file), ()
    document = load(directory / file, file)
    read = _python_env if kind == "python_env" else _conda_env
    return read(document, directory, file)


def docker_of(mlproject: Document, value: object) -> Descriptor:
    shape = conform(mlproject, value, DockerShape, "'docker_env'", "docker_env")
    if not shape.image and not shape.build:
        raise mlproject.error(
            "'docker_env': object missing required field `image`",
            "write image: NAME, or build: DIRECTORY of a Dockerfile",
            "docker_env",
        )
    docker = {key: part for key, part in to_builtins(shape).items() if part}
    return Descriptor(kind="docker_env", docker=docker)


# python_env.yaml


def _python_env(document: Document, directory: Path, file: str) -> Read:
    data = mapping_of(document)
    refuse_conda_export(document, data)
    shape = conform(document, data, PythonEnvShape, "the python_env file")
    wanted = Requirements(directory)
    wanted.add(shape.build_dependencies or (), directory, file)
    build = tuple(wanted.lines)
    wanted.lines.clear()
    wanted.add(shape.dependencies or (), directory, file)
    descriptor = Descriptor(
        kind="python_env",
        file=file,
        python=python_of(document, shape.python),
        build_dependencies=build,
        dependencies=tuple(wanted.lines),
        constraints=tuple(wanted.constraints),
    )
    known = PythonEnvShape.__struct_fields__
    return descriptor, tuple(
        f"{file}:{document.place(str(key))[0]}: unknown key '{key}' is ignored"
        for key in data
        if key not in known
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


def python_of(document: Document, written: str | int | float | UnsetType | None) -> str:
    if written is None or isinstance(written, UnsetType):
        return ""
    text = str(written).strip()
    if isinstance(written, float) and len(text) == 3 and text < "3.4":
        raise document.error(
            f"python: {text}0 without quotes is the number {text}",
            f"write python: '{text}0'",
            "python",
            rule="unquoted-python",
        )
    if text and not _PYTHON.match(text):
        hint = "write a version such as '3.11' or '3.11.7', or a set such as '>=3.10,<3.13'"
        raise document.error(f"'{text}' is not a Python version", hint, "python", rule="bad-python")
    return text


# conda.yaml


def _conda_env(document: Document, directory: Path, file: str) -> Read:
    data = mapping_of(document)
    packages: list[str] = []
    wanted = Requirements(directory)
    for index, item in enumerate(sequence_of(document, data, "dependencies")):
        if isinstance(item, str):
            packages.append(item.strip())
        else:
            add_pip(document, wanted, directory, index, item)
    python, build, others, warnings = sorted_packages(document, packages)
    written = tuple(str(channel) for channel in sequence_of(document, data, "channels"))
    channels = tuple(map(channel_without_credentials, written))
    if channels != written:
        warnings += (
            f"{file}: a channel's URL holds a password or token, which is left out: name a variable",
        )
    descriptor = Descriptor(
        kind="conda_env",
        file=file,
        python=python,
        build_dependencies=build,
        dependencies=tuple(wanted.lines),
        constraints=tuple(wanted.constraints),
        conda_dependencies=others,
        conda_specs=tuple(packages),
        channels=channels,
        variables=_variables(document, data),
    )
    return condafiles.with_lock(descriptor, directory), warnings


def _variables(document: Document, data: dict[Any, Any]) -> dict[str, str]:
    variables = data.get("variables") or {}
    if not isinstance(variables, dict):
        raise document.error("'variables' is not a mapping", "write NAME: value below it", "variables")
    return {str(name): "" if value is None else str(value) for name, value in variables.items()}


def add_pip(document: Document, wanted: Requirements, directory: Path, index: int, item: object) -> None:
    lines = item.get("pip") if isinstance(item, dict) and set(item) == {"pip"} else 0
    if lines is not None and not (isinstance(lines, list) and all(isinstance(line, str) for line in lines)):
        raise document.error(
            "a dependency is neither a package nor a list of requirements under 'pip:'",
            "write '- name=version', or '- pip:' with a list below it",
            *("dependencies", index),
        )
    # conda reads `-r` relative to its own file, mlflow without conda relative to the project
    beside = directory / os.path.dirname(document.file)
    for line in lines or ():
        found = re.match(r"(?:-[rc]|--requirement|--constraint)[ =]?\s*(.+)", line)
        base = beside if found and os.path.isfile(beside / found[1]) else directory
        wanted.add([line], base, document.file)


def sorted_packages(
    document: Document, packages: list[str]
) -> tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """(python, build requirements, other packages, warnings)."""
    python, build, others, warnings = "", [], [], []
    for spec in packages:
        found = _MATCH_SPEC.match(spec)
        name, version = (found["name"], _pep440(found["version"] + found["rest"])) if found else (spec, "")
        if name == "python":
            python = python or version.removeprefix("==")
            if python and "|" not in python and not _PYTHON.match(python):
                raise document.error(
                    f"'{spec}' is not a Python version",
                    "write 'python=3.11'",
                    "dependencies",
                    rule="bad-python",
                )
            if not version:
                warnings.append(f"{document.file}: 'python' is named without a version")
        elif name in _INSTALLERS:
            build.append(name + version)
        else:
            others.append(spec)
    return python, tuple(build), tuple(others), tuple(warnings)


def _pep440(conda: str) -> str:
    """A conda version such as `=3.10=h1234_0` or `>=3.8,<4` as pip writes it; a build string goes."""
    version = conda.strip().split("[")[0].strip()
    if version.startswith("=") or version[:1].isdigit():
        number = re.split(r"[\s=]", version.lstrip("= "))[0]
        return f"=={number.removesuffix('.*').removesuffix('*')}" if number else ""
    version = re.sub(r"\s*([,|<>=!~]+)\s*", r"\1", version)
    return ",".join(re.sub(r"(?<=[\w.*])[\s=].*$", "", part) for part in version.split(","))


def mapping_of(document: Document) -> dict[Any, Any]:
    if document.data is None:
        return {}
    if not isinstance(document.data, dict):
        raise document.error("is not a mapping of keys to values", "write lines such as 'dependencies: […]'")
    return document.data


def sequence_of(document: Document, data: dict[Any, Any], key: str) -> list[Any]:
    value = data.get(key)
    if value is not None and not isinstance(value, list):
        raise document.error(f"'{key}' is not a list", f"write {key}: with '- …' lines below it", key)
    return value or []
