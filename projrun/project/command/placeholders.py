"""Placeholders in a command: `{name}` as mlflow has them, `{{` and `}}`, and what is the shell's."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from projrun.errors import ProjectError
from projrun.project.mlproject import SAFE, EntryPoint, nearest, quoted

MARK = "\0"
"""Stands for a placeholder; no YAML file and no command can hold one otherwise."""
_PIECE = re.compile(r"\{\{|\}\}|\$\{(?!\{)|\{([^{}]*)\}|[{}]|[^{}$]+|\$")
_NAME_SHAPED = r"[^\W\d][\w-]*(?:\.[\w-]+)*"
_FORMAT = r"(.+?)\s*[!:\[]"

MAX_COMMAND = 100_000
"""Linux takes no argument longer than 128 KiB, which is what the command is to `bash -c`."""
MAX_MISTAKES = 200


class Template(msgspec.Struct, frozen=True):
    text: str
    """The command with MARK for each placeholder."""
    names: tuple[str, ...]
    """The parameters of the marks, in order."""
    warnings: tuple[str, ...] = ()
    origins: tuple[tuple[int, int], ...] = ()
    """Where each piece begins: in the text, in the command."""

    def origin(self, offset: int) -> int:
        """The offset in the command of what stands at `offset` in the text."""
        from bisect import bisect_right

        in_text, in_command = self.origins[bisect_right(self.origins, (offset, len(self.text) * 2)) - 1]
        return in_command + offset - in_text


class Filling(msgspec.Struct, frozen=True):
    """The replacement of one placeholder."""

    value: str | None
    """None: its word is left out."""
    with_option: bool = True
    """The option before the word goes with it."""


def filled_plainly(template: Template, fillings: Mapping[str, Filling]) -> str | None:
    """The text, where it is nothing but words and blanks on one line; None: it must be read as bash does."""
    if template.text.rstrip("\n").strip(f"{SAFE} {MARK}"):
        return None
    parts = template.text.split(MARK)
    values = [fillings[name].value for name in template.names]
    if None in values or len(parts) != len(values) + 1:
        return None
    return parts[0] + "".join(f"{quoted(value or '')}{part}" for value, part in zip(values, parts[1:]))


class Mistake(msgspec.Struct, frozen=True):
    """A placeholder that is refused."""

    at: int
    """Its offset in the command."""
    error: ProjectError


def split(entry_point: EntryPoint, mistakes: list[Mistake] | None = None) -> Template:
    """Raises ProjectError for a placeholder that nothing declares, unless `mistakes` collects them."""
    if len(entry_point.command) > MAX_COMMAND:
        hint = "move it to a script and call that"
        message = f"the command is longer than {MAX_COMMAND} characters"
        raise entry_point.error(message, hint, rule="too-large")
    if MARK in entry_point.command:
        raise entry_point.error("the command holds a NUL character", "remove it", rule="unsafe-command")
    return _Splitter(entry_point, mistakes).split()


class _Splitter:
    def __init__(self, entry_point: EntryPoint, mistakes: list[Mistake] | None) -> None:
        self.entry_point, self.mistakes = entry_point, mistakes
        self.origins: list[tuple[int, int]] = []
        self.length = 0
        self.text: list[str] = []
        self.names: list[str] = []
        self.warnings: list[str] = []
        self.open = 0  # braces that are the shell's

    def split(self) -> Template:
        command = self.entry_point.command
        at = 0
        while found := _PIECE.match(command, at):
            start, at = at, found.end()
            piece = found[0]
            if piece == "}}" and self.open:
                piece, at = "}", at - 1
            self.piece(piece, found[1], start)
        self.shell_variables(command)
        return Template("".join(self.text), tuple(self.names), tuple(self.warnings), tuple(self.origins))

    def piece(self, piece: str, name: str | None, start: int) -> None:
        if name is not None and name in self.entry_point.parameters:
            self.names.append(name)
            piece = MARK
        elif name is not None:
            self.refuse(name, start)
        elif piece in ("{{", "}}"):
            piece = piece[0]
        elif piece in ("{", "${"):
            self.open += 1
        elif piece == "}":
            self.open = max(self.open - 1, 0)
        self.origins.append((self.length, start))
        self.length += len(piece)
        self.text.append(piece)

    def refuse(self, inner: str, start: int) -> None:
        error = self.mistake(inner) if len(self.mistakes or ()) < MAX_MISTAKES else None
        if error is None:
            return
        if self.mistakes is None:
            raise error
        self.mistakes.append(Mistake(start, error))

    def mistake(self, inner: str) -> ProjectError | None:
        declared = self.entry_point.parameters
        formatted = re.match(_FORMAT, inner)
        if inner.strip() in declared:
            return self.entry_point.error(
                f"blanks stand in the placeholder '{{{inner}}}'",
                f"write {{{inner.strip()}}}, or {{{{{inner}}}}} for braces",
                rule="formatted-placeholder",
            )
        if formatted and formatted[1] in declared:
            return self.entry_point.error(
                f"the placeholder '{{{inner}}}' asks for formatting, which is not done",
                f"write {{{formatted[1]}}}, or {{{{{inner}}}}} for braces",
                rule="formatted-placeholder",
            )
        return self.undeclared(inner) if re.fullmatch(_NAME_SHAPED, inner) else None

    def undeclared(self, name: str) -> ProjectError:
        near = nearest(name, self.entry_point.parameters)
        question = f"did you mean '{{{near}}}'? " if near else ""
        return self.entry_point.error(
            f"the command has a placeholder '{{{name}}}' that no parameter declares",
            f"{question}declare '{name}' under parameters, or write {{{{{name}}}}} for braces",
            rule="undeclared-placeholder",
        )

    def shell_variables(self, command: str) -> None:
        for name in self.entry_point.parameters:
            if f"${{{name}}}" in command and f"${{{{{name}}}" not in command:
                self.warnings.append(
                    f"'${{{name}}}' is a variable of the shell, not the parameter '{name}'; write {{{name}}}"
                )
