"""Findings about the environment: the key of the MLproject file and the file that it names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from projrun.documents import Document
from projrun.errors import ProjectError
from projrun.plan import Descriptor
from projrun.project import read_project
from projrun.project.environment import conda_file, require_list, require_mapping
from projrun.project.environment.conda_file import add_pip_lines, sort_packages
from projrun.project.environment.descriptor import (
    BESIDE,
    ENV_KEYS,
    find_named_file,
    is_descriptor_file,
    read_descriptor,
    read_docker_env,
)
from projrun.project.environment.lock_files import find_lock_file
from projrun.project.environment.python_file import parse_python, refuse_conda_export
from projrun.project.environment.requirements import Requirements
from projrun.project.parameters import show_value
from projrun.project.shapes import DockerShape, PythonEnvShape, convert_to_shape
from projrun.project.validate.findings import Findings

_CONDA_KEYS = ("name", "channels", "dependencies", "prefix", "variables", "platforms", "category")
_PINNED = re.compile(r"===?\s*[^\s*,;]+\s*(?:[;\\].*|--hash.*)?$")
_NOT_A_NAME = re.compile(r"-|\.|/|[A-Za-z][A-Za-z0-9+.-]*://|[^;]*\s@\s|[^\s;=<>]*/")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def check_environment(directory: Path, mlproject: Document, found: Findings) -> None:
    data = mlproject.data if isinstance(mlproject.data, dict) else {}
    named = [key for key in ENV_KEYS if key in data]
    if len(named) > 1:
        with found.catching(mlproject, named[1]):
            read_descriptor(directory, mlproject)
    for key in named:
        if data[key]:
            with found.catching(mlproject, key):
                _check_named(directory, mlproject, key, data[key], found)
    if not any(data[key] for key in named):
        _check_beside(directory, mlproject, found)


def _check_named(directory: Path, mlproject: Document, key: str, value: object, found: Findings) -> None:
    if key != "docker_env":
        _check_file(directory, key, find_named_file(directory, mlproject, key, value), found)
        return
    if isinstance(value, dict):
        found.unknown_keys(mlproject, value, DockerShape.__struct_fields__, key)
    read_docker_env(mlproject, value)


def _check_beside(directory: Path, mlproject: Document, found: Findings) -> None:
    for kind, file in BESIDE:
        if is_descriptor_file(directory, file):
            _check_file(directory, kind, file, found)
            return
    try:
        descriptor = read_project(directory).descriptor
    except ProjectError:
        descriptor = read_descriptor(directory, mlproject)[0]
    if descriptor.kind in ("pyproject", "requirements"):
        _check_by_convention(directory, descriptor, found)
    elif isinstance(mlproject.data, dict) and descriptor.kind == "none":
        fix = "write a python_env.yaml with python and dependencies"
        found.add("no-environment", "the project says nothing about its environment", fix, mlproject.file)


def _check_by_convention(directory: Path, descriptor: Descriptor, found: Findings) -> None:
    if descriptor.lock_file:
        return
    text = (directory / descriptor.file).read_text(encoding="utf-8", errors="replace")
    for line in unpinned(descriptor.dependencies, descriptor.constraints):
        fix = f"write {_name(line)}==VERSION, or keep a lock beside it: projrun lock"
        message = f"{show_value(line)} has no exact version"
        found.add("unpinned-dependency", message, fix, descriptor.file, _place(text, line))


def _place(text: str, line: str) -> tuple[int, int]:
    """Line and column from 1; 0 where it stands in other words."""
    at = text.find(line)
    return (text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)) if at >= 0 else (0, 0)


def unpinned(lines: Iterable[str], constraints: Iterable[str]) -> list[str]:
    """The requirement lines that let an index choose the version."""
    pinned = {_name(line) for line in constraints if _PINNED.search(line)}
    return [
        line
        for line in lines
        if not _NOT_A_NAME.match(line) and not _PINNED.search(line) and _name(line) not in pinned
    ]


def _check_file(directory: Path, kind: str, file: str, found: Findings) -> None:
    if kind == "conda_env" and file.endswith(".toml"):
        conda_file.read_pixi(directory, file)
        return
    if kind == "conda_env" and conda_file.is_explicit(directory / file):
        return
    document = found.document(directory / file, file)
    if document is None:
        return
    with found.catching(document):
        data = require_mapping(document)
        checks = _PythonEnvCheck if kind == "python_env" else _CondaCheck
        checks(directory, document, data, found).check()


class _DescriptorCheck:
    def __init__(self, directory: Path, document: Document, data: dict[Any, Any], found: Findings) -> None:
        self.directory, self.document, self.data, self.found = directory, document, data, found
        self.wanted = Requirements(directory)
        self.positions: list[tuple[int, int]] = []

    def add(self, rule: str, message: str, fix: str, *path: object) -> None:
        self.found.add(rule, message, fix, self.document.file, self.document.position(*path))

    def placed(self, *path: object) -> None:
        """The requirement lines that were read last come from `path`."""
        missing = len(self.wanted.lines) - len(self.positions)
        self.positions.extend([self.document.position(*path)] * missing)

    def unpinned(self) -> None:
        if find_lock_file(Descriptor(kind="python_env", file=self.document.file), self.directory)[0]:
            return
        loose = unpinned(self.wanted.lines, self.wanted.constraints)
        for line, (file, number), place in zip(self.wanted.lines, self.wanted.origins, self.positions):
            if line in loose:
                where = (number, 1) if number else place
                fix = f"write {_name(line)}==VERSION"
                self.found.add(
                    "unpinned-dependency", f"{show_value(line)} has no exact version", fix, file, where
                )


class _PythonEnvCheck(_DescriptorCheck):
    def check(self) -> None:
        refuse_conda_export(self.document, self.data)
        self.found.unknown_keys(self.document, self.data, PythonEnvShape.__struct_fields__)
        shapes: dict[str, PythonEnvShape] = {}
        for key in PythonEnvShape.__struct_fields__:
            if key in self.data:
                with self.found.catching(self.document, key):
                    shapes[key] = convert_to_shape(
                        self.document, {key: self.data[key]}, PythonEnvShape, "the python_env file"
                    )
        self.python(shapes.get("python"))
        for key in ("build_dependencies", "dependencies"):
            self.requirements(key, getattr(shapes.get(key), key, None) or ())
        self.unpinned()

    def python(self, shape: PythonEnvShape | None) -> None:
        if shape is None and "python" in self.data:
            return  # it has the wrong shape, which was told
        with self.found.catching(self.document, "python"):
            if shape is None or not parse_python(self.document, self.data["python"]):
                message = "the environment does not say which Python it is for"
                self.add("python-unpinned", message, "write python: '3.11'", "python")

    def requirements(self, key: str, lines: Any) -> None:
        if self.continued(lines):
            lines = ["\n".join(lines)]
        for index, line in enumerate(lines):
            with self.found.catching(self.document, key, index):
                self.wanted.add([line], self.directory, self.document.file)
            self.placed(key, index)

    def continued(self, lines: Any) -> bool:
        r"""A `\` at the end of a line joins it with the next, which then mean nothing by themselves."""
        return any(line.rstrip().endswith("\\") for line in lines)


class _CondaCheck(_DescriptorCheck):
    def check(self) -> None:
        self.found.unknown_keys(self.document, self.data, _CONDA_KEYS)
        with self.found.catching(self.document, "channels"):
            require_list(self.document, self.data, "channels")
        pythons = [
            self.dependency(index, item)
            for index, item in enumerate(require_list(self.document, self.data, "dependencies"))
        ]
        if not any(pythons):
            message = "the environment does not say which Python it is for"
            self.add("python-unpinned", message, "write python=3.11 under dependencies", "dependencies")
        self.unpinned()

    def dependency(self, index: int, item: object) -> bool:
        """Check one dependency; return True if it names the Python."""
        where = ("dependencies", index)
        if not isinstance(item, str):
            self.pip(index, item)
            return False
        with self.found.catching(self.document, *where):
            python, _, others, warnings = sort_packages(self.document, [item.strip()])
            if others and re.fullmatch(r"[\w.:/-]+", item.strip()):
                fix = f"write {item.strip()}=VERSION"
                self.add("unpinned-dependency", f"{show_value(item)} has no version", fix, *where)
            return bool(python) and not warnings
        return True  # it does, in a way that was refused

    def pip(self, index: int, item: object) -> None:
        """Line by line, since more than one may be wrong."""
        lines = item.get("pip") if isinstance(item, dict) and set(item) == {"pip"} else None
        for number, line in enumerate(lines if isinstance(lines, list) else [None]):
            where = ("dependencies", index, "pip", number)
            with self.found.catching(self.document, *where):
                one = item if line is None else {"pip": [line]}
                add_pip_lines(self.document, self.wanted, self.directory, index, one)
            self.placed(*where)


def _name(requirement: str) -> str:
    found = _NAME.match(requirement)
    return found[0].lower().replace("_", "-") if found else requirement
