"""Putting values into a command: each quoted for the place where it stands."""

from __future__ import annotations

import re
import shlex
from bisect import bisect_left
from collections.abc import Mapping

import msgspec

from projrun.errors import ParameterError, ProjectError
from projrun.project.command.lexer import Context, HereDocument, Scan, Spot, Word
from projrun.project.command.placeholders import Filling, Template
from projrun.project.mlproject import EntryPoint
from projrun.project.parameters import shown

_IN_DOUBLE = r"([\\\"$`])"
_IN_HERE = r"([\\$`])"
_BASH_INTERNAL = r"[\x01\x7f]+"  # bash 5.2 doubles them in "…" in array=( … )
_WHOLE_NUMBER = r"[+-]?[0-9]+"
_REDIRECTION = re.compile(r"[0-9]*(?:&>>?|>>|>\||<>|>|<)[ \t]*\Z")


class Filled(msgspec.Struct, frozen=True):
    text: str
    lost: dict[str, str] = {}
    """Parameters whose value stands nowhere, because all their words went with another's, which is named."""


def fill(template: Template, scan: Scan, fillings: Mapping[str, Filling], entry_point: EntryPoint) -> Filled:
    if not template.names:
        return Filled(template.text)
    filler = _Filler(template, scan, fillings, entry_point)
    return Filled(filler.filled(), filler.lost)


Edit = tuple[int, int, str]
"""Start, end, and the text that takes the place of what is between."""


def _start(edit: Edit) -> int:
    return edit[0]


class _Filler:
    def __init__(
        self, template: Template, scan: Scan, fillings: Mapping[str, Filling], entry_point: EntryPoint
    ) -> None:
        self.text, self.scan, self.entry_point = template.text, scan, entry_point
        self.edits: list[Edit] = []
        gone_for: list[tuple[int, int, str]] = []
        for name, spot in zip(template.names, scan.spots):
            filling = fillings[name]
            if spot.escaped and spot.context is Context.BARE:
                self.edits.append((spot.at - 1, spot.at, ""))  # it would take away the meaning of a quote
            if filling.value is not None:
                self.edits.append((spot.at, spot.at + 1, self._quoted(name, spot, filling.value)))
            else:
                gone = self._fragment(spot, filling.with_option) if spot.word else (spot.at, spot.at + 1)
                self.edits.append((*gone, ""))
                gone_for.append((*gone, name))
        self.edits.sort(key=lambda edit: (edit[0], -edit[1]))
        self.lost = _lost(template, scan, fillings, gone_for)

    def filled(self) -> str:
        for here in self.scan.heres:
            self._check_here(here)
        return self._between(0, len(self.text))

    def _between(self, start: int, end: int) -> str:
        parts: list[str] = []
        at = start
        for index in range(bisect_left(self.edits, start, key=_start), len(self.edits)):
            edit_start, edit_end, text = self.edits[index]
            if edit_start >= end:
                break
            if edit_start >= at:
                parts += self.text[at:edit_start], text
            at = max(at, edit_end)
        return "".join([*parts, self.text[at:end]])

    def _fragment(self, spot: Spot, with_option: bool) -> tuple[int, int]:
        """The word of a placeholder without a value, with what leads up to it."""
        word = spot.word
        assert word is not None
        start = word.start
        if redirection := _REDIRECTION.search(self.text, max(0, start - 16), start):
            start = redirection.start()
        elif with_option and self._is_option(word.before) and self._alone(word):
            assert word.before is not None
            start = word.before.start
        while start and self.text[start - 1] in " \t" and self.text[start - 2 : start - 1] != "\\":
            start -= 1
        return start, word.end

    def _is_option(self, word: Word | None) -> bool:
        return word is not None and self.text[word.start] == "-"

    def _alone(self, word: Word) -> bool:
        return len(self.text[word.start : word.end].strip("'\"")) == 1

    def _check_here(self, here: HereDocument) -> None:
        body = self._between(here.start, here.end)
        if any(here.ends_at(line) for line in body.split("\n")):
            raise ParameterError(
                f"a value holds the line {shown(here.delimiter)}, which ends the here-document it goes into",
                "give another value",
            )

    def _quoted(self, name: str, spot: Spot, value: str) -> str:
        if spot.extends_name and spot.context is Context.HERE:
            raise self._refused("a placeholder follows the name of a shell variable", "write ${NAME}")
        if spot.context is Context.ARITHMETIC and not re.fullmatch(_WHOLE_NUMBER, value):
            raise ParameterError(
                f"parameter '{name}': {shown(value)} goes into arithmetic of the shell", "give a whole number"
            )
        text = self._bare(spot, value) if spot.context is Context.BARE else _in_quotes(spot, value)
        return re.sub(_IN_HERE, r"\\\1", text) if spot.backticked else text

    def _bare(self, spot: Spot, value: str) -> str:
        quoted = shlex.quote(value)
        if quoted != value:
            return quoted
        following = self.text[spot.at + 1 : spot.at + 2]
        needed = (
            spot.extends_name
            or (value.isdigit() and following in ("<", ">"))  # 2>file
            or (spot.in_braces and ("," in value or ".." in value))
            or (spot.in_condition and value.startswith(("-", "=")))
        )
        return f"'{value}'" if needed else value

    def _refused(self, message: str, hint: str) -> ProjectError:
        return self.entry_point.error(message, hint)


def _lost(
    template: Template, scan: Scan, fillings: Mapping[str, Filling], gone_for: list[tuple[int, int, str]]
) -> dict[str, str]:
    """See Filled. gone_for: start and end of what is left out, and the parameter without a value."""
    lost: dict[str, str] = {}
    kept: set[str] = set()
    for name, spot in zip(template.names, scan.spots):
        if fillings[name].value is not None:
            absent = [other for start, end, other in gone_for if start <= spot.at < end]
            if absent:
                lost[name] = absent[0]
            else:
                kept.add(name)
    return {name: other for name, other in lost.items() if name not in kept}


def _in_quotes(spot: Spot, value: str) -> str:
    if spot.context is Context.SINGLE:
        return value.replace("'", "'\\''")
    if spot.context is Context.DOUBLE:
        # "$NAME""value": an empty string ends the name
        start = ('""' if spot.extends_name else "") + _behind_backslash(spot)
        return start + re.sub(_BASH_INTERNAL, "\"'\\g<0>'\"", re.sub(_IN_DOUBLE, r"\\\1", value))
    if spot.context is Context.HERE:
        return _behind_backslash(spot) + re.sub(_IN_HERE, r"\\\1", value)
    if spot.context is Context.ANSI:
        return value.replace("\\", "\\\\").replace("'", "\\'")
    if spot.context is Context.COMMENT:
        return shlex.quote(value).replace("\n", " ")
    return value


def _behind_backslash(spot: Spot) -> str:
    """A backslash that stood for itself must go on doing so."""
    return "\\" if spot.escaped else ""
