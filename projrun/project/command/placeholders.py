"""Read the placeholders of a command: `{name}` as in mlflow; `{{` and `}}` escape, `${…}` is the shell's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from projrun.errors import ProjectError
from projrun.project.mlproject import SAFE, EntryPoint, quote_word, suggest_name

MARK = "\0"  # stands for a placeholder; no YAML file and no command can hold one otherwise
_PIECE = re.compile(r"\{\{|\}\}|\$\{(?!\{)|\{([^{}]*)\}|[{}]|[^{}$]+|\$")
_NAME_SHAPED = r"[^\W\d][\w-]*(?:\.[\w-]+)*"
_FORMAT = r"(.+?)\s*[!:\[]"

# The command is one argument of `bash -c`, and Linux takes none longer than 128 KiB (MAX_ARG_STRLEN)
MAX_COMMAND = 100_000
MAX_MISTAKES = 200


class Template(msgspec.Struct, frozen=True):
    text: str  # the command with MARK for each placeholder
    names: tuple[str, ...]  # the parameters of the marks, in order
    warnings: tuple[str, ...] = ()
    origins: tuple[tuple[int, int], ...] = ()  # for each piece, its offset in the text and in the command

    def origin(self, offset: int) -> int:
        """Return the offset in the command of the character at `offset` in the text."""
        from bisect import bisect_right

        in_text, in_command = self.origins[bisect_right(self.origins, (offset, len(self.text) * 2)) - 1]
        return in_command + offset - in_text


class Filling(msgspec.Struct, frozen=True):
    """The replacement of one placeholder."""

    value: str | None  # None leaves its word out
    with_option: bool = True  # a word that is left out takes the option before it along


class Filled(msgspec.Struct, frozen=True):
    """A command with the values in it."""

    text: str
    # Parameters whose value occurs nowhere, with the parameter without a value that shares their word
    lost: Mapping[str, str] = {}
    option_lines: Sequence[str] = ()  # see `lexer.Scan`


def fill_plain_words(template: Template, fillings: Mapping[str, Filling]) -> str | None:
    """Return the filled text if it is nothing but words and blanks on one line, else None."""
    # Most commands are no more than that, and need neither the lexer nor shlex; a test compares both ways
    if template.text.rstrip("\n").strip(f"{SAFE} {MARK}"):
        return None
    parts = template.text.split(MARK)
    values = [fillings[name].value for name in template.names]
    if None in values or len(parts) != len(values) + 1:
        return None
    return parts[0] + "".join(f"{quote_word(value or '')}{part}" for value, part in zip(values, parts[1:]))


class Mistake(msgspec.Struct, frozen=True):
    """A placeholder that is refused."""

    at: int  # the offset in the command
    error: ProjectError


def parse_template(entry_point: EntryPoint, mistakes: list[Mistake] | None = None) -> Template:
    """Split a command at its placeholders.

    Raises ProjectError for a placeholder that no parameter declares, unless `mistakes` collects them.
    """
    if len(entry_point.command) > MAX_COMMAND:
        hint = "move it to a script and call that"
        message = f"the command is longer than {MAX_COMMAND} characters"
        raise entry_point.error(message, hint, rule="too-large")
    if MARK in entry_point.command:
        raise entry_point.error("the command holds a NUL character", "remove it", rule="unsafe-command")
    return _TemplateParser(entry_point, mistakes).parse()


class _TemplateParser:
    def __init__(self, entry_point: EntryPoint, mistakes: list[Mistake] | None) -> None:
        self.entry_point, self.mistakes = entry_point, mistakes
        self.origins: list[tuple[int, int]] = []
        self.length = 0
        self.text: list[str] = []
        self.names: list[str] = []
        self.warnings: list[str] = []
        self.open = 0  # braces that are the shell's

    def parse(self) -> Template:
        command = self.entry_point.command
        at = 0
        while match := _PIECE.match(command, at):
            start, at = at, match.end()
            piece = match[0]
            if piece == "}}" and self.open:
                piece, at = "}", at - 1  # the first closes the shell's brace: ${a:-${b}}
            self.add_piece(piece, match[1], start)
        self.warn_of_shell_variables(command)
        return Template("".join(self.text), tuple(self.names), tuple(self.warnings), tuple(self.origins))

    def add_piece(self, piece: str, name: str | None, start: int) -> None:
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
        error = self.find_mistake(inner) if len(self.mistakes or ()) < MAX_MISTAKES else None
        if error is None:
            return
        if self.mistakes is None:
            raise error
        self.mistakes.append(Mistake(start, error))

    def find_mistake(self, inner: str) -> ProjectError | None:
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
        near = suggest_name(name, self.entry_point.parameters)
        question = f"did you mean '{{{near}}}'? " if near else ""
        return self.entry_point.error(
            f"the command has a placeholder '{{{name}}}' that no parameter declares",
            f"{question}declare '{name}' under parameters, or write {{{{{name}}}}} for braces",
            rule="undeclared-placeholder",
        )

    def warn_of_shell_variables(self, command: str) -> None:
        for name in self.entry_point.parameters:
            if f"${{{name}}}" in command and f"${{{{{name}}}" not in command:
                self.warnings.append(
                    f"'${{{name}}}' is a variable of the shell, not the parameter '{name}'; write {{{name}}}"
                )
