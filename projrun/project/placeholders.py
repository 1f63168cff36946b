"""Placeholders in a command: `{name}` as mlflow has them, `{{` and `}}`, and what is the shell's."""

from __future__ import annotations

import re

import msgspec

from projrun.project.mlproject import EntryPoint, nearest
from projrun.project.spots import MARK

_PIECE = re.compile(r"\{\{|\}\}|\$\{(?!\{)|\{([^{}]*)\}|[{}]|[^{}$]+|\$")
_NAME_SHAPED = re.compile(r"[^\W\d][\w-]*(?:\.[\w-]+)*")
_FORMAT = re.compile(r"(.+?)\s*[!:\[]")


class Template(msgspec.Struct, frozen=True):
    text: str
    """The command with MARK for each placeholder."""
    names: tuple[str, ...]
    """The parameters of the marks, in order."""
    warnings: tuple[str, ...] = ()


def split(entry_point: EntryPoint) -> Template:
    """Raises ProjectError for a placeholder that nothing declares."""
    if MARK in entry_point.command:
        raise entry_point.error("the command holds a NUL character", "remove it")
    return _Splitter(entry_point).split()


class _Splitter:
    def __init__(self, entry_point: EntryPoint) -> None:
        self.entry_point = entry_point
        self.text: list[str] = []
        self.names: list[str] = []
        self.warnings: list[str] = []
        self.open = 0  # braces that are the shell's

    def split(self) -> Template:
        command = self.entry_point.command
        at = 0
        while found := _PIECE.match(command, at):
            at = found.end()
            piece = found[0]
            if piece == "}}" and self.open:
                piece, at = "}", at - 1
            self.piece(piece, found[1])
        self.shell_variables(command)
        return Template("".join(self.text), tuple(self.names), tuple(self.warnings))

    def piece(self, piece: str, name: str | None) -> None:
        if name is not None and name in self.entry_point.parameters:
            self.names.append(name)
            piece = MARK
        elif name is not None:
            self.refuse_mistake(name)
        elif piece in ("{{", "}}"):
            piece = piece[0]
        elif piece in ("{", "${"):
            self.open += 1
        elif piece == "}":
            self.open = max(self.open - 1, 0)
        self.text.append(piece)

    def refuse_mistake(self, inner: str) -> None:
        declared = self.entry_point.parameters
        formatted = _FORMAT.match(inner)
        if inner.strip() in declared:
            raise self.entry_point.error(
                f"blanks stand in the placeholder '{{{inner}}}'",
                f"write {{{inner.strip()}}}, or {{{{{inner}}}}} for braces",
            )
        if formatted and formatted[1] in declared:
            raise self.entry_point.error(
                f"the placeholder '{{{inner}}}' asks for formatting, which is not done",
                f"write {{{formatted[1]}}}, or {{{{{inner}}}}} for braces",
            )
        if _NAME_SHAPED.fullmatch(inner):
            raise self.undeclared(inner)

    def undeclared(self, name: str) -> Exception:
        near = nearest(name, self.entry_point.parameters)
        question = f"did you mean '{{{near}}}'? " if near else ""
        return self.entry_point.error(
            f"the command has a placeholder '{{{name}}}' that no parameter declares",
            f"{question}declare '{name}' under parameters, or write {{{{{name}}}}} for braces",
        )

    def shell_variables(self, command: str) -> None:
        for name in self.entry_point.parameters:
            if f"${{{name}}}" in command and f"${{{{{name}}}" not in command:
                self.warnings.append(
                    f"'${{{name}}}' is a variable of the shell, not the parameter '{name}'; write {{{name}}}"
                )
