"""The text that bash runs: placeholders replaced so that every value arrives exactly as given."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from projrun.errors import ParameterError
from projrun.net import without_secrets
from projrun.plan import PlannedInput
from projrun.project.command.placeholders import MARK, Filling, Template, filled_plainly, split
from projrun.project.mlproject import EntryPoint, Parameter, nearest, quoted
from projrun.project.parameters import TYPES, download_name, is_true, kind_of, local_path, misfit, shown

if TYPE_CHECKING:
    from projrun.project.command.lexer import Scan


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    command: str
    """Text for `bash -c`."""
    parameters: dict[str, str]
    """Values as given: declared ones in their order with defaults resolved, then the others."""
    inputs: tuple[PlannedInput, ...] = ()
    urls: dict[str, str] = {}
    """The remote values of inputs, by parameter, as given: they may hold credentials."""
    warnings: tuple[str, ...] = ()


def render(
    entry_point: EntryPoint,
    user_values: Mapping[str, str],
    *,
    caller: Path,
    storage: Path = Path("/"),
) -> Rendered:
    """The command of `entry_point` with these values. Raises ParameterError, ProjectError.

    caller: the directory that relative values of type path start from.
    storage: the directory that remote ones will be downloaded to.
    """
    template = split(entry_point)
    values = _Values(entry_point, user_values, caller, storage)
    extras = {name: value for name, value in user_values.items() if name not in entry_point.parameters}
    values.check(extras)
    filled = _filled(entry_point, template, values.fillings, extras)
    return Rendered(
        command=_with_extras(filled.text, extras, entry_point.script.option if entry_point.script else "--"),
        parameters={**values.recorded, **extras},
        inputs=tuple(values.inputs),
        urls=values.urls,
        warnings=(
            *entry_point.warnings,
            *values.warnings,
            *_lost(entry_point, filled.lost, user_values),
            *(f"{entry_point.file}:{entry_point.line}: {text}" for text in template.warnings),
            *(_option_line(entry_point, line) for line in filled.option_lines),
            *_near_misses(entry_point, extras),
        ),
    )


class _Values:
    """Resolves every declared parameter, collecting what is wrong."""

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
            self._resolve(parameter, given.get(name), f"{entry_point.file}:")

    def _resolve(self, parameter: Parameter, given: str | None, place: str) -> None:
        name = parameter.name
        kind = kind_of(parameter)
        if not kind:
            near = nearest(parameter.type.lower(), TYPES)
            question = f"; did you mean '{near}'?" if near else ""
            self.warnings.append(
                f"{place} parameter '{name}' has the unknown type {shown(parameter.type)}, "
                f"which means string{question}"
            )
        value = parameter.default if given is None else given
        if value is None:
            self._absent(parameter)
            return
        self.recorded[name] = value
        if reason := self._misfit(parameter, kind, value):
            if given is not None or kind in ("path", "uri"):
                self.problems.append(f"parameter '{name}' ({parameter.type}): {reason}")
                return
            self.warnings.append(f"{place} the default of parameter '{name}' ({parameter.type}): {reason}")
        self.fillings[name] = self._filling(parameter, kind, value)

    def _absent(self, parameter: Parameter) -> None:
        if parameter.required and not parameter.flag:
            self.missing.append(parameter.name)
        else:
            self.fillings[parameter.name] = Filling(None, with_option=not parameter.flag)

    def _misfit(self, parameter: Parameter, kind: str, value: str) -> str:
        if "\0" in value:
            return "the value holds a NUL character, which no program can be given"
        if parameter.flag and kind != "bool":
            return "'flag' is for parameters of type bool"
        reason = misfit(parameter, value)
        if reason or kind != "path":
            return reason
        return self._path_misfit(parameter, value)

    def _path_misfit(self, parameter: Parameter, value: str) -> str:
        if not value:
            return "the path is empty"
        path = local_path(value, self.caller)
        if not path:
            return self._remote_misfit(parameter, value)
        return "" if parameter.output or os.path.exists(path) else f"{shown(value)} does not exist"

    def _remote_misfit(self, parameter: Parameter, value: str) -> str:
        if parameter.output:
            return f"{shown(without_secrets(value))} is remote, and what a run makes must be a local path"
        if value.lower().startswith("file:"):
            return f"{shown(value)} is a file of another machine"
        return ""

    def _filling(self, parameter: Parameter, kind: str, value: str) -> Filling:
        if parameter.flag:
            return Filling(parameter.flag if is_true(value) else None, with_option=False)
        return Filling(self._path(parameter, value) if kind == "path" else value)

    def _path(self, parameter: Parameter, value: str) -> str:
        """The path for the command. What the run reads there is one of its inputs."""
        local = local_path(value, self.caller)
        path = local or str(self.storage / f"param_{len(self.urls)}" / download_name(value))
        if not local:
            self.urls[parameter.name] = value
            self.recorded[parameter.name] = without_secrets(value)
        if not parameter.output:
            known = self.recorded[parameter.name]
            self.inputs.append(
                PlannedInput(parameter=parameter.name, value=known, path=path, remote=not local)
            )
        return path

    def check(self, extras: Mapping[str, str]) -> None:
        """Raise all that is wrong with the values, in one line."""
        if self.missing:
            names = ", ".join(f"'{name}'" for name in self.missing)
            self.problems.insert(
                0, f"no value for {'parameter' if len(self.missing) == 1 else 'parameters'} {names}"
            )
        for name, value in extras.items():
            if "\0" in name + value:
                self.problems.append(
                    f"parameter {shown(name)} holds a NUL character, which no program can be given"
                )
        if self.problems:
            hint = " ".join(f"-P {quoted(name)}=VALUE" for name in self.missing)
            raise ParameterError("; ".join(self.problems), f"add {hint}" if hint else "")


class _Filled(msgspec.Struct, frozen=True):
    text: str
    lost: Mapping[str, str] = {}
    """See `quoting.Filled`."""
    option_lines: Sequence[str] = ()


def _filled(
    entry_point: EntryPoint, template: Template, fillings: Mapping[str, Filling], extras: Mapping[str, str]
) -> _Filled:
    text = filled_plainly(template, fillings)
    if text is not None:
        return _Filled(text)
    from projrun.project.command.quotes import fill  # late: most commands are but words

    scan = scan_of(entry_point, template, extras)
    filled = fill(template, scan, fillings, entry_point)
    return _Filled(filled.text, filled.lost, scan.option_lines)


def scan_of(entry_point: EntryPoint, template: Template, extras: Mapping[str, str]) -> Scan:
    """Read the command as bash does. Raises ProjectError if a value has no safe place in it."""
    from projrun.project.command.bash import scan as scan_bash
    from projrun.project.command.lexer import LexError, Scan

    try:
        scan = scan_bash(template.text)
        if len(scan.spots) != len(template.names):
            raise LexError("a placeholder stands where no value can")
    except LexError as error:
        if not template.names and not extras:
            return Scan()  # bash will say what it thinks of it
        hint = "move that part to a script that takes the values as arguments"
        raise entry_point.error(
            f"no value can safely be put into this command: {error}", hint, rule="unsafe-command"
        ) from None
    if extras and scan.end:
        names = ", ".join(shown(name) for name in extras)
        raise entry_point.error(
            f"{names}, which no parameter declares, cannot follow a command that ends in {scan.end}",
            "declare it and put a placeholder into the command",
        )
    return scan


def _lost(entry_point: EntryPoint, lost: Mapping[str, str], given: Mapping[str, str]) -> list[str]:
    """Warnings of defaults that the command does not hold; a user's value must not be dropped."""
    for name in lost.keys() & given.keys():
        raise ParameterError(
            f"parameter '{name}' would be lost: it shares a word of the command with '{lost[name]}', "
            "which has no value",
            f"add -P {quoted(lost[name])}=VALUE, or leave '{name}' out",
        )
    return [
        f"{entry_point.file}:{entry_point.line}: the default of parameter '{name}' is not in the command: it "
        f"shares a word with '{other}', which has no value"
        for name, other in lost.items()
    ]


def _with_extras(command: str, extras: Mapping[str, str], option: str) -> str:
    if not extras:
        return command
    options = [f"{option}{quoted(name)} {quoted(value)}" for name, value in extras.items()]
    return " ".join([_open_ended(command), *options])


def _open_ended(command: str) -> str:
    """Without the line ends at the end, behind which an option would be a command of its own."""
    if not command.endswith(("\n", "\\")):
        return command
    stripped = command.rstrip("\n \t")
    backslashes = len(stripped) - len(stripped.rstrip("\\"))
    return stripped[:-1].rstrip(" \t") if backslashes % 2 else stripped


def _option_line(entry_point: EntryPoint, line: str) -> str:
    return (
        f"{entry_point.file}:{entry_point.line}: the command of '{entry_point.name}' breaks off before "
        f"{shown(line.replace(MARK, '{…}'))}: bash takes that line as a command of its own; "
        "end the line before it with a backslash"
    )


def _near_misses(entry_point: EntryPoint, extras: Mapping[str, str]) -> list[str]:
    if not entry_point.parameters:
        return []
    pairs = [(name, nearest(name, entry_point.parameters)) for name in extras]
    return [
        f"'{name}' is not a parameter of '{entry_point.name}' and is passed as --{name}; "
        f"did you mean '{near}'?"
        for name, near in pairs
        if near
    ]
