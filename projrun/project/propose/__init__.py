"""Propose an MLproject file for a directory that has none. Nothing is run or changed.

Only what both projrun and mlflow can pass on is declared. An argument that may be left out is no parameter,
and a switch is a choice between true and false that the shell looks at, not our own `flag:`.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from projrun.documents import MAX_BYTES
from projrun.errors import ProjectError
from projrun.plan import Descriptor
from projrun.project import environment_of, read_project
from projrun.project.mlproject import Parameter, Project, escape_braces
from projrun.project.parameters import find_misfit
from projrun.project.propose.arguments import Argument, Program, read_program

_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
# Words that YAML, or a reader, takes for something else than text
_CONSTANT = re.compile(r"y|n|yes|no|on|off|true|false|null|none|nan|inf", re.IGNORECASE)


class ProposedEntryPoint(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    file: str  # the program, relative to the directory
    command: str  # the template of the command
    arguments: tuple[Argument, ...] = ()  # the arguments that are parameters
    left_out: tuple[Argument, ...] = ()  # the other arguments


def mlproject_text(name: str, environment: Sequence[str], entry_points: Sequence[ProposedEntryPoint]) -> str:
    """Return the text of an MLproject file. environment: the lines about it."""
    lines = [
        "# Written by `projrun init` from what lies in this directory; it is yours to change.",
        f"name: {_yaml(name)}",
    ]
    if environment:
        lines += ["", *environment]
    lines += ["", "entry_points:"]
    blocks = ["\n".join(_entry_point_lines(entry_point)) for entry_point in entry_points]
    return "\n".join([*lines, "\n\n".join(blocks), ""])


def python_env_text(made_from: str, python: str, dependencies: Sequence[str]) -> str:
    lines = [f"# The packages are those of {made_from}.", f'python: "{python}"']
    if dependencies:
        lines += ["dependencies:", *(f"  - {json.dumps(line, ensure_ascii=False)}" for line in dependencies)]
    return "\n".join([*lines, ""])


def _entry_point_lines(entry_point: ProposedEntryPoint) -> Iterator[str]:
    yield f"  {_yaml(entry_point.name)}:"
    if entry_point.arguments:
        yield "    parameters:"
        for argument in entry_point.arguments:
            yield f"      {_yaml(argument.name)}: {_parameter(argument)}"
    left_out = [argument for argument in entry_point.left_out if not argument.switch]
    appended = [argument.name for argument in left_out if argument.option == f"--{argument.name}"]
    if appended:
        yield f"    # Appended when they are given: -P NAME=VALUE for {', '.join(appended)}."
    yield f"    command: {_yaml(entry_point.command)}"


def _parameter(argument: Argument) -> str:
    """Return the type alone, or a mapping of all that is known."""
    if argument.switch:
        choices: tuple[str, ...] = ("false", "true")
        switch = {"type": "string", "default": argument.default or "false", "choices": choices}
        return _mapping({**switch, "description": argument.description})
    declared = Parameter(name=argument.name, type=argument.type, choices=argument.choices)
    values = [value for value in (argument.default, *argument.choices) if value is not None]
    if any(find_misfit(declared, value) for value in values):
        # argparse and click do not check the type of a default
        declared = Parameter(name=argument.name)
    is_number = declared.type in ("int", "float")
    return _mapping(
        {
            "type": declared.type,
            "default": argument.default,
            "choices": declared.choices,
            "min": argument.min if is_number else None,
            "max": argument.max if is_number else None,
            "description": argument.description,
        }
    )


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
        return f"[{', '.join(_value(item, number) for item in value)}]"
    if isinstance(value, (int, float)):
        return f"{value:g}"
    text = str(value)
    return text if number and re.fullmatch(r"-?\d+(\.\d+)?", text) else _yaml(text, flow=True)


def _yaml(text: str, *, flow: bool = False) -> str:
    """Return a text as YAML, in double quotes if it would mean something else without them."""
    if _PLAIN.fullmatch(text) and not _CONSTANT.fullmatch(text):
        return text
    outside = re.fullmatch(r"[A-Za-z][^\n\t]*[^\s:]", text) and ": " not in text and " #" not in text
    if not flow and outside and text.isprintable() and not _CONSTANT.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


MAX_SCRIPTS = 50
_DIRECTORIES = ("", "scripts", "src")  # the first of these directories that has programs is looked into
_NOT_FOR_RUNS = re.compile(r"(test_.*|.*_test|conftest|setup|noxfile|tasks|fabfile|__init__)\.py")
# Among several programs, the first of these names becomes the entry point `main`
_MAIN = ("main", "train", "run", "__main__")


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    files: dict[str, str]  # name -> text, in the order of writing; MLproject is the last
    entry_points: tuple[str, ...]
    notes: tuple[str, ...] = ()  # lines for the author, each about something that the proposal does not cover


def propose_mlproject(directory: Path, name: str = "") -> Proposal:
    """Propose files. name: the project's; '' means that of pyproject.toml or the directory.

    Raises ProjectError if there is an MLproject file, or nothing to run.
    """
    project = read_project(directory)
    if project.file:
        hint = "change that, see what is wrong with it with `projrun validate`, or remove it first"
        raise ProjectError("there is one already", hint, file=str(directory / project.file))
    notes: list[str] = []
    candidates = [*_declared(project), *_find_programs(directory, notes)]
    if not candidates:
        raise _nothing_to_run(directory)
    entry_points = _choose_main(candidates)
    environment, files = _environment(project, entry_points[0], notes)
    for entry_point in entry_points:
        notes += [
            f"{entry_point.file}: {argument.option or argument.name} is required and no parameter: "
            f"{argument.trouble}; write it into the command"
            for argument in entry_point.left_out
            if argument.required
        ]
    return Proposal(
        files={**files, "MLproject": mlproject_text(name or project.name, environment, entry_points)},
        entry_points=tuple(entry_point.name for entry_point in entry_points),
        notes=tuple(notes),
    )


def _nothing_to_run(directory: Path) -> ProjectError:
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
    """Return the scripts of pyproject.toml, whose commands are templates already."""
    points = project.entry_points.values()
    return [
        ProposedEntryPoint(name=point.name, file=point.file, command=point.command)
        for point in points
        if point.name != "main" or len(points) == 1
    ]


def _find_programs(directory: Path, notes: list[str]) -> list[ProposedEntryPoint]:
    for subdirectory in _DIRECTORIES:
        programs = [
            *_find_python_programs(directory, directory / subdirectory, notes),
            *_find_scripts(directory, subdirectory, ".R", "Rscript"),
            *_find_scripts(directory, subdirectory, ".sh", "bash"),
        ]
        if programs:
            return programs
    return []


def _find_scripts(
    directory: Path, subdirectory: str, extension: str, runner: str
) -> Iterator[ProposedEntryPoint]:
    for file in sorted((directory / subdirectory).glob(f"*{extension}"))[:MAX_SCRIPTS]:
        if file.is_file():
            name = file.relative_to(directory).as_posix()
            yield ProposedEntryPoint(name=file.stem, file=name, command=f"{runner} {_literal(name)}")


def _find_python_programs(top: Path, directory: Path, notes: list[str]) -> Iterator[ProposedEntryPoint]:
    files = [file for file in sorted(directory.glob("*.py")) if not _NOT_FOR_RUNS.fullmatch(file.name)]
    programs = [(file, _read(file)) for file in files[:MAX_SCRIPTS]]
    for file, program in programs:
        if program and (program.is_main or (program.arguments and len(programs) == 1)):
            name = file.relative_to(top).as_posix()
            yield _python_entry_point(file.stem, name, f"python {_literal(name)}", program, notes)
    for file in sorted(directory.glob("*/__main__.py")) if directory == top else ():
        program, package = _read(file), file.parent.name
        if program:
            command = f"python -m {_literal(package)}"
            yield _python_entry_point(package, f"{package}/__main__.py", command, program, notes)


def _read(file: Path) -> Program | None:
    try:
        with open(file, "rb") as opened:
            text = opened.read(MAX_BYTES + 1)
    except OSError:
        return None
    return read_program(text.decode(errors="replace")) if len(text) <= MAX_BYTES else None


def _python_entry_point(
    name: str, file: str, command: str, program: Program, notes: list[str]
) -> ProposedEntryPoint:
    if program.subcommands:
        notes.append(f"{file} has commands of its own: write an entry point for each that is to be run")
    parameters = tuple(argument for argument in program.arguments if not argument.trouble)
    return ProposedEntryPoint(
        name=name,
        file=file,
        command=" ".join((command, *map(_in_command, parameters))),
        arguments=parameters,
        left_out=tuple(argument for argument in program.arguments if argument.trouble),
    )


def _in_command(argument: Argument) -> str:
    placeholder = f"{{{argument.name}}}"
    if not argument.switch:
        return f"{argument.option} {placeholder}".lstrip()
    off = f" || echo {argument.off_option}" if argument.off_option else ""
    return f"$(test {placeholder} = true && echo {argument.option}{off})"


def _literal(name: str) -> str:
    """Return a file's name for a command template."""
    return escape_braces(shlex.quote(f"./{name}" if name.startswith("-") else name))


def _choose_main(candidates: list[ProposedEntryPoint]) -> list[ProposedEntryPoint]:
    """Return each name once; the only entry point, or the one with a usual name, is `main` and the first."""
    unique: dict[str, ProposedEntryPoint] = {}
    for candidate in candidates:
        unique.setdefault(candidate.name, candidate)
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
    """Return the lines of the MLproject file, and files that go with it."""
    descriptor = project.descriptor
    if descriptor.kind in ("python_env", "conda_env"):
        plain = not descriptor.file.endswith(".toml")
        return ([f"{descriptor.kind}: {descriptor.file}"] if plain else []), {}
    if project.environment_fault:
        notes.append(project.environment_fault)
        return [], {}
    if descriptor.kind == "requirements":
        return _write_python_env(project.directory, descriptor, ["-r requirements.txt"])
    if descriptor.kind == "none" and first.file.endswith(".py"):
        inline, _ = environment_of(project, project.entry_point(first.file))
        if inline.kind == "script":
            return _write_python_env(project.directory, inline, list(inline.dependencies))
    if descriptor.kind == "none" and (project.directory / "Dockerfile").is_file():
        return ["docker_env:", "  build: .  # mlflow wants `image: NAME` instead"], {}
    if descriptor.kind == "none":
        notes.append("nothing says which packages it needs: list them in a requirements.txt, and do it again")
    return [], {}


def _write_python_env(
    directory: Path, descriptor: Descriptor, dependencies: list[str]
) -> tuple[list[str], dict[str, str]]:
    # mlflow reads neither requirements.txt nor a script's metadata
    text = python_env_text(descriptor.file, _choose_python(directory, descriptor.python), dependencies)
    return ["python_env: python_env.yaml"], {"python_env.yaml": text}


def _choose_python(directory: Path, required: str) -> str:
    """Return the Python version of .python-version, of .venv, or our own; `required` if that does not fit."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    for file, pattern in (
        (".python-version", r"\s*(3\.\d+(?:\.\d+)?)\s"),
        (".venv/pyvenv.cfg", r"(?s).*?^version(?:_info)? *= *(3\.\d+)(?m:)"),
    ):
        try:
            match = re.match(pattern, (directory / file).read_text() + "\n", re.MULTILINE)
        except (OSError, ValueError):
            continue
        if match:
            own = match[1]
            break
    if not required:
        return own
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        fits = SpecifierSet(required).contains(f"{own}.99" if own.count(".") == 1 else own)
    except InvalidSpecifier:  # a bare version
        fits = False
    return own if fits else required
