"""The rules of the house (docs/architecture.md), read from the syntax tree: late imports count too."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from projrun import backends, environments, inputs, sources, tracking
from projrun.backends import Backend
from projrun.cli.verbs import VERBS
from projrun.environments import EnvironmentManager
from projrun.inputs import InputKind
from projrun.sources import SourceKind
from tests.support.syntax import FILES, PACKAGE, name_of, nodes_of, text_of

FLOORS = [
    {"processes", "console", "disk", "documents", "net", "engine", "errors", "version"},
    {"plan", "record", "request", "history"},
    {"sources", "project", "inputs", "environments", "backends", "tracking", "compare"},
    {"records"},
    {"server"},
    {"runner"},
    {"api", "cli", "schemas", "__init__", "__main__"},
]
STATIONS = FLOORS[2]
PROGRAMS = {"environments/conda/rattler_program.py", "runner/without_network.py"}
"""Started as processes of their own and imported by nobody: they may exit."""
MONOPOLIES = {
    "subprocess": {"processes/"},
    "sqlite3": {"tracking/"},
    "yaml": {"documents/yaml_file.py"},
    "tomllib": {"documents/toml_file.py"},
    "tomli": {"documents/toml_file.py"},
    "virtualenv": set(),
    "jinja2": {"compare/side_by_side.py", "environments/docker/dockerfile_template.py"},
    "git": {"sources/git/library.py"},
    "docker": {"environments/docker/images.py"},
    "requests": {"environments/docker/images.py"},
    "fsspec": {"inputs/filesystem.py"},
    "tarfile": {"sources/", "disk/unpack.py"},
    "zipfile": {"disk/unpack.py", "records/bundle_writer.py"},
    "numpy": {"compare/values.py"},
    "PIL": {"compare/values.py"},
    "starlette": {"server/app.py", "server/artifact_files.py"},
    "uvicorn": {"server/endpoint.py", "server/standalone.py"},
    "rattler": {"environments/conda/rattler_program.py"},
}


def room(module: str) -> str:
    """The part of the package that `projrun.room.rest` belongs to."""
    return [*module.split("."), "__init__"][1]


def floor(of_room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if of_room in rooms)


@cache
def imports(file: Path) -> tuple[tuple[int, str], ...]:
    """Line and module of each."""
    return tuple(_imports(file))


def _imports(file: Path) -> Iterator[tuple[int, str]]:
    for node in nodes_of(file):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                yield node.lineno, name if is_module(name) else str(node.module)


@cache
def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_go_only_downwards_and_stations_are_strangers(file: Path) -> None:
    here = room(".".join(("projrun", *file.relative_to(PACKAGE).with_suffix("").parts)))
    for line, module in imports(file):
        if module.split(".")[0] != "projrun" or (there := room(module)) == here:
            continue
        assert floor(there) <= floor(here), f"{file}:{line}: {here} imports {there} from above"
        assert not {here, there} <= STATIONS, f"{file}:{line}: station {here} imports station {there}"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_what_begins_with_an_underscore_stays_in_its_file(file: Path) -> None:
    for node in nodes_of(file):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("projrun"):
            names = {alias.name for alias in node.names}
            assert not {name for name in names - {"__version__"} if name.startswith("_")}, node.lineno


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_monopolies_are_kept(file: Path) -> None:
    for line, module in imports(file):
        owners = MONOPOLIES.get(module.split(".")[0])
        assert owners is None or any(name_of(file).startswith(owner) for owner in owners), (
            f"{file}:{line}: {module} belongs to {owners}"
        )


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_nothing_changes_the_process_that_it_runs_in(file: Path) -> None:
    text = text_of(file)
    assert not re.search(r"os\.(chdir|putenv|unsetenv)\b", text)
    assert not re.search(r"os\.environ(\[[^\]]+\]\s*=[^=]|\.(update|pop|setdefault|clear)\b)", text)
    if room(f"projrun.{name_of(file).split('/')[0]}") != "cli" and name_of(file) not in PROGRAMS:
        calls = {ast.unparse(node.func) for node in nodes_of(file) if isinstance(node, ast.Call)}
        assert not calls & {"sys.exit", "os._exit", "SystemExit"}


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {module_name(file): {m for _, m in imports(file) if m.startswith("projrun")} for file in FILES}

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a circle: {' -> '.join((*path, module))}"
        for other in graph.get(module, ()):
            if other in graph and other not in done:
                visit(other, (*path, module))
        done.add(module)

    done: set[str] = set()
    for module in sorted(graph):
        visit(module, ())


def test_nobody_imports_a_program() -> None:
    programs = {module_name(PACKAGE / name) for name in PROGRAMS}
    assert not [file for file in FILES if programs & {module for _, module in imports(file)}]


def module_name(file: Path) -> str:
    parts = ("projrun", *file.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


@pytest.mark.parametrize(
    ("station", "mark"),
    [
        (sources, "fetch"),
        (environments, "BUILDS"),
        (backends, "QUEUES"),
        (inputs, "check"),
        (tracking, "open_store"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_the_table_of_kinds_is_the_files_in_the_folder(station: ModuleType, mark: str) -> None:
    folder = Path(str(station.__file__)).parent
    modules = [module_name(file) for file in folder.rglob("*.py") if file != folder / "__init__.py"]
    kinds = {name for name in modules if hasattr(importlib.import_module(name), mark)}
    assert kinds == set(station.KINDS.values())


def test_every_kind_fulfils_its_contract() -> None:
    """The assignments are checked by mypy, which knows modules as implementations of a Protocol."""
    from projrun.backends import local as this_machine
    from projrun.environments import local, pixi, virtualenv
    from projrun.environments.conda import conda_manager
    from projrun.environments.docker import docker_manager
    from projrun.environments.uv import uv_manager
    from projrun.inputs import filesystem, run_artifact, web
    from projrun.sources import archive
    from projrun.sources import local as directory
    from projrun.sources.git import repository

    kinds: list[SourceKind] = [directory, archive, repository]
    managers: list[EnvironmentManager] = [
        *(conda_manager, docker_manager, local, pixi, uv_manager, virtualenv)
    ]
    places: list[InputKind] = [web, run_artifact, filesystem]
    here: list[Backend] = [this_machine]
    assert len(managers) == len(environments.KINDS)
    assert len(kinds) == len(sources.KINDS)
    assert len(places) == len(inputs.KINDS)
    assert len(here) == len(backends.KINDS)


NO_VERBS = {
    "__init__",
    "main",
    "run_options",
    "run_request",
    "verbs",
}
"""Modules of the command line that are not a verb of their own."""


def test_every_verb_has_a_file_and_a_heading_in_the_manual() -> None:
    manual = (PACKAGE.parent / "docs" / "cli.md").read_text()
    headings = set(re.findall(r"^## `projrun (\S+)`", manual, re.MULTILINE))
    assert headings == set(VERBS)
    modules = {path.stem for path in (PACKAGE / "cli").iterdir() if path.name != "__pycache__"}
    assert modules == {*VERBS, *NO_VERBS}


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_files_stay_short(file: Path) -> None:
    assert len(text_of(file).splitlines()) <= 500
