"""An MLproject file for a directory that has none, from what lies in it. Nothing is run or changed."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from projrun.documents.yaml_cache import MAX_BYTES
from projrun.errors import ProjectError
from projrun.plan import Descriptor
from projrun.project import environment_of, read_project
from projrun.project.mlproject import Parameter, Project
from projrun.project.parameters import find_misfit
from projrun.project.propose.arguments import Argument, Program, read_program

_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
_CONSTANT = re.compile(r"y|n|yes|no|on|off|true|false|null|none|nan|inf", re.IGNORECASE)
"""What YAML, or a reader, takes for something else than text."""


class ProposedEntryPoint(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    file: str
    """What is run, relative to the directory."""
    command: str
    """The template."""
    arguments: tuple[Argument, ...] = ()
    """Those that are parameters."""
    left_out: tuple[Argument, ...] = ()


def mlproject_text(name: str, environment: Sequence[str], entry_points: Sequence[ProposedEntryPoint]) -> str:
    """environment: the lines about it."""
    return "\n".join([*_lines(name, environment, entry_points), ""])


def python_env_text(made_from: str, python: str, dependencies: Sequence[str]) -> str:
    lines = [f"# The packages are those of {made_from}.", f'python: "{python}"']
    if dependencies:
        lines += ["dependencies:", *(f"  - {json.dumps(line, ensure_ascii=False)}" for line in dependencies)]
    return "\n".join([*lines, ""])


def _lines(
    name: str, environment: Sequence[str], entry_points: Sequence[ProposedEntryPoint]
) -> Iterator[str]:
    yield "# Written by `projrun init` from what lies in this directory; it is yours to change."
    yield f"name: {_yaml(name)}"
    if environment:
        yield ""
        yield from environment
    yield ""
    yield "entry_points:"
    for number, entry_point in enumerate(entry_points):
        if number:
            yield ""
        yield from _entry_point_lines(entry_point)


def _entry_point_lines(entry_point: ProposedEntryPoint) -> Iterator[str]:
    yield f"  {_yaml(entry_point.name)}:"
    if entry_point.arguments:
        yield "    parameters:"
        for argument in entry_point.arguments:
            yield f"      {_yaml(argument.name)}: {_parameter(argument)}"
    appended = [one.name for one in entry_point.left_out if one.option == f"--{one.name}" and not one.switch]
    if appended:
        yield f"    # Appended when they are given: -P NAME=VALUE for {', '.join(appended)}."
    yield f"    command: {_yaml(entry_point.command)}"


def _parameter(argument: Argument) -> str:
    """Its type alone, or all that is known of it."""
    if argument.switch:
        choices: tuple[str, ...] = ("false", "true")
        switch = {"type": "string", "default": argument.default or "false", "choices": choices}
        return _mapping({**switch, "description": argument.description})
    declared = Parameter(name=argument.name, type=argument.type, choices=argument.choices)
    values = [value for value in (argument.default, *argument.choices) if value is not None]
    if any(find_misfit(declared, value) for value in values):  # the program does not check its own default
        declared = Parameter(name=argument.name)
    facts: dict[str, object] = {
        "type": declared.type,
        "default": argument.default,
        "choices": declared.choices,
        "min": argument.min if declared.type in ("int", "float") else None,
        "max": argument.max if declared.type in ("int", "float") else None,
        "description": argument.description,
    }
    return _mapping(facts)


def _mapping(facts: dict[str, object]) -> str:
    known = {key: value for key, value in facts.items() if value not in (None, "", ()) or key == "default"}
    if known.get("default") is None:
        known.pop("default", None)
    if set(known) == {"type"}:
        return str(known["type"])
    number = known["type"] in ("int", "float")
    return "{" + ", ".join(f"{key}: {_value(value, number)}" for key, value in known.items()) + "}"


def _value(value: object, number: bool) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_value(one, number) for one in value)}]"
    if isinstance(value, (int, float)):
        return f"{value:g}"
    text = str(value)
    return text if number and re.fullmatch(r"-?\d+(\.\d+)?", text) else _yaml(text, flow=True)


def _yaml(text: str, *, flow: bool = False) -> str:
    """A text as YAML; in double quotes where it would mean something else without."""
    if _PLAIN.fullmatch(text) and not _CONSTANT.fullmatch(text):
        return text
    outside = re.fullmatch(r"[A-Za-z][^\n\t]*[^\s:]", text) and ": " not in text and " #" not in text
    if not flow and outside and text.isprintable() and not _CONSTANT.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


MAX_SCRIPTS = 50
_PLACES = ("", "scripts", "src")
"""Where programs are looked for: the first of them that has one."""
_NOT_FOR_RUNS = re.compile(r"(test_.*|.*_test|conftest|setup|noxfile|tasks|fabfile|__init__)\.py")
_MAIN = ("main", "train", "run", "__main__")
"""A program of that name is entry point `main`, where several could be."""


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    files: dict[str, str]
    """Name -> text, in the order in which they are to be written; MLproject is the last."""
    entry_points: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What the author should know of, a line each."""


def propose_mlproject(directory: Path, name: str = "") -> Proposal:
    """name: of the project; empty: as pyproject.toml has it, or the directory. Raises ProjectError."""
    project = read_project(directory)
    if project.file:
        hint = "change that, see what is wrong with it with `projrun validate`, or remove it first"
        raise ProjectError("there is one already", hint, file=str(directory / project.file))
    notes: list[str] = []
    entry_points = [*_declared(project), *_programs(directory, notes)]
    if not entry_points:
        raise _nothing(directory)
    named = _with_a_main(entry_points)
    environment, files = _environment(project, named[0], notes)
    for entry_point in named:
        notes += [
            f"{entry_point.file}: {one.option or one.name} is required and no parameter: {one.trouble}; "
            "write it into the command"
            for one in entry_point.left_out
            if one.required
        ]
    return Proposal(
        files={**files, "MLproject": mlproject_text(name or project.name, environment, named)},
        entry_points=tuple(one.name for one in named),
        notes=tuple(notes),
    )


def _nothing(directory: Path) -> ProjectError:
    notebooks = sorted(file.name for file in directory.glob("*.ipynb"))
    if notebooks:
        return ProjectError(
            "there are only notebooks, which need no MLproject file",
            f"run one by its name: projrun run {shlex.quote(str(directory))} -e {shlex.quote(notebooks[0])}",
            file=str(directory),
        )
    return ProjectError(
        "there is nothing here that can be run",
        'add a program: a .py file with `if __name__ == "__main__":`, a .R or a .sh file',
        file=str(directory),
    )


# entry points


def _declared(project: Project) -> list[ProposedEntryPoint]:
    """The scripts of pyproject.toml, whose commands are templates already."""
    points = project.entry_points.values()
    return [
        ProposedEntryPoint(name=point.name, file=point.file, command=point.command)
        for point in points
        if point.name != "main" or len(points) == 1
    ]


def _programs(directory: Path, notes: list[str]) -> Iterator[ProposedEntryPoint]:
    for place in _PLACES:
        found = [
            *_python_programs(directory, directory / place, notes),
            *_scripts(directory / place, place, ".R", "Rscript"),
            *_scripts(directory / place, place, ".sh", "bash"),
        ]
        if found:
            yield from found
            return


def _scripts(place: Path, prefix: str, extension: str, runner: str) -> Iterator[ProposedEntryPoint]:
    for file in sorted(place.glob(f"*{extension}"))[:MAX_SCRIPTS]:
        if file.is_file():
            name = f"{prefix}/{file.name}" if prefix else file.name
            yield ProposedEntryPoint(name=file.stem, file=name, command=f"{runner} {_literal(name)}")


def _python_programs(directory: Path, place: Path, notes: list[str]) -> Iterator[ProposedEntryPoint]:
    files = [file for file in sorted(place.glob("*.py")) if not _NOT_FOR_RUNS.fullmatch(file.name)]
    packages = [file.parent for file in sorted(place.glob("*/__main__.py"))] if place == directory else []
    read = [(file, _read(file)) for file in files[:MAX_SCRIPTS]]
    for file, found in read:
        if found and (found.is_main or (found.arguments and len(read) == 1)):
            name = file.relative_to(directory).as_posix()
            yield _python_entry_point(file.stem, name, f"python {_literal(name)}", found, notes)
    for package in packages:
        found = _read(package / "__main__.py")
        if found:
            command = f"python -m {_literal(package.name)}"
            yield _python_entry_point(package.name, f"{package.name}/__main__.py", command, found, notes)


def _read(file: Path) -> Program | None:
    try:
        with open(file, "rb") as opened:
            text = opened.read(MAX_BYTES + 1)
    except OSError:
        return None
    return read_program(text.decode(errors="replace")) if len(text) <= MAX_BYTES else None


def _python_entry_point(
    name: str, file: str, command: str, found: Program, notes: list[str]
) -> ProposedEntryPoint:
    if found.subcommands:
        notes.append(f"{file} has commands of its own: write an entry point for each that is to be run")
    kept = tuple(one for one in found.arguments if not one.trouble)
    return ProposedEntryPoint(
        name=name,
        file=file,
        command=" ".join((command, *map(_in_command, kept))),
        arguments=kept,
        left_out=tuple(one for one in found.arguments if one.trouble),
    )


def _in_command(argument: Argument) -> str:
    placeholder = f"{{{argument.name}}}"
    if not argument.switch:
        return f"{argument.option} {placeholder}".lstrip()
    off = f" || echo {argument.off_option}" if argument.off_option else ""
    return f"$(test {placeholder} = true && echo {argument.option}{off})"


def _literal(name: str) -> str:
    """A file's name in a command: quoted for bash, its braces for placeholders."""
    path = f"./{name}" if name.startswith("-") else name
    return shlex.quote(path).replace("{", "{{").replace("}", "}}")


def _with_a_main(found: list[ProposedEntryPoint]) -> list[ProposedEntryPoint]:
    """Each name once, `main` first: the only one, or the one that is called like it."""
    unique: dict[str, ProposedEntryPoint] = {}
    for one in found:
        unique.setdefault(one.name, one)
    usual = next((name for name in _MAIN if name in unique), None)
    first = next(iter(unique)) if len(unique) == 1 else usual
    if first is None:
        return list(unique.values())
    main = msgspec.structs.replace(unique.pop(first), name="main")
    return [main, *unique.values()]


# the environment


def _environment(
    project: Project, first: ProposedEntryPoint, notes: list[str]
) -> tuple[list[str], dict[str, str]]:
    """The lines of the MLproject file, and files that go with it."""
    descriptor = project.descriptor
    if descriptor.kind in ("python_env", "conda_env"):
        plain = not descriptor.file.endswith(".toml")
        return ([f"{descriptor.kind}: {descriptor.file}"] if plain else []), {}
    if project.environment_fault:
        notes.append(project.environment_fault)
        return [], {}
    if descriptor.kind == "requirements":
        return _own_python_env(project.directory, descriptor, ["-r requirements.txt"])
    if descriptor.kind == "none" and first.file.endswith(".py"):
        inline, _ = environment_of(project, project.entry_point(first.file))
        if inline.kind == "script":
            return _own_python_env(project.directory, inline, list(inline.dependencies))
    if descriptor.kind == "none" and (project.directory / "Dockerfile").is_file():
        return ["docker_env:", "  build: .  # mlflow wants `image: NAME` instead"], {}
    if descriptor.kind == "none":
        notes.append("nothing says which packages it needs: list them in a requirements.txt, and do it again")
    return [], {}


def _own_python_env(
    directory: Path, descriptor: Descriptor, dependencies: list[str]
) -> tuple[list[str], dict[str, str]]:
    """mlflow looks at nothing but a python_env file, so there is to be one."""
    text = python_env_text(descriptor.file, _python(directory, descriptor.python), dependencies)
    return ["python_env: python_env.yaml"], {"python_env.yaml": text}


def _python(directory: Path, wanted: str) -> str:
    """The version that the directory is worked on with: .python-version, .venv, else our own."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    for file, pattern in (
        (".python-version", r"\s*(3\.\d+(?:\.\d+)?)\s"),
        (".venv/pyvenv.cfg", r"(?s).*?^version(?:_info)? *= *(3\.\d+)(?m:)"),
    ):
        try:
            found = re.match(pattern, (directory / file).read_text() + "\n", re.MULTILINE)
        except (OSError, ValueError):
            continue
        if found:
            own = found[1]
            break
    if not wanted:
        return own
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        fits = SpecifierSet(wanted).contains(f"{own}.99" if own.count(".") == 1 else own)
    except InvalidSpecifier:  # a bare version
        fits = False
    return own if fits else wanted
