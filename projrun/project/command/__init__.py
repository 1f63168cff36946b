"""Make the command that bash runs: replace placeholders so that every value arrives exactly as given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from projrun.errors import ParameterError
from projrun.net import without_secrets
from projrun.plan import PlannedInput
from projrun.project.command.placeholders import (
    MARK,
    Filled,
    Filling,
    Template,
    fill_plain_words,
    parse_template,
)
from projrun.project.mlproject import EntryPoint, Parameter, quote_word, suggest_name
from projrun.project.parameters import (
    TYPES,
    download_name,
    find_misfit,
    is_true,
    kind_of,
    local_path,
    show_value,
)

if TYPE_CHECKING:
    from projrun.project.command.lexer import Scan


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    command: str  # text for `bash -c`
    # Values as given, without credentials: the declared parameters in their order, then the others
    parameters: dict[str, str]
    inputs: tuple[PlannedInput, ...] = ()
    urls: dict[str, str] = {}  # the URLs of remote inputs by parameter, with their credentials
    warnings: tuple[str, ...] = ()


def render_command(
    entry_point: EntryPoint,
    user_values: Mapping[str, str],
    *,
    caller: Path,
    storage: Path = Path("/"),
) -> Rendered:
    """Return the command of `entry_point` with these values. Raises ParameterError, ProjectError.

    caller: the directory that relative values of type path start from.
    storage: the directory that remote inputs will be downloaded to.
    """
    template = parse_template(entry_point)
    option = entry_point.script.option if entry_point.script else "--"
    values = _Values(entry_point, user_values, caller, storage)
    extras = {name: value for name, value in user_values.items() if name not in entry_point.parameters}
    values.check(extras)
    filled = _fill(entry_point, template, values.fillings, extras)
    return Rendered(
        command=_append_extras(filled.text, extras, option),
        parameters={**values.recorded, **extras},
        inputs=tuple(values.inputs),
        urls=values.urls,
        warnings=(
            *entry_point.warnings,
            *values.warnings,
            *_check_lost(entry_point, filled.lost, user_values),
            *(f"{entry_point.file}:{entry_point.line}: {text}" for text in template.warnings),
            *(_describe_option_line(entry_point, line) for line in filled.option_lines),
            *_find_misspellings(entry_point, extras),
        ),
    )


class _Values:
    """Resolve every declared parameter, and collect what is wrong."""

    def __init__(
        self, entry_point: EntryPoint, given: Mapping[str, str], caller: Path, storage: Path
    ) -> None:
        self.caller, self.storage = caller, storage
        self.inputs: list[PlannedInput] = []
        self.urls: dict[str, str] = {}
        self.fillings: dict[str, Filling] = {}
        self.recorded: dict[str, str] = {}
        self.warnings: list[str] = []
        self.problems: list[str] = []
        self.missing: list[str] = []
        for name, parameter in entry_point.parameters.items():
            self._resolve(parameter, given.get(name), entry_point.file)

    def _resolve(self, parameter: Parameter, given: str | None, file: str) -> None:
        name = parameter.name
        kind = kind_of(parameter)
        if not kind:
            near = suggest_name(parameter.type.lower(), TYPES)
            question = f"; did you mean '{near}'?" if near else ""
            self.warnings.append(
                f"{file}: parameter '{name}' has the unknown type {show_value(parameter.type)}, "
                f"which means string{question}"
            )
        value = parameter.default if given is None else given
        if value is None and parameter.required and not parameter.flag:
            self.missing.append(name)
            return
        if value is None:
            self.fillings[name] = Filling(None, with_option=not parameter.flag)
            return
        self.recorded[name] = value
        if reason := self._misfit(parameter, kind, value):
            if given is not None or kind in ("path", "uri"):
                self.problems.append(f"parameter '{name}' ({parameter.type}): {reason}")
                return
            self.warnings.append(f"{file}: the default of parameter '{name}' ({parameter.type}): {reason}")
        self.fillings[name] = self._filling(parameter, kind, value)

    def _misfit(self, parameter: Parameter, kind: str, value: str) -> str:
        if "\0" in value:
            return "the value holds a NUL character, which no program can be given"
        if parameter.flag and kind != "bool":
            return "'flag' is for parameters of type bool"
        reason = find_misfit(parameter, value)
        if reason or kind != "path":
            return reason
        return self._path_misfit(parameter, value)

    def _path_misfit(self, parameter: Parameter, value: str) -> str:
        if not value:
            return "the path is empty"
        path = local_path(value, self.caller)
        if not path:
            return self._remote_misfit(parameter, value)
        return "" if parameter.output or os.path.exists(path) else f"{show_value(value)} does not exist"

    def _remote_misfit(self, parameter: Parameter, value: str) -> str:
        if parameter.output:
            return (
                f"{show_value(without_secrets(value))} is remote, and what a run makes must be a local path"
            )
        if value.lower().startswith("file:"):
            return f"{show_value(value)} is a file of another machine"
        return ""

    def _filling(self, parameter: Parameter, kind: str, value: str) -> Filling:
        if parameter.flag:
            return Filling(parameter.flag if is_true(value) else None, with_option=False)
        return Filling(self._path(parameter, value) if kind == "path" else value)

    def _path(self, parameter: Parameter, value: str) -> str:
        """Return the path for the command, and note it as an input unless the run makes it."""
        local = local_path(value, self.caller)
        path = local or str(self.storage / f"param_{len(self.urls)}" / download_name(value))
        if not local:
            self.urls[parameter.name] = value
            self.recorded[parameter.name] = without_secrets(value)
        if not parameter.output:
            recorded = self.recorded[parameter.name]
            self.inputs.append(
                PlannedInput(parameter=parameter.name, value=recorded, path=path, remote=not local)
            )
        return path

    def check(self, extras: Mapping[str, str]) -> None:
        """Raise one ParameterError that names every problem."""
        if self.missing:
            names = ", ".join(f"'{name}'" for name in self.missing)
            self.problems.insert(0, f"no value for parameter{'s' * (len(self.missing) > 1)} {names}")
        for name, value in extras.items():
            if "\0" in name + value:
                self.problems.append(
                    f"parameter {show_value(name)} holds a NUL character, which no program can be given"
                )
        if self.problems:
            hint = " ".join(f"-P {quote_word(name)}=VALUE" for name in self.missing)
            raise ParameterError("; ".join(self.problems), f"add {hint}" if hint else "")


def _fill(
    entry_point: EntryPoint, template: Template, fillings: Mapping[str, Filling], extras: Mapping[str, str]
) -> Filled:
    text = fill_plain_words(template, fillings)
    if text is not None:
        return Filled(text)
    from projrun.project.command.bash import fill_template

    return fill_template(template, scan_command(entry_point, template, extras), fillings, entry_point)


def scan_command(entry_point: EntryPoint, template: Template, extras: Mapping[str, str]) -> Scan:
    """Read the command as bash does. Raises ProjectError if a value cannot safely be put into it."""
    from projrun.project.command.bash import scan_bash
    from projrun.project.command.lexer import LexError, Scan

    try:
        scan = scan_bash(template.text)
        if len(scan.spots) != len(template.names):
            raise LexError("a placeholder stands where no value can")
    except LexError as error:
        if not template.names and not extras:
            return Scan()  # bash itself reports what is wrong with it
        hint = "move that part to a script that takes the values as arguments"
        raise entry_point.error(
            f"no value can safely be put into this command: {error}", hint, rule="unsafe-command"
        ) from None
    if extras and scan.end:
        names = ", ".join(show_value(name) for name in extras)
        raise entry_point.error(
            f"{names}, which no parameter declares, cannot follow a command that ends in {scan.end}",
            "declare it and put a placeholder into the command",
        )
    return scan


def _check_lost(entry_point: EntryPoint, lost: Mapping[str, str], given: Mapping[str, str]) -> list[str]:
    """Return warnings of lost defaults. Raises ParameterError for a lost value of the user."""
    for name in lost.keys() & given.keys():
        raise ParameterError(
            f"parameter '{name}' would be lost: it shares a word of the command with '{lost[name]}', "
            "which has no value",
            f"add -P {quote_word(lost[name])}=VALUE, or leave '{name}' out",
        )
    return [
        f"{entry_point.file}:{entry_point.line}: the default of parameter '{name}' is not in the command: it "
        f"shares a word with '{other}', which has no value"
        for name, other in lost.items()
    ]


def _append_extras(command: str, extras: Mapping[str, str], option: str) -> str:
    if not extras:
        return command
    options = [f"{option}{quote_word(name)} {quote_word(value)}" for name, value in extras.items()]
    return " ".join([_strip_line_ends(command), *options])


def _strip_line_ends(command: str) -> str:
    # After a line end, bash would take the first option as a command of its own
    if not command.endswith(("\n", "\\")):
        return command
    stripped = command.rstrip("\n \t")
    backslashes = len(stripped) - len(stripped.rstrip("\\"))
    return stripped[:-1].rstrip(" \t") if backslashes % 2 else stripped


def _describe_option_line(entry_point: EntryPoint, line: str) -> str:
    return (
        f"{entry_point.file}:{entry_point.line}: the command of '{entry_point.name}' breaks off before "
        f"{show_value(line.replace(MARK, '{…}'))}: bash takes that line as a command of its own; "
        "end the line before it with a backslash"
    )


def _find_misspellings(entry_point: EntryPoint, extras: Mapping[str, str]) -> list[str]:
    if not entry_point.parameters:
        return []
    pairs = [(name, suggest_name(name, entry_point.parameters)) for name in extras]
    return [
        f"'{name}' is not a parameter of '{entry_point.name}' and is passed as --{name}; "
        f"did you mean '{near}'?"
        for name, near in pairs
        if near
    ]
