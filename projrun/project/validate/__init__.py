"""Find everything that is wrong with a project's files, where reading them stops at the first error."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from projrun.documents import Document
from projrun.documents.scalar_text import ScalarText
from projrun.errors import ProjectError
from projrun.plan import Descriptor
from projrun.project import read_project
from projrun.project.command import scan_command
from projrun.project.command.lexer import Context, Scan
from projrun.project.command.placeholders import MARK, Mistake, Template, parse_template
from projrun.project.environment import conda_file, require_list, require_mapping
from projrun.project.environment.descriptor import (
    BESIDE,
    ENV_KEYS,
    find_named_file,
    is_descriptor_file,
    parse_python,
    read_descriptor,
    read_docker_env,
    refuse_conda_export,
)
from projrun.project.environment.lock_files import find_lock_file
from projrun.project.environment.requirements import Requirements
from projrun.project.mlproject import (
    EntryPoint,
    Parameter,
    find_glued_keys,
    find_mlproject,
    read_entry_point,
    read_entry_points,
    read_parameter,
    read_top,
    suggest_name,
)
from projrun.project.parameters import TYPES, find_misfit, is_uri, kind_of, show_value
from projrun.project.shapes import (
    DockerShape,
    EntryPointShape,
    ParameterShape,
    ProjectShape,
    PythonEnvShape,
    VerifyShape,
    convert_to_shape,
    read_verify_rules,
)
from projrun.project.validate.findings import Finding, Findings

_CONDA_KEYS = ("name", "channels", "dependencies", "prefix", "variables", "platforms", "category")
_PINNED = re.compile(r"===?\s*[^\s*,;]+\s*(?:[;\\].*|--hash.*)?$")
_NOT_A_NAME = re.compile(r"-|\.|/|[A-Za-z][A-Za-z0-9+.-]*://|[^;]*\s@\s|[^\s;=<>]*/")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def check_project(directory: Path) -> tuple[Finding, ...]:
    """Return the mistakes of the project in `directory`, by file and line. No content makes it raise."""
    findings = Findings(directory)
    document = _document(directory, findings)
    if document is not None:
        with findings.catching(document):
            _check_document(document, findings)
        with findings.catching(document):
            _check_environment(directory, document, findings)
    return findings.sorted()


def _document(directory: Path, findings: Findings) -> Document | None:
    """Return the MLproject file; an empty document if there is none, None if it cannot be read."""
    try:
        file = find_mlproject(directory)
        if not file:
            _check_convention(directory, findings)
    except ProjectError as error:
        findings.add_error(error, "MLproject")
        file = error.file if error.rule == "two-files" else ""
    return findings.document(directory / file, file) if file else Document("MLproject", None, {})


def _check_convention(directory: Path, findings: Findings) -> None:
    """Check a project without an MLproject file."""
    try:
        project = read_project(directory)
    except ProjectError as error:
        findings.add_error(error, "pyproject.toml")
        return
    if not project.entry_points:
        hint = "let `projrun init` write one, or name a script with --entry-point"
        findings.add("no-file", "there is no MLproject file", hint, "MLproject")


def _check_document(document: Document, findings: Findings) -> None:
    data = read_top(document)
    findings.unknown_keys(document, data, ProjectShape.__struct_fields__)
    with findings.catching(document, "verify"):
        verify = data.get("verify")
        if verify is not None:
            read_verify_rules(document, verify)
        findings.unknown_keys(document, verify or {}, VerifyShape.__struct_fields__, "verify")
    for name, body in read_entry_points(document, data).items():
        with findings.catching(document, "entry_points", str(name)):
            _check_entry_point(document, str(name), body, findings)


# entry points


def _check_entry_point(document: Document, name: str, body: object, findings: Findings) -> None:
    where = ("entry_points", name)
    if isinstance(body, dict):
        findings.unknown_keys(document, body, EntryPointShape.__struct_fields__, *where)
    parameters: dict[str, Parameter] = {}
    written = body.get("parameters") if isinstance(body, dict) else None
    for key, value in written.items() if isinstance(written, dict) else ():
        path = (*where, "parameters", str(key))
        if isinstance(key, bool) or key is None:
            message = f"YAML reads the name of parameter '{key}' as a constant"
            findings.add_at("constant-name", message, "quote it", document, *path)
            continue
        with findings.catching(document, *path):
            parameters[str(key)] = _ParameterCheck(document, path, findings).check(key, value)
    # The entry point is read without its parameters, of which one may be wrong
    alone = {**body, "parameters": None} if isinstance(written, dict) and isinstance(body, dict) else body
    with findings.catching(document, *where):
        read = msgspec.structs.replace(read_entry_point(document, name, alone), parameters=parameters)
        undeclared = {str(key) for key in written or () if key not in parameters}
        _CommandCheck(document, read, findings, undeclared).check()


class _ParameterCheck:
    def __init__(self, document: Document, where: tuple[object, ...], findings: Findings) -> None:
        self.document, self.where, self.findings = document, where, findings
        self.name = str(where[-1])

    def add(self, rule: str, message: str, fix: str, *below: object) -> None:
        self.findings.add_at(rule, message, fix, self.document, *self.where, *below)

    def check(self, key: object, body: object) -> Parameter:
        self.keys(body)
        try:
            parameter = read_parameter(self.document, self.where, key, body, [])
        except (ProjectError, ValueError, OverflowError):
            if not isinstance(body, dict):
                raise
            return self.check_by_parts(key, body)
        self.type(parameter)
        self.constraints(parameter)
        if parameter.default is not None:
            self.default(parameter, parameter.default)
        return parameter

    def check_by_parts(self, key: object, body: dict[Any, Any]) -> Parameter:
        """Check each key by itself, since more than one may be wrong; read those that fit."""
        good: dict[Any, Any] = {}
        for part, value in body.items():
            with self.findings.catching(self.document, *self.where, str(part)):
                read_parameter(self.document, self.where, key, {part: value}, [])
                good[part] = value
        return read_parameter(self.document, self.where, key, good, [])

    def keys(self, body: object) -> None:
        if not isinstance(body, dict):
            return
        glued = find_glued_keys(body)
        for part, meant in glued.items():
            message = f"parameter '{self.name}' has a key {show_value(part)}, which means nothing"
            self.add("glued-key", message, f"write {show_value(meant)} with a blank", part)
        others = {part: value for part, value in body.items() if part not in glued}
        self.findings.unknown_keys(self.document, others, ParameterShape.__struct_fields__, *self.where)

    def type(self, parameter: Parameter) -> None:
        if kind_of(parameter):
            return
        near = suggest_name(parameter.type.lower(), TYPES)
        message = (
            f"parameter '{self.name}' has the unknown type {show_value(parameter.type)}, which means string"
        )
        fix = f"did you mean '{near}'?" if near else f"write one of {', '.join(TYPES)}, list[int] …"
        self.add("unknown-type", message, fix, "type")

    def constraints(self, parameter: Parameter) -> None:
        kind = kind_of(parameter)
        idle = {
            "min": parameter.min is not None and kind not in ("int", "float"),
            "max": parameter.max is not None and kind not in ("int", "float"),
            "output": parameter.output and kind != "path",
        }
        for key in (key for key, is_idle in idle.items() if is_idle):
            message = (
                f"'{key}' means nothing for parameter '{self.name}' of type {show_value(parameter.type)}"
            )
            self.add("idle-constraint", message, "remove it, or change the type", key)
        if parameter.flag and kind != "bool":
            message = f"parameter '{self.name}' has a flag but is not a bool"
            self.add("flag-without-bool", message, "write type: bool", "flag")
        if parameter.min is not None and parameter.max is not None and parameter.min > parameter.max:
            message = f"parameter '{self.name}' has a min that is more than its max"
            self.add("impossible-limits", message, "exchange them", "min")
        free = msgspec.structs.replace(parameter, choices=())
        for choice in parameter.choices:
            if reason := find_misfit(free, choice):
                message = f"a choice of parameter '{self.name}' does not fit: {reason}"
                self.add("choice-misfit", message, "correct the choice or the type", "choices")

    def default(self, parameter: Parameter, value: str) -> None:
        if reason := find_misfit(parameter, value):
            fix = f"write a default that fits '{parameter.type}', or change the type"
            if value in ("None", "null", "none"):
                fix = "write default: null, or required: false"
            message = f"the default of parameter '{self.name}' ({parameter.type}): {reason}"
            self.add("default-misfit", message, fix, "default")
        elif kind_of(parameter) == "path" and not parameter.output and not is_uri(value):
            self.default_path(value)

    def default_path(self, value: str) -> None:
        beside = os.path.join(self.findings.directory, value)
        if not value or ("\0" not in value and not os.path.exists(beside)):
            message = (
                f"the default of path parameter '{self.name}', {show_value(value)}, is not in the project"
            )
            fix = "add the file, remove the default, or say output: true if the run makes it"
            self.add("default-path", message, fix, "default")


class _CommandCheck:
    """unread: names of parameters whose declaration is faulty."""

    def __init__(
        self, document: Document, entry_point: EntryPoint, findings: Findings, unread: set[str]
    ) -> None:
        self.document, self.entry_point, self.findings, self.unread = document, entry_point, findings, unread
        self.path = ("entry_points", entry_point.name, "command")
        self.text: ScalarText | None = None

    def add(self, rule: str, message: str, fix: str, offset: int = -1) -> None:
        """Add a finding about the command, or about the character at `offset` of it."""
        if self.findings.is_full():
            return
        position = self.document.position(*self.path)
        if offset >= 0:
            self.text = self.text or self.document.text_at(*self.path)
            position = self.text.position(offset) if self.text else position
        self.findings.add(rule, message, fix, self.document.file, position)

    def check(self) -> None:
        entry_point = self.entry_point
        if entry_point.fault or not entry_point.command.strip():
            self.add("no-command", f"entry point '{entry_point.name}' has no command", "write command: …")
            return
        mistakes: list[Mistake] = []
        template = parse_template(entry_point, mistakes)
        for mistake in mistakes:
            self.mistake(mistake)
        self.shell_variables()
        self.unused(template, " ".join(mistake.error.hint for mistake in mistakes))
        self.scan(template, scan_command(entry_point, template, {}))

    def mistake(self, mistake: Mistake) -> None:
        error = mistake.error
        end = self.entry_point.command.find("}", mistake.at)
        placeholder = self.entry_point.command[mistake.at : end].strip("{ ")
        if placeholder not in self.unread:
            self.add(error.rule, error.message, error.hint, mistake.at)

    def shell_variables(self) -> None:
        for name in self.entry_point.parameters:
            at = self.entry_point.command.find(f"${{{name}}}")
            if at >= 0:
                message = f"'${{{name}}}' is a variable of the shell, not the parameter '{name}'"
                self.add("shell-variable", message, f"write {{{name}}}", at)

    def unused(self, template: Template, hints: str) -> None:
        # A parameter that the hint of a mistake names will be used when the mistake is corrected
        used, command = set(template.names), self.entry_point.command
        for name in self.entry_point.parameters:
            if name not in used and f"{{{name}}}" not in hints and f"${{{name}}}" not in command:
                path = (*self.path[:2], "parameters", name)
                message = f"parameter '{name}' does not occur in the command of '{self.entry_point.name}'"
                fix = f"put {{{name}}} into the command, or remove the parameter"
                self.findings.add_at("unused-parameter", message, fix, self.document, *path)

    def scan(self, template: Template, scan: Scan) -> None:
        for start, line in zip(scan.option_starts, scan.option_lines):
            message = f"the command breaks off before {show_value(line.replace(MARK, '{…}'))}"
            fix = "end the line before it with a backslash"
            self.add("second-command", message, fix, template.origin(start))
        for spot, name in zip(scan.spots, template.names):
            if spot.context in (Context.SINGLE, Context.DOUBLE, Context.ANSI):
                message = f"the placeholder '{{{name}}}' stands {spot.context.value}"
                fix = "remove the quotes if mlflow is to run the project too"
                self.add("quoted-placeholder", message, fix, template.origin(spot.at))


# the environment


def _check_environment(directory: Path, mlproject: Document, findings: Findings) -> None:
    data = mlproject.data if isinstance(mlproject.data, dict) else {}
    named = [key for key in ENV_KEYS if key in data]
    if len(named) > 1:
        with findings.catching(mlproject, named[1]):
            read_descriptor(directory, mlproject)
    for key in named:
        if data[key]:
            with findings.catching(mlproject, key):
                _check_named(directory, mlproject, key, data[key], findings)
    if not any(data[key] for key in named):
        _check_beside(directory, mlproject, findings)


def _check_named(directory: Path, mlproject: Document, key: str, value: object, findings: Findings) -> None:
    if key != "docker_env":
        _check_file(directory, key, find_named_file(directory, mlproject, key, value), findings)
        return
    if isinstance(value, dict):
        findings.unknown_keys(mlproject, value, DockerShape.__struct_fields__, key)
    read_docker_env(mlproject, value)


def _check_beside(directory: Path, mlproject: Document, findings: Findings) -> None:
    for kind, file in BESIDE:
        if is_descriptor_file(directory, file):
            _check_file(directory, kind, file, findings)
            return
    try:
        descriptor = read_project(directory).descriptor
    except ProjectError:
        descriptor = read_descriptor(directory, mlproject)[0]
    if descriptor.kind in ("pyproject", "requirements"):
        _check_by_convention(directory, descriptor, findings)
    elif isinstance(mlproject.data, dict) and descriptor.kind == "none":
        fix = "write a python_env.yaml with python and dependencies"
        findings.add("no-environment", "the project says nothing about its environment", fix, mlproject.file)


def _check_by_convention(directory: Path, descriptor: Descriptor, findings: Findings) -> None:
    if descriptor.lock_file:
        return
    text = (directory / descriptor.file).read_text(encoding="utf-8", errors="replace")
    for line in find_unpinned(descriptor.dependencies, descriptor.constraints):
        fix = f"write {_name(line)}==VERSION, or keep a lock beside it: projrun lock"
        message = f"{show_value(line)} has no exact version"
        findings.add("unpinned-dependency", message, fix, descriptor.file, _find_position(text, line))


def _find_position(text: str, line: str) -> tuple[int, int]:
    """Return line and column from 1; 0 if the text has the requirement in another form."""
    at = text.find(line)
    return (text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)) if at >= 0 else (0, 0)


def find_unpinned(lines: Iterable[str], constraints: Iterable[str]) -> list[str]:
    """Return the requirement lines that let an index choose the version."""
    pinned = {_name(line) for line in constraints if _PINNED.search(line)}
    return [
        line
        for line in lines
        if not _NOT_A_NAME.match(line) and not _PINNED.search(line) and _name(line) not in pinned
    ]


def _check_file(directory: Path, kind: str, file: str, findings: Findings) -> None:
    if kind == "conda_env" and file.endswith(".toml"):
        conda_file.read_pixi(directory, file)
        return
    if kind == "conda_env" and conda_file.is_explicit(directory / file):
        return
    document = findings.document(directory / file, file)
    if document is None:
        return
    with findings.catching(document):
        data = require_mapping(document)
        checks = _PythonEnvCheck if kind == "python_env" else _CondaCheck
        checks(directory, document, data, findings).check()


class _DescriptorCheck:
    def __init__(self, directory: Path, document: Document, data: dict[Any, Any], findings: Findings) -> None:
        self.directory, self.document, self.data, self.findings = directory, document, data, findings
        self.requirements = Requirements(directory)
        self.positions: list[tuple[int, int]] = []

    def add(self, rule: str, message: str, fix: str, *path: object) -> None:
        self.findings.add_at(rule, message, fix, self.document, *path)

    def note_position(self, *path: object) -> None:
        """Note that the requirement lines that were read last stand at `path`."""
        missing = len(self.requirements.lines) - len(self.positions)
        self.positions.extend([self.document.position(*path)] * missing)

    def unpinned(self) -> None:
        if find_lock_file(Descriptor(kind="python_env", file=self.document.file), self.directory)[0]:
            return
        read = self.requirements
        loose = find_unpinned(read.lines, read.constraints)
        for line, (file, number), position in zip(read.lines, read.origins, self.positions):
            if line in loose:
                where = (number, 1) if number else position
                fix = f"write {_name(line)}==VERSION"
                self.findings.add(
                    "unpinned-dependency", f"{show_value(line)} has no exact version", fix, file, where
                )


class _PythonEnvCheck(_DescriptorCheck):
    def check(self) -> None:
        refuse_conda_export(self.document, self.data)
        self.findings.unknown_keys(self.document, self.data, PythonEnvShape.__struct_fields__)
        shapes: dict[str, PythonEnvShape] = {}
        for key in PythonEnvShape.__struct_fields__:
            if key in self.data:
                with self.findings.catching(self.document, key):
                    shapes[key] = convert_to_shape(
                        self.document, {key: self.data[key]}, PythonEnvShape, "the python_env file"
                    )
        self.python(shapes.get("python"))
        for key in ("build_dependencies", "dependencies"):
            self.check_requirements(key, getattr(shapes.get(key), key, None) or ())
        self.unpinned()

    def python(self, shape: PythonEnvShape | None) -> None:
        if shape is None and "python" in self.data:
            return  # it has the wrong shape, which is a finding already
        with self.findings.catching(self.document, "python"):
            if shape is None or not parse_python(self.document, self.data["python"]):
                message = "the environment does not say which Python it is for"
                self.add("python-unpinned", message, "write python: '3.11'", "python")

    def check_requirements(self, key: str, lines: Any) -> None:
        # A `\` at the end of a line joins it with the next, so that neither means anything by itself
        if any(line.rstrip().endswith("\\") for line in lines):
            lines = ["\n".join(lines)]
        for index, line in enumerate(lines):
            with self.findings.catching(self.document, key, index):
                self.requirements.add([line], self.directory, self.document.file)
            self.note_position(key, index)


class _CondaCheck(_DescriptorCheck):
    def check(self) -> None:
        self.findings.unknown_keys(self.document, self.data, _CONDA_KEYS)
        with self.findings.catching(self.document, "channels"):
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
        with self.findings.catching(self.document, *where):
            python, _, others, warnings = conda_file.sort_packages(self.document, [item.strip()])
            if others and re.fullmatch(r"[\w.:/-]+", item.strip()):
                fix = f"write {item.strip()}=VERSION"
                self.add("unpinned-dependency", f"{show_value(item)} has no version", fix, *where)
            return bool(python) and not warnings
        return True  # it names the Python in a way that was refused

    def pip(self, index: int, item: object) -> None:
        """Check each line by itself, since more than one may be wrong."""
        lines = item.get("pip") if isinstance(item, dict) and set(item) == {"pip"} else None
        for number, line in enumerate(lines if isinstance(lines, list) else [None]):
            where = ("dependencies", index, "pip", number)
            with self.findings.catching(self.document, *where):
                part = item if line is None else {"pip": [line]}
                conda_file.add_pip_lines(self.document, self.requirements, self.directory, index, part)
            self.note_position(*where)


def _name(requirement: str) -> str:
    match = _NAME.match(requirement)
    return match[0].lower().replace("_", "-") if match else requirement
