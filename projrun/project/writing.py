"""An MLproject file as text, laid out as a person would write it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

import msgspec

from projrun.project.arguments import Argument
from projrun.project.mlproject import Parameter
from projrun.project.parameters import misfit

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
    if any(misfit(declared, value) for value in values):  # the program does not check its own default
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
