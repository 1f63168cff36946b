"""Read conda.yaml, lists of package URLs, and pixi.toml with its lock."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from projrun.disk.file_operations import sha256_file
from projrun.documents import Document
from projrun.errors import ProjectError
from projrun.net import channel_without_credentials
from projrun.plan import Descriptor
from projrun.project.environment import PIXI, PIXI_LOCK, DescriptorResult, require_list, require_mapping
from projrun.project.environment.requirements import Requirements
from projrun.project.shapes import PYTHON_PATTERN

_EXPLICIT = rb"(?:^|\n)\s*@EXPLICIT\b"
_SYSTEMS = {"linux": "linux", "darwin": "osx"}
_MACHINES = {"x86_64": "64", "amd64": "64"}


def platform_name() -> str:
    """Return conda's name of this platform: linux-64, osx-arm64, …"""
    machine = os.uname().machine
    return f"{_SYSTEMS.get(sys.platform, sys.platform)}-{_MACHINES.get(machine, machine)}"


def is_explicit(path: Path) -> bool:
    """Return True for a list of package URLs as `conda list --explicit` writes it."""
    try:
        with path.open("rb") as file:
            return re.search(_EXPLICIT, file.read(2000)) is not None
    except OSError:
        return False


def read_explicit_list(directory: Path, file: str) -> Descriptor:
    return _set_lock(Descriptor(kind="conda_env", file=file), directory, file)


def read_pixi(directory: Path, file: str) -> Descriptor:
    """Read a pixi.toml whose lock lies beside it. Raises ProjectError."""
    from projrun.documents.toml_file import get_table, load  # late: most projects have no TOML

    document = load(directory / file, file)
    workspace = get_table(document, "workspace", file) or get_table(document, "project", file)
    lock = os.path.join(os.path.dirname(file), PIXI_LOCK)
    if not (directory / lock).is_file():
        raise ProjectError("has no pixi.lock beside it", "run: pixi lock", file=file)
    specs = [_spec(name, value) for name, value in get_table(document, "dependencies", file).items()]
    written = workspace.get("channels", [])
    if not isinstance(written, list):
        raise ProjectError("'channels' is not a list", 'write channels = ["conda-forge"]', file=file)
    channels = [item.get("channel") if isinstance(item, dict) else item for item in written]
    variables = get_table(get_table(document, "activation", file), "env", file)
    descriptor = Descriptor(
        kind="conda_env",
        file=file,
        conda_specs=tuple(specs),
        conda_dependencies=tuple(spec for spec in specs if not re.match(r"(python|pip)\b(?!-)", spec)),
        channels=tuple(channel_without_credentials(str(channel)) for channel in channels),
        variables={str(name): str(value) for name, value in variables.items()},
    )
    return _set_lock(descriptor, directory, lock)


def add_lock(descriptor: Descriptor, directory: Path) -> Descriptor:
    """Add the lock that lies beside the descriptor's file, if there is one."""
    base = os.path.dirname(descriptor.file)
    names = ["conda-lock.yml", f"conda-{platform_name()}.lock"]
    if not (directory / base / PIXI).exists():
        names.append(PIXI_LOCK)
    for name in names:
        if (directory / base / name).is_file():
            return _set_lock(descriptor, directory, os.path.join(base, name))
    return descriptor


def _set_lock(descriptor: Descriptor, directory: Path, lock: str) -> Descriptor:
    digest = sha256_file(directory / lock)
    return msgspec.structs.replace(descriptor, conda_lock_file=lock, conda_lock_sha256=digest)


def _spec(name: str, value: object) -> str:
    """Return the match spec for `>=1` or `{version = ">=1", build = "py*"}`."""
    if not isinstance(value, dict):
        return name if value in ("", "*") else f"{name} {value}"
    keys = ((key, value[key]) for key in ("version", "build", "channel", "subdir") if value.get(key))
    inside = ", ".join(f"{key}='{text}'" for key, text in keys if text != "*")
    return f"{name}[{inside}]" if inside else name


_MATCH_SPEC = r"(?:[\w.+/-]+::)?(?P<name>[\w.-]+)\s*(?P<version>[^\s\[]*)(?P<rest>.*)$"
_INSTALLERS = ("pip", "setuptools", "wheel")


def read_conda_env(document: Document, directory: Path) -> DescriptorResult:
    data = require_mapping(document)
    packages: list[str] = []
    requirements = Requirements(directory)
    for index, item in enumerate(require_list(document, data, "dependencies")):
        if isinstance(item, str):
            packages.append(item.strip())
        else:
            add_pip_lines(document, requirements, directory, index, item)
    python, build, others, warnings = sort_packages(document, packages)
    written = tuple(str(channel) for channel in require_list(document, data, "channels"))
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
        dependencies=tuple(requirements.lines),
        constraints=tuple(requirements.constraints),
        conda_dependencies=others,
        conda_specs=tuple(packages),
        channels=channels,
        variables=_variables(document, data),
    )
    return add_lock(descriptor, directory), warnings


def _variables(document: Document, data: dict[Any, Any]) -> dict[str, str]:
    variables = data.get("variables") or {}
    if not isinstance(variables, dict):
        raise document.error("'variables' is not a mapping", "write NAME: value below it", "variables")
    return {str(name): "" if value is None else str(value) for name, value in variables.items()}


def add_pip_lines(
    document: Document, requirements: Requirements, directory: Path, index: int, item: object
) -> None:
    """Add the lines of dependency number `index`, a mapping with the one key `pip`. Raises ProjectError."""
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
        include = re.match(r"(?:-[rc]|--requirement|--constraint)[ =]?\s*(.+)", line)
        base = beside if include and os.path.isfile(beside / include[1]) else directory
        requirements.add([line], base, document.file)


def sort_packages(
    document: Document, packages: list[str]
) -> tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the Python version, build requirements, other packages and warnings. Raises ProjectError."""
    python, build, others, warnings = "", [], [], []
    for spec in packages:
        match = re.match(_MATCH_SPEC, spec)
        name, version = (match["name"], _pep440(match["version"] + match["rest"])) if match else (spec, "")
        if name == "python":
            python = python or version.removeprefix("==")
            if python and "|" not in python and not re.match(PYTHON_PATTERN, python):
                problem = f"'{spec}' is not a Python version"
                raise document.error(problem, "write 'python=3.11'", "dependencies", rule="bad-python")
            if not version:
                warnings.append(f"{document.file}: 'python' is named without a version")
        elif name in _INSTALLERS:
            build.append(name + version)
        else:
            others.append(spec)
    return python, tuple(build), tuple(others), tuple(warnings)


def _pep440(conda: str) -> str:
    """Translate a conda version such as `=3.10=h1234_0` or `>=3.8,<4` to PEP 440, without a build string."""
    version = conda.strip().split("[")[0].strip()
    if version.startswith("=") or version[:1].isdigit():
        number = re.split(r"[\s=]", version.lstrip("= "))[0]
        return f"=={number.removesuffix('.*').removesuffix('*')}" if number else ""
    version = re.sub(r"\s*([,|<>=!~]+)\s*", r"\1", version)
    return ",".join(re.sub(r"(?<=[\w.*])[\s=].*$", "", part) for part in version.split(","))
