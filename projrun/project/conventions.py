"""Projects without an MLproject file: pyproject.toml, and metadata in a script (PEP 723).

The environment of an entry point is the first of: what the MLproject file names, the script's own metadata,
python_env.yaml, a conda file, pyproject.toml, requirements.txt, pylock.toml, nothing. A lock in the
project wins over resolving.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from projrun.documents import toml_file
from projrun.documents.yaml_cache import MAX_BYTES
from projrun.errors import ProjectError
from projrun.plan import Descriptor
from projrun.project.environment import DescriptorResult
from projrun.project.environment.lock_files import PYPROJECT, find_lock_file
from projrun.project.mlproject import EntryPoint, Project
from projrun.project.shapes import PYTHON_PATTERN

_OPENING = re.compile(r"# /// ([a-zA-Z0-9-]+)")
_REFERENCE = re.compile(r"\s*([A-Za-z_][\w.]*)\s*:\s*([A-Za-z_][\w.]*)\s*(?:\[.*\])?\s*")
_SOURCE_DIRECTORIES = ("src", "")


# pyproject.toml


def add_pyproject(project: Project) -> Project:
    """The project with what its pyproject.toml says where nothing else does."""
    try:
        return _with_pyproject(project, toml_file.load(project.directory / PYPROJECT, PYPROJECT))
    except ProjectError as error:
        if not project.file:
            raise
        return msgspec.structs.replace(project, environment_fault=str(error))  # mlflow does not look at it


def _with_pyproject(project: Project, document: dict[str, Any]) -> Project:
    table = _table(document, "project", PYPROJECT)
    if table is None:
        return project
    named: dict[str, Any] = {}
    if not project.file:
        named["entry_points"] = _entry_points(project.directory, table)
        named["name"] = str(table.get("name") or project.name)
    if project.descriptor.kind == "none" and not project.environment_named:
        dynamic = table.get("dynamic")
        if isinstance(dynamic, list) and "dependencies" in dynamic:
            named["environment_fault"] = (
                f"{PYPROJECT}: the dependencies are dynamic: only building the project would tell them; "
                "write them into [project], or add a python_env.yaml"
            )
        else:
            named["descriptor"], warnings = _descriptor("pyproject", PYPROJECT, table, _uv(document))
            named["warnings"] = (*project.warnings, *warnings)
    return msgspec.structs.replace(project, **named)


def _entry_points(directory: Path, table: dict[str, Any]) -> dict[str, EntryPoint]:
    scripts = _table(table, "scripts", PYPROJECT) or {}
    found = {name: _entry_point(directory, name, target) for name, target in scripts.items()}
    if len(found) == 1 and "main" not in found:
        found["main"] = msgspec.structs.replace(*found.values(), name="main")
    return found


def _entry_point(directory: Path, name: str, target: object) -> EntryPoint:
    reference = _REFERENCE.fullmatch(target) if isinstance(target, str) else None
    if reference is None:
        raise ProjectError(
            f"the script '{name}' is not 'module:function'",
            f'write {name} = "package.module:main"',
            file=PYPROJECT,
        )
    module, attribute = reference[1], reference[2]
    sources = _source_directory(directory, module)
    if sources is None:
        raise ProjectError(
            f"the module '{module}' of script '{name}' is neither in src/ nor beside {PYPROJECT}",
            "put it there: the project is run from its sources, not installed",
            file=PYPROJECT,
        )
    code = (
        f"import sys; from {module} import {attribute.partition('.')[0]}; "
        f"sys.argv[0] = {name!r}; sys.exit({attribute}())"
    )
    path = f'"$PWD{"/" * bool(sources)}{sources}${{PYTHONPATH:+:$PYTHONPATH}}"'
    command = f"PYTHONPATH={path} python -c {shlex.quote(code)}"
    template = command.replace("{", "{{").replace("}", "}}")
    return EntryPoint(name=name, command=template, file=PYPROJECT)


def _source_directory(directory: Path, module: str) -> str | None:
    top = module.partition(".")[0]
    for sources in _SOURCE_DIRECTORIES:
        place = directory / sources / top
        if place.is_dir() or place.with_suffix(".py").is_file():
            return sources
    return None


# scripts


def environment_of(project: Project, entry_point: EntryPoint) -> DescriptorResult:
    """The descriptor for one entry point, and what to warn about. Raises ProjectError."""
    script = entry_point.script
    if project.environment_named:
        return project.descriptor, ()
    if script and script.file.endswith(".py") and (found := _inline(project.directory, script.file)):
        descriptor, warnings = found
        passed_over = tuple(filter(None, (project.descriptor.file, *project.descriptor.passed_over)))
        lock, foreign = find_lock_file(descriptor, project.directory)
        described = msgspec.structs.replace(descriptor, passed_over=passed_over, lock_file=lock)
        return described, (*warnings, *foreign)
    if project.environment_fault and project.file:
        return project.descriptor, (f"{project.environment_fault}; it is ignored, as mlflow does",)
    if project.environment_fault:
        raise ProjectError(project.environment_fault)
    return project.descriptor, ()


def add_requirements(descriptor: Descriptor, wanted: Iterable[str]) -> tuple[Descriptor, tuple[str, ...]]:
    """The descriptor with those of `wanted` that it does not name, and which these are."""
    named = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower() for line in descriptor.dependencies}
    added = tuple(name for name in wanted if name not in named)
    dependencies = (*descriptor.dependencies, *added)
    return msgspec.structs.replace(descriptor, dependencies=dependencies), added


def _inline(directory: Path, file: str) -> DescriptorResult | None:
    """Read the `# /// script` block of a Python file; return None without one."""
    try:
        with open(directory / file, "rb") as opened:
            text = opened.read(MAX_BYTES).decode(errors="replace").replace("\r\n", "\n")
    except OSError as error:
        raise ProjectError(
            f"cannot be read: {error.strerror}", "see that the file may be read", file=file
        ) from None
    blocks = list(_blocks(text.split("\n")))
    if not blocks:
        return None
    if len(blocks) > 1:
        line = blocks[1][0] - 1
        raise ProjectError("has a second '# /// script' block", "keep one of them", file=file, line=line)
    first_line, content = blocks[0]
    document = toml_file.parse(content, file, first_line)
    settings = _uv(document)
    descriptor, warnings = _descriptor("script", file, document, settings)
    if others := [key for key in settings if key != "sources"]:
        warnings = (*warnings, f"{file}: [tool.uv] is ignored: {', '.join(others)}")
    return descriptor, warnings


def _blocks(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Number of the first line and content of every block of PEP 723 that is of type `script`."""
    at = 0
    while at < len(lines):
        opening = _OPENING.fullmatch(lines[at])
        at += 1
        if opening is None:
            continue
        first = at
        while at < len(lines) and (lines[at] == "#" or lines[at].startswith("# ")):
            at += 1
        closing = max((number for number in range(first, at) if lines[number] == "# ///"), default=first)
        if opening[1] == "script" and closing > first:
            yield first + 1, "".join(f"{line[2:]}\n" for line in lines[first:closing])


# both


def _descriptor(kind: Any, file: str, table: dict[str, Any], settings: dict[str, Any]) -> DescriptorResult:
    """table: with `requires-python` and `dependencies`. settings: for uv."""
    python = table.get("requires-python", "")
    if not isinstance(python, str) or not re.match(PYTHON_PATTERN, python):
        raise ProjectError(
            f"requires-python: '{python}' is not a Python version", "write '>=3.10', for example", file=file
        )
    dependencies = _dependencies(table, file)
    warnings: tuple[str, ...] = ()
    if "sources" in settings:
        dependencies, warnings = add_sources(dependencies, settings["sources"], file)
    return Descriptor(kind=kind, file=file, python=python.strip(), dependencies=dependencies), warnings


def _dependencies(table: dict[str, Any], file: str) -> tuple[str, ...]:
    written = table.get("dependencies", [])
    if not isinstance(written, list) or not all(map(_is_requirement, written)):
        hint = 'write dependencies = ["name>=1", …], without options of pip'
        raise ProjectError("'dependencies' is not a list of requirements", hint, file=file)
    return tuple(" ".join(line.split()) for line in written)


def _is_requirement(line: object) -> bool:
    return isinstance(line, str) and re.match(r"\s*[A-Za-z0-9][^\0\n]*$", line) is not None


def _uv(document: dict[str, Any]) -> dict[str, Any]:
    """`[tool.uv]`; empty where there is none."""
    tool = document.get("tool")
    settings = tool.get("uv") if isinstance(tool, dict) else None
    return settings if isinstance(settings, dict) else {}


def _table(document: dict[str, Any], key: str, file: str) -> dict[str, Any] | None:
    table = document.get(key)
    if table is not None and not isinstance(table, dict):
        raise ProjectError(f"'{key}' is not a table", f"write [{key}] with lines below it", file=file)
    return table


_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)\s*(?P<extras>\[[^\]]*\])?[^;@]*(?P<marker>;.*)?")
_ALLOWED = {
    "git": {"git", "rev", "tag", "branch", "subdirectory"},
    "url": {"url", "subdirectory"},
    "path": {"path", "editable"},
}
"""Kind of source -> the keys that a requirement can say."""


def add_sources(
    dependencies: tuple[str, ...], sources: object, file: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The dependencies with their sources, and warnings of those that a requirement cannot say.

    file: relative to the project's directory; paths in it start from its own directory.
    """
    if not isinstance(sources, dict):
        return dependencies, (f"{file}: [tool.uv] is ignored: sources",)
    known = {_normal(str(name)): source for name, source in sources.items()}
    lines, ignored = [], []
    for line in dependencies:
        found = _REQUIREMENT.fullmatch(line)
        source = known.get(_normal(found["name"])) if found else None
        said = _said(found, source, os.path.dirname(file)) if found and source is not None else line
        if not said:
            ignored.append(f"{file}: [tool.uv.sources] is ignored for {line}: no requirement can say it")
        lines.append(said or line)
    return tuple(lines), tuple(ignored)


def _said(wanted: re.Match[str], source: Any, base: str) -> str:
    """The requirement that names the source; empty where none can."""
    kind = next((kind for kind in _ALLOWED if isinstance(source, dict) and kind in source), "")
    if not kind or source.keys() - _ALLOWED[kind] or not re.fullmatch(r"[^\s;\[\]#]+", str(source[kind])):
        return ""
    extras, marker = wanted["extras"] or "", f" {wanted['marker']}" if wanted["marker"] else ""
    if kind == "path":
        path = os.path.normpath(os.path.join(base, str(source["path"])))
        place = path if path.startswith(("/", "../")) else f"./{path}"
        return f"{'-e ' * (source.get('editable') is True)}{place}{extras}{marker}"
    below = f"#subdirectory={source['subdirectory']}" if "subdirectory" in source else ""
    if kind == "url":
        return f"{wanted['name']}{extras} @ {source['url']}{below}{marker}"
    versions = [str(source[key]) for key in ("rev", "tag", "branch") if key in source]
    at = f"@{versions[0]}" if versions else ""
    return f"{wanted['name']}{extras} @ git+{source['git'].removeprefix('git+')}{at}{below}{marker}"


def _normal(name: str) -> str:
    """Normalize a package name as indexes do (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
