"""Read a command word by word as bash does, and quote each value for the position of its placeholder.

The reader knows bash's grammar as far as quoting depends on it, and nothing of values.
"""

from __future__ import annotations

import re
import shlex
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import ClassVar

from projrun.errors import ParameterError, ProjectError
from projrun.project.command.lexer import Context, HereDocument, Lexer, LexError, Scan, Spot, Word
from projrun.project.command.placeholders import MARK, Filled, Filling, Template
from projrun.project.mlproject import EntryPoint
from projrun.project.parameters import show_value

_PLAIN = re.compile(r"[^\s\\'\"`$#<>()|&;{}\0]+")
_RESERVED = {"then", "do", "else", "if", "elif", "while", "until", "!", "{", "}", "time", "fi", "done"}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=", re.ASCII)
_SUBSCRIPT = re.compile(r"(?:[A-Za-z_]\w*)?\[[^\]\s]*\Z", re.ASCII)
_DELIMITER = re.compile(r"<<(-?)[ \t]*((?:'[^'\n]*'|\"[^\"\n$`\\]*\"|\\[^\n]|[^\s;&|<>()'\"\\$`\0])+)")
_OPTION_LINE = re.compile(r"\n[ \t]*(--?[A-Za-z][^\n]*)")
_BLANK = re.compile(r"\s*\Z")
_COMPARED = re.compile(r"\s-(?:eq|ne|lt|le|gt|ge)\s")
_SPLIT_OPERATOR = re.compile(r"[$<>]\\\n|\(\\\n\(")


def scan_bash(text: str) -> Scan:
    """Return the position and context of every MARK in a command. Raises LexError."""
    result = Scan(spots=[], heres=[], option_lines=[], option_starts=[])
    if MARK in text and _SPLIT_OPERATOR.search(text):
        raise LexError("a line ends in the middle of an operator")
    lexer = Lexer(text, 0, len(text), result, _read)
    _read(lexer, "")
    if lexer.pending:
        result.end = "a here-document"
    result.spots.sort(key=lambda spot: spot.at)
    return result


def _read(lexer: Lexer, close: str) -> None:
    _Commands(lexer, close).read()


class _Commands:
    """Reads the commands up to `close` (a parenthesis, or '' for the end of the text), word by word."""

    def __init__(self, lexer: Lexer, close: str) -> None:
        self.lexer, self.close = lexer, close
        self.expecting = True  # the next word names a command
        self.case_depth = 0
        self.conditional = False  # between [[ and ]]
        self.start = -1  # of the word being read
        self.first_spot = 0
        self.previous: Word | None = None
        self.open_braces = 0

    def read(self) -> None:
        lexer = self.lexer
        while lexer.pos < lexer.end:
            char = lexer.peek()
            if char == ")":
                self.end_word()
                if self.closes():
                    return
            else:
                self.steps.get(char, _Commands.plain)(self)
        self.end_word()
        if self.close:
            raise LexError("a ( is not closed")

    def closes(self) -> bool:
        self.lexer.pos += 1
        self.expecting = True
        if self.case_depth:
            return False
        if not self.close:
            raise LexError("a ) has no (")
        if self.lexer.pending:
            raise LexError("a here-document begins in ( ) and does not end there")
        return True

    # words

    def begin_word(self) -> None:
        if self.start < 0:
            self.start = self.lexer.pos
            self.first_spot = len(self.lexer.result.spots)
            self.open_braces = 0

    def end_word(self) -> None:
        if self.start < 0:
            return
        word = Word(self.start, self.lexer.pos, self.neighbour())
        self.start = -1
        for spot in self.lexer.result.spots[self.first_spot :]:
            spot.word = spot.word or word
        self.previous = word
        self.note(self.lexer.text[word.start : word.end], word)

    def neighbour(self) -> Word | None:
        before = self.previous
        if before is None:
            return None
        between = self.lexer.text[before.end : self.start].replace("\\\n", " ")
        return Word(before.start, before.end) if between.strip(" \t") == "" else None

    def note(self, text: str, word: Word) -> None:
        if self.conditional:
            self.conditional = text != "]]"
            self.compare(word)
        elif self.expecting or text == "{":
            self.conditional = text == "[["
            self.case_depth += {"case": 1, "esac": -1 if self.case_depth else 0}.get(text, 0)
            self.expecting = text in _RESERVED or _ASSIGNMENT.match(text) is not None

    def compare(self, word: Word) -> None:
        # In [[ ]], bash evaluates both sides of -eq and its like as arithmetic, a value `a[$(id)]` too
        text = self.lexer.text
        around = text[max(word.start - 5, 0) : word.start], text[word.end : word.end + 5]
        if any(_COMPARED.search(part) for part in around):
            for spot in self.lexer.result.spots[self.first_spot :]:
                spot.context = Context.ARITHMETIC if spot.word is word else spot.context

    # characters

    def plain(self) -> None:
        self.begin_word()
        if not self.lexer.skip(_PLAIN):
            self.lexer.pos += 1

    def blank(self) -> None:
        self.end_word()
        self.lexer.pos += 1

    def newline(self) -> None:
        self.end_word()
        lexer = self.lexer
        option_line = _OPTION_LINE.match(lexer.text, lexer.pos, lexer.end)
        lexer.pos += 1
        self.operator_over()
        if lexer.pending:
            self.here_documents()
        elif option_line:
            lexer.result.option_lines.append(option_line[1].rstrip(" \\"))
            lexer.result.option_starts.append(option_line.start(1))

    def operator_over(self) -> None:
        self.previous = None
        self.expecting = True

    def operator_over_word(self) -> None:
        self.end_word()
        self.operator_over()

    def operator(self) -> None:
        self.operator_over_word()
        self.lexer.pos += 1

    def backslash(self) -> None:
        lexer = self.lexer
        if lexer.peek(1) == "\n":
            lexer.continuation()
            return
        self.begin_word()
        lexer.pos += 1
        if lexer.peek() == MARK:
            self.placeholder(escaped=True)
        else:
            lexer.pos += 1

    def placeholder(self, escaped: bool = False) -> None:
        self.begin_word()
        lexer = self.lexer
        subscript = lexer.text.startswith(("]=", "]+="), lexer.pos + 1) and _SUBSCRIPT.match(
            lexer.text, self.start, lexer.pos
        )
        spot = lexer.spot(Context.ARITHMETIC if subscript else Context.BARE, escaped)
        spot.in_braces = self.open_braces > 0
        spot.in_condition = self.conditional

    def quote(self) -> None:
        self.begin_word()
        if self.lexer.peek() == "'":
            self.lexer.single()
        else:
            self.lexer.double()

    def expand(self) -> None:
        self.begin_word()
        self.lexer.expansion(self.lexer.peek(), quoted=False)

    def brace(self) -> None:
        self.begin_word()
        self.open_braces += 1 if self.lexer.peek() == "{" else -1
        self.lexer.pos += 1

    def hash(self) -> None:
        if self.start >= 0:
            self.lexer.pos += 1
            return
        lexer = self.lexer
        line_end = lexer.text.find("\n", lexer.pos, lexer.end)
        lexer.spots_up_to(lexer.end if line_end < 0 else line_end, Context.COMMENT)
        self.note_end("a comment")

    def parenthesis(self) -> None:
        lexer = self.lexer
        if self.start < 0 and not self.conditional and lexer.at("(("):
            self.begin_word()
            lexer.arithmetic(2, "))")
            return
        function = self.start >= 0 and lexer.at("()")
        self.begin_word()
        lexer.pos += 1
        lexer.nested_command()
        if function:
            self.operator_over_word()

    def redirection(self) -> None:
        self.end_word()
        lexer = self.lexer
        self.previous = None
        if lexer.at("<<<"):
            lexer.pos += 3
        elif lexer.at("<<") and not self.conditional:
            self.here_document()
        else:
            lexer.pos += 2 if lexer.peek(1) and lexer.peek(1) in "<>&|" else 1

    # here-documents

    def here_document(self) -> None:
        lexer = self.lexer
        opening = _DELIMITER.match(lexer.text, lexer.pos, lexer.end)
        if opening is None or lexer.text[opening.end() : opening.end() + 1] in (MARK, "$", "`"):
            raise LexError("the delimiter of a here-document is not a plain word")
        lexer.pos = opening.end()
        word = opening[2]
        delimiter = re.sub(r"'([^']*)'|\"([^\"]*)\"|\\(.)", r"\1\2\3", word)
        lexer.pending.append(HereDocument(delimiter, delimiter != word, opening[1] == "-"))

    def here_documents(self) -> None:
        for here in self.lexer.pending:
            self.here_body(here)
        self.lexer.pending = []

    def here_body(self, here: HereDocument) -> None:
        lexer = self.lexer
        here.start = at = lexer.pos
        while at < lexer.end:
            line_end = lexer.text.find("\n", at, lexer.end)
            line_end = lexer.end if line_end < 0 else line_end
            if here.ends_at(lexer.text[at:line_end]):
                break
            at = line_end + 1
        here.end = min(at, lexer.end)
        self.here_spots(here)
        lexer.result.heres.append(here)
        lexer.pos = min(line_end, lexer.end) if at < lexer.end else lexer.end
        self.note_end("a here-document")

    def note_end(self, construct: str) -> None:
        if _BLANK.match(self.lexer.text, self.lexer.pos):
            self.lexer.result.end = construct

    def here_spots(self, here: HereDocument) -> None:
        inner = self.lexer.within(here.start, here.end)
        if here.raw:
            inner.spots_up_to(inner.end, Context.HERE_RAW)
        else:
            inner.expansions(Context.HERE, "")

    steps: ClassVar[dict[str, Callable[[_Commands], None]]] = {
        " ": blank,
        "\t": blank,
        "\n": newline,
        ";": operator,
        "&": operator,
        "|": operator,
        "\\": backslash,
        "'": quote,
        '"': quote,
        "$": expand,
        "`": expand,
        "#": hash,
        "(": parenthesis,
        "{": brace,
        "}": brace,
        "<": redirection,
        ">": redirection,
        MARK: placeholder,
    }


# values

_IN_DOUBLE = r"([\\\"$`])"
_IN_HERE = r"([\\$`])"
# bash 5.2 uses these characters to mark its own quoting, and doubles them in "…" in array=( … )
_BASH_INTERNAL = r"[\x01\x7f]+"
_WHOLE_NUMBER = r"[+-]?[0-9]+"
_REDIRECTION = re.compile(r"[0-9]*(?:&>>?|>>|>\||<>|>|<)[ \t]*\Z")


def fill_template(
    template: Template, scan: Scan, fillings: Mapping[str, Filling], entry_point: EntryPoint
) -> Filled:
    """Put the values into the command. Raises ParameterError, ProjectError."""
    if not template.names:
        return Filled(template.text, option_lines=scan.option_lines)
    filler = _Filler(template, scan, fillings, entry_point)
    return Filled(filler.make_text(), filler.lost, scan.option_lines)


Edit = tuple[int, int, str]  # start, end, and the text that replaces what lies between them


def _start(edit: Edit) -> int:
    return edit[0]


class _Filler:
    def __init__(
        self, template: Template, scan: Scan, fillings: Mapping[str, Filling], entry_point: EntryPoint
    ) -> None:
        self.text, self.scan, self.entry_point = template.text, scan, entry_point
        self.edits: list[Edit] = []
        removed: list[Edit] = []  # with the parameter instead of a text
        for name, spot in zip(template.names, scan.spots):
            filling = fillings[name]
            if spot.escaped and spot.context is Context.BARE:
                # The backslash would take away the meaning of the quote that the value begins with
                self.edits.append((spot.at - 1, spot.at, ""))
            if filling.value is not None:
                self.edits.append((spot.at, spot.at + 1, self._quoted(name, spot, filling.value)))
            else:
                start, end = self._fragment(spot, filling.with_option)
                self.edits.append((start, end, ""))
                removed.append((start, end, name))
        self.edits.sort(key=lambda edit: (edit[0], -edit[1]))
        self.lost = _find_lost(template, scan, fillings, removed)

    def make_text(self) -> str:
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
        """Return start and end of a placeholder's word, with the blanks and the option or `>` before it."""
        word = spot.word
        if word is None:
            return spot.at, spot.at + 1
        start, option = word.start, word.before
        if redirection := _REDIRECTION.search(self.text, max(0, start - 16), start):
            start = redirection.start()
        elif with_option and option and self.text[option.start] == "-" and self._is_alone(word):
            start = option.start
        while start and self.text[start - 1] in " \t" and self.text[start - 2 : start - 1] != "\\":
            start -= 1
        return start, word.end

    def _is_alone(self, word: Word) -> bool:
        return len(self.text[word.start : word.end].strip("'\"")) == 1

    def _check_here(self, here: HereDocument) -> None:
        body = self._between(here.start, here.end)
        if any(here.ends_at(line) for line in body.split("\n")):
            raise ParameterError(
                f"a value holds the line {show_value(here.delimiter)}, which would end its here-document",
                "give another value",
            )

    def _quoted(self, name: str, spot: Spot, value: str) -> str:
        if spot.extends_name and spot.context is Context.HERE:
            raise self._refused("a placeholder follows the name of a shell variable", "write ${NAME}")
        if spot.context is Context.ARITHMETIC and not re.fullmatch(_WHOLE_NUMBER, value):
            raise ParameterError(
                f"parameter '{name}': {show_value(value)} goes into arithmetic of the shell",
                "give a whole number",
            )
        text = self._quote_bare(spot, value) if spot.context is Context.BARE else _escape(spot, value)
        return re.sub(_IN_HERE, r"\\\1", text) if spot.backticked else text

    def _quote_bare(self, spot: Spot, value: str) -> str:
        quoted = shlex.quote(value)
        if quoted != value:
            return quoted
        following = self.text[spot.at + 1 : spot.at + 2]
        needed = (
            spot.extends_name
            or (value.isdigit() and following in ("<", ">"))  # 2>file redirects errors
            or (spot.in_braces and ("," in value or ".." in value))
            or (spot.in_condition and value.startswith(("-", "=")))
        )
        return f"'{value}'" if needed else value

    def _refused(self, message: str, hint: str) -> ProjectError:
        return self.entry_point.error(message, hint)


def _find_lost(
    template: Template, scan: Scan, fillings: Mapping[str, Filling], removed: list[Edit]
) -> dict[str, str]:
    """Return `Filled.lost`."""
    lost: dict[str, str] = {}
    present: set[str] = set()
    for name, spot in zip(template.names, scan.spots):
        if fillings[name].value is not None:
            absent = [other for start, end, other in removed if start <= spot.at < end]
            if absent:
                lost[name] = absent[0]
            else:
                present.add(name)
    return {name: other for name, other in lost.items() if name not in present}


def _escape(spot: Spot, value: str) -> str:
    if spot.context is Context.SINGLE:
        return value.replace("'", "'\\''")
    if spot.context is Context.DOUBLE:
        # "$NAME""value": the two quotes end the variable's name
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
    # A backslash that stood for itself must go on doing so
    return "\\" if spot.escaped else ""
