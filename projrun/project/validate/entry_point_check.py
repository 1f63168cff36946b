"""Findings about one entry point: its keys, its parameters, its command."""

from __future__ import annotations

import os
import re
from typing import Any

import msgspec

from projrun.documents import Document
from projrun.documents.scalar_text import Text
from projrun.errors import ProjectError
from projrun.project.command import scan_command
from projrun.project.command.lexer import Context, Scan
from projrun.project.command.placeholders import MARK, Mistake, Template, parse_template
from projrun.project.mlproject import EntryPoint, Parameter, entry_point_of, parameter_of, suggest_name
from projrun.project.parameters import TYPES, find_misfit, is_uri, kind_of, show_value
from projrun.project.shapes import EntryPointShape, ParameterShape
from projrun.project.validate.findings import Findings

_GLUED = re.compile(r"\w+:.*", re.DOTALL)


def check_entry_point(document: Document, name: str, body: object, found: Findings) -> None:
    where = ("entry_points", name)
    if isinstance(body, dict):
        found.unknown_keys(document, body, EntryPointShape.__struct_fields__, *where)
    parameters: dict[str, Parameter] = {}
    written = body.get("parameters") if isinstance(body, dict) else None
    for key, value in written.items() if isinstance(written, dict) else ():
        place = (*where, "parameters", str(key))
        if isinstance(key, bool) or key is None:
            message = f"YAML reads the name of parameter '{key}' as a constant"
            found.add("constant-name", message, "quote it", document.file, document.position(*place))
            continue
        with found.catching(document, *place):
            parameters[str(key)] = _ParameterCheck(document, place, found).check(key, value)
    alone = {**body, "parameters": None} if isinstance(written, dict) and isinstance(body, dict) else body
    with found.catching(document, *where):
        read = msgspec.structs.replace(entry_point_of(document, name, alone), parameters=parameters)
        undeclared = set(written or ()) - set(parameters)
        _CommandCheck(document, read, found, undeclared).check()


class _ParameterCheck:
    def __init__(self, document: Document, where: tuple[object, ...], found: Findings) -> None:
        self.document, self.where, self.found = document, where, found
        self.name = str(where[-1])

    def add(self, rule: str, message: str, fix: str, *below: object) -> None:
        place = self.document.position(*self.where, *below)
        self.found.add(rule, message, fix, self.document.file, place)

    def check(self, key: object, body: object) -> Parameter:
        self.keys(body)
        try:
            parameter = parameter_of(self.document, self.where, key, body, [])
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
        """Each key by itself, since more than one may be wrong; what fits is kept."""
        good: dict[Any, Any] = {}
        for part, value in body.items():
            with self.found.catching(self.document, *self.where, str(part)):
                parameter_of(self.document, self.where, key, {part: value}, [])
                good[part] = value
        return parameter_of(self.document, self.where, key, good, [])

    def keys(self, body: object) -> None:
        if not isinstance(body, dict):
            return
        glued = [part for part in body if isinstance(part, str) and _GLUED.fullmatch(part)]
        for part in glued:
            before, _, after = part.partition(":")
            message = f"parameter '{self.name}' has a key {show_value(part)}, which means nothing"
            fix = f"write {show_value(f'{before}: {after.strip()}')} with a blank"
            self.add("glued-key", message, fix, part)
        others = {part: value for part, value in body.items() if part not in glued}
        self.found.unknown_keys(self.document, others, ParameterShape.__struct_fields__, *self.where)

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
        beside = os.path.join(self.found.directory, value)
        if not value or ("\0" not in value and not os.path.exists(beside)):
            message = (
                f"the default of path parameter '{self.name}', {show_value(value)}, is not in the project"
            )
            fix = "add the file, remove the default, or say output: true if the run makes it"
            self.add("default-path", message, fix, "default")


class _CommandCheck:
    """undeclared: names of parameters that are declared in a way that cannot be read."""

    def __init__(
        self, document: Document, entry_point: EntryPoint, found: Findings, undeclared: set[Any]
    ) -> None:
        self.document, self.entry_point, self.found = document, entry_point, found
        self.unread = {str(name) for name in undeclared}
        self.path = ("entry_points", entry_point.name, "command")
        self.text: Text | None = None

    def add(self, rule: str, message: str, fix: str, offset: int = -1) -> None:
        """offset: in the command; -1: the command as a whole."""
        if self.found.is_full():
            return
        place = self.document.position(*self.path)
        if offset >= 0:
            self.text = self.text or self.document.text_at(*self.path)
            place = self.text.position(offset) if self.text else place
        self.found.add(rule, message, fix, self.document.file, place)

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
        """hints: of the mistakes that were told; what one of them names will be used when it is mended."""
        used = set(template.names)
        for name in self.entry_point.parameters:
            if (
                name not in used
                and f"{{{name}}}" not in hints
                and f"${{{name}}}" not in self.entry_point.command
            ):
                place = self.document.position(*self.path[:2], "parameters", name)
                message = f"parameter '{name}' does not occur in the command of '{self.entry_point.name}'"
                fix = f"put {{{name}}} into the command, or remove the parameter"
                self.found.add("unused-parameter", message, fix, self.document.file, place)

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
