"""Read projects without an MLproject file: pyproject.toml, and the metadata in a script (PEP 723).

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

from projrun.documents import MAX_BYTES, read_file, toml_file
from projrun.errors import ProjectError
from projrun.plan import Descriptor
from projrun.project.environment import DescriptorResult
from projrun.project.environment.lock_files import PYPROJECT, find_lock_file
from projrun.project.mlproject import EntryPoint, Project, escape_braces
from projrun.project.shapes import PYTHON_PATTERN

_OPENING = re.compile(r"# /// ([a-zA-Z0-9-]+)")
_REFERENCE = re.compile(r"\s*([A-Za-z_][\w.]*)\s*:\s*([A-Za-z_][\w.]*)\s*(?:\[.*\])?\s*")
_SOURCE_DIRECTORIES = ("src", "")


# pyproject.toml


def add_pyproject(project: Project) -> Project:
    """Add what pyproject.toml says and the project does not yet know. Raises ProjectError."""
    try:
        return _add_pyproject(project, toml_file.load(project.directory / PYPROJECT, PYPROJECT))
    except ProjectError as error:
        if not project.file:
            raise
        # mlflow does not read the file, so its faults are not to keep an MLproject file from being run
        return msgspec.structs.replace(project, environment_fault=str(error))


def _add_pyproject(project: Project, document: dict[str, Any]) -> Project:
    if "project" not in document:
        return project
    table = toml_file.get_table(document, "project", PYPROJECT)
    changes: dict[str, Any] = {}
    if not project.file:
        changes["entry_points"] = _entry_points(project.directory, table)
        changes["name"] = str(table.get("name") or project.name)
    if project.descriptor.kind == "none" and not project.environment_named:
        dynamic = table.get("dynamic")
        if isinstance(dynamic, list) and "dependencies" in dynamic:
            changes["environment_fault"] = (
                f"{PYPROJECT}: the dependencies are dynamic: only building the project would tell them; "
                "write them into [project], or add a python_env.yaml"
            )
        else:
            changes["descriptor"], warnings = _descriptor("pyproject", PYPROJECT, table, _uv(document))
            changes["warnings"] = (*project.warnings, *warnings)
    return msgspec.structs.replace(project, **changes)


def _entry_points(directory: Path, table: dict[str, Any]) -> dict[str, EntryPoint]:
    scripts = toml_file.get_table(table, "scripts", PYPROJECT)
    entry_points = {name: _entry_point(directory, name, target) for name, target in scripts.items()}
    if len(entry_points) == 1 and "main" not in entry_points:
        entry_points["main"] = msgspec.structs.replace(*entry_points.values(), name="main")
    return entry_points


def _entry_point(directory: Path, name: str, target: object) -> EntryPoint:
    reference = _REFERENCE.fullmatch(target) if isinstance(target, str) else None
    if reference is None:
        raise ProjectError(
            f"the script '{name}' is not 'module:function'",
            f'write {name} = "package.module:main"',
            file=PYPROJECT,
        )
    # Projects are run from their sources, not installed: an environment is keyed by its lock alone and
    # shared, and the code of a working tree changes with every save
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
    return EntryPoint(name=name, command=escape_braces(command), file=PYPROJECT)


def _source_directory(directory: Path, module: str) -> str | None:
    top = module.partition(".")[0]
    for sources in _SOURCE_DIRECTORIES:
        package = directory / sources / top
        if package.is_dir() or package.with_suffix(".py").is_file():
            return sources
    return None


# scripts


def environment_of(project: Project, entry_point: EntryPoint) -> DescriptorResult:
    """Return the descriptor for one entry point, and warnings. Raises ProjectError."""
    # The environment belongs to the entry point, not to the project: a script may bring its own (PEP 723)
    script = entry_point.script
    if project.environment_named:
        return project.descriptor, ()
    is_python = script is not None and script.file.endswith(".py")
    inline = _read_inline(project.directory, script.file) if script and is_python else None
    if inline:
        descriptor, warnings = inline
        passed_over = tuple(filter(None, (project.descriptor.file, *project.descriptor.passed_over)))
        lock, foreign = find_lock_file(descriptor, project.directory)
        descriptor = msgspec.structs.replace(descriptor, passed_over=passed_over, lock_file=lock)
        return descriptor, (*warnings, *foreign)
    if project.environment_fault and project.file:
        return project.descriptor, (f"{project.environment_fault}; it is ignored, as mlflow does",)
    if project.environment_fault:
        raise ProjectError(project.environment_fault)
    return project.descriptor, ()


def add_requirements(descriptor: Descriptor, packages: Iterable[str]) -> tuple[Descriptor, tuple[str, ...]]:
    """Add those of `packages` that the descriptor does not name. Return it, and what was added."""
    named = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower() for line in descriptor.dependencies}
    added = tuple(name for name in packages if name not in named)
    dependencies = (*descriptor.dependencies, *added)
    return msgspec.structs.replace(descriptor, dependencies=dependencies), added


def _read_inline(directory: Path, file: str) -> DescriptorResult | None:
    """Read the `# /// script` block of a Python file; return None without one."""
    text = read_file(directory / file, file)[:MAX_BYTES].decode(errors="replace").replace("\r\n", "\n")
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
    others = [key for key in settings if key != "sources"]
    if others:
        warnings = (*warnings, f"{file}: [tool.uv] is ignored: {', '.join(others)}")
    return descriptor, warnings


def _blocks(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield number of the first line and content of every block of PEP 723 that is of type `script`."""
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
    """Read `requires-python` and `dependencies` of `table`, and `sources` of uv's settings."""
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
    """Return `[tool.uv]`, or {}."""
    tool = document.get("tool")
    settings = tool.get("uv") if isinstance(tool, dict) else None
    return settings if isinstance(settings, dict) else {}


_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)\s*(?P<extras>\[[^\]]*\])?[^;@]*(?P<marker>;.*)?")
# Kind of source -> the keys that a requirement can express
_EXPRESSIBLE = {
    "git": {"git", "rev", "tag", "branch", "subdirectory"},
    "url": {"url", "subdirectory"},
    "path": {"path", "editable"},
}


def add_sources(
    dependencies: tuple[str, ...], sources: object, file: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the dependencies with their `[tool.uv.sources]`, and warnings.

    file: relative to the project's directory; relative paths in it start from its own directory.
    """
    # The sources are written into the requirement lines, instead of handing uv the file: so they are in
    # the descriptor, the lock's key and its staleness, lose their credentials with the rest, and count
    # for pip and conda too
    if not isinstance(sources, dict):
        return dependencies, (f"{file}: [tool.uv] is ignored: sources",)
    known = {_normalize(str(name)): source for name, source in sources.items()}
    lines, ignored = [], []
    for line in dependencies:
        requirement = _REQUIREMENT.fullmatch(line)
        source = known.get(_normalize(requirement["name"])) if requirement else None
        if requirement and source is not None:
            with_source = _add_source(requirement, source, os.path.dirname(file))
            if not with_source:
                ignored.append(f"{file}: [tool.uv.sources] is ignored for {line}: no requirement can say it")
            line = with_source or line
        lines.append(line)
    return tuple(lines), tuple(ignored)


def _add_source(requirement: re.Match[str], source: Any, base: str) -> str:
    """Return the requirement that names the source, or '' if none can."""
    kind = next((kind for kind in _EXPRESSIBLE if isinstance(source, dict) and kind in source), "")
    if not kind or source.keys() - _EXPRESSIBLE[kind] or not re.fullmatch(r"[^\s;\[\]#]+", str(source[kind])):
        return ""
    extras, marker = requirement["extras"] or "", f" {requirement['marker']}" if requirement["marker"] else ""
    if kind == "path":
        path = os.path.normpath(os.path.join(base, str(source["path"])))
        path = path if path.startswith(("/", "../")) else f"./{path}"
        return f"{'-e ' * (source.get('editable') is True)}{path}{extras}{marker}"
    fragment = f"#subdirectory={source['subdirectory']}" if "subdirectory" in source else ""
    if kind == "url":
        return f"{requirement['name']}{extras} @ {source['url']}{fragment}{marker}"
    versions = [f"@{source[key]}" for key in ("rev", "tag", "branch") if key in source]
    repository = f"git+{source['git'].removeprefix('git+')}{''.join(versions[:1])}"
    return f"{requirement['name']}{extras} @ {repository}{fragment}{marker}"


def _normalize(name: str) -> str:
    """Normalize a package name as indexes do (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
