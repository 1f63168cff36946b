"""conda.yaml, environment.yml."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from projrun.documents import Document
from projrun.plan import Descriptor
from projrun.project import condafiles
from projrun.project.reading import Read, mapping_of, sequence_of
from projrun.project.requirements import Requirements
from projrun.project.shapes import PYTHON_PATTERN
from projrun.urls import channel_without_credentials

_MATCH_SPEC = r"(?:[\w.+/-]+::)?(?P<name>[\w.-]+)\s*(?P<version>[^\s\[]*)(?P<rest>.*)$"
_INSTALLERS = ("pip", "setuptools", "wheel")


def read(document: Document, directory: Path) -> Read:
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
            f"{document.file}: a channel's URL holds a password or token, which is left out: name a variable",
        )
    descriptor = Descriptor(
        kind="conda_env",
        file=document.file,
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
        found = re.match(_MATCH_SPEC, spec)
        name, version = (found["name"], _pep440(found["version"] + found["rest"])) if found else (spec, "")
        if name == "python":
            python = python or version.removeprefix("==")
            if python and "|" not in python and not re.match(PYTHON_PATTERN, python):
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
