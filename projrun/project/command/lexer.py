"""Read bash's quotes and expansions: `'…'`, `"…"`, `$'…'`, `$( … )`, `${…}`, `(( … ))` and backticks."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum

import msgspec

from projrun.project.command.placeholders import MARK


class Context(Enum):
    """The kind of text around a placeholder, which decides how its value is quoted."""

    BARE = "outside quotes"
    SINGLE = "in '…'"
    DOUBLE = 'in "…"'
    ANSI = "in $'…'"
    ARITHMETIC = "in arithmetic"
    COMMENT = "in a comment"
    HERE = "in a here-document"
    HERE_RAW = "in a here-document whose delimiter is quoted"


class Word(msgspec.Struct):
    """A word of a command, with the word before it if only blanks stand between the two."""

    start: int
    end: int
    before: Word | None = None


class Spot(msgspec.Struct):
    """The position and quoting context of one placeholder."""

    at: int
    context: Context
    word: Word | None = None
    backticked: bool = False
    escaped: bool = False  # a backslash stands before it, which would quote the first character of the value
    extends_name: bool = False  # `$NAME` stands before it: a letter would become part of the name
    in_condition: bool = False  # it stands in [[ ]]: `-n` would be an operator
    in_braces: bool = False  # an open `{` stands in the word: a comma would make two words


class HereDocument(msgspec.Struct):
    delimiter: str
    raw: bool  # the delimiter is quoted: nothing in the text means anything to bash
    tabs: bool  # `<<-`: leading tabs do not count
    start: int = 0
    end: int = 0

    def ends_at(self, line: str) -> bool:
        return (line.lstrip("\t") if self.tabs else line) == self.delimiter


class Scan(msgspec.Struct):
    spots: list[Spot] = []
    heres: list[HereDocument] = []
    option_lines: list[str] = []  # lines that start a command of their own but begin with an option
    option_starts: list[int] = []  # offsets of these lines in the text
    # A comment or a here-document, if the text ends in one: words cannot be appended to it
    end: str = ""


class LexError(Exception):
    """The text cannot be read; the message says why."""


# Each level takes several of Python's 1000 frames; commands that people write are two or three deep
MAX_DEPTH = 30

_IN_DOUBLE = re.compile(r"[^\\\"`$\0]+")
_IN_ANSI = re.compile(r"[^\\'\0]+")
_IN_ARITHMETIC = re.compile(r"[^\\'\"`$()\[\]\0]+")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ANSI_CODE = re.compile(rf"(?:[0-7]{{1,3}}|[xuUc][0-9A-Fa-f]*|){MARK}")


class Lexer:
    """Reads text[start:end]. `depth` counts what it is nested in."""

    def __init__(
        self, text: str, start: int, end: int, result: Scan, read_commands: Callable[[Lexer, str], None]
    ) -> None:
        self.text, self.pos, self.end, self.result = text, start, end, result
        self.read_commands = read_commands
        self.depth = 0
        self.backticked = False
        self.pending: list[HereDocument] = []
        self.name_end = -1  # where the last $NAME ended

    def within(self, start: int, end: int) -> Lexer:
        """Return a lexer for a part that is nested in this one."""
        inner = Lexer(self.text, start, end, self.result, self.read_commands)
        inner.depth, inner.backticked = self.deeper(), self.backticked
        return inner

    # pieces

    def peek(self, ahead: int = 0) -> str:
        at = self.pos + ahead
        return self.text[at] if at < self.end else ""

    def at(self, prefix: str) -> bool:
        return self.text.startswith(prefix, self.pos, self.end)

    def skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.pos, self.end)
        if match is None:
            return ""
        self.pos = match.end()
        return match[0]

    def spot(self, context: Context, escaped: bool = False) -> Spot:
        spot = Spot(self.pos, context, None, self.backticked, escaped, self.name_end == self.pos)
        self.result.spots.append(spot)
        self.pos += 1
        return spot

    def spots_up_to(self, stop: int, context: Context) -> None:
        """Note every placeholder before `stop`, where nothing else means anything to bash."""
        while (mark := self.text.find(MARK, self.pos, stop)) >= 0:
            self.pos = mark
            self.spot(context)
        self.pos = stop

    def deeper(self) -> int:
        if self.depth >= MAX_DEPTH:
            raise LexError("it is nested too deeply")
        return self.depth + 1

    # quotes

    def single(self) -> None:
        self.pos += 1
        close = self.text.find("'", self.pos, self.end)
        if close < 0:
            raise LexError("a ' is not closed")
        self.spots_up_to(close, Context.SINGLE)
        self.pos += 1

    def double(self) -> None:
        self.pos += 1
        self.expansions(Context.DOUBLE, '"')

    def expansions(self, context: Context, close: str) -> None:
        """Read text in which only backslash, $ and ` mean something, up to `close`."""
        while self.pos < self.end:
            self.skip(_IN_DOUBLE)
            char = self.peek()
            if char == "\\":
                self.backslash(context)
            elif char == MARK:
                self.spot(context)
            elif char and char == close:
                self.pos += 1
                return
            else:
                self.expansion(char, quoted=True)
        if close:
            raise LexError(f"a {close} is not closed")

    def backslash(self, context: Context) -> None:
        if self.peek(1) == "\n":
            self.continuation()
            return
        self.pos += 1
        if self.peek() == MARK:
            self.spot(context, escaped=True)
        else:
            self.pos += 1

    def continuation(self) -> None:
        self.pos += 2
        if self.name_end == self.pos - 2:
            self.name_end = self.pos

    def expansion(self, char: str, quoted: bool) -> None:
        if char == "$":
            self.dollar(quoted)
        elif char == "`":
            self.backticks(quoted)
        else:
            self.pos += 1

    def ansi(self) -> None:
        self.pos += 2
        while self.pos < self.end:
            self.skip(_IN_ANSI)
            char = self.peek()
            if char == "'":
                self.pos += 1
                return
            if char == MARK:
                self.spot(Context.ANSI)
            else:
                self.pos += 1
                if _ANSI_CODE.match(self.text, self.pos, self.end):
                    raise LexError("a placeholder follows a backslash in $'…'")
                self.pos += 1
        raise LexError("a $' is not closed")

    def dollar(self, quoted: bool) -> None:
        if self.at("$(("):
            self.arithmetic(3, "))")
        elif self.at("$("):
            self.pos += 2
            self.nested_command()
        elif self.at("${"):
            self.braces(quoted)
        elif self.at("$["):
            self.arithmetic(2, "]")
        elif self.at("$'") and not quoted:
            self.ansi()
        else:
            self.variable()

    def variable(self) -> None:
        self.pos += 1
        if self.skip(_NAME):
            self.name_end = self.pos
        elif self.peek() and self.peek() in "$@*#?!-0123456789":
            self.pos += 1

    def nested_command(self) -> None:
        """Read the commands up to the closing parenthesis; the opening one is already read."""
        inner = self.within(self.pos, self.end)
        self.read_commands(inner, ")")
        self.pos = inner.pos

    def backticks(self, quoted: bool) -> None:
        start = self.pos + 1
        close = start
        while close < self.end and self.text[close] != "`":
            close += 2 if self.text[close] == "\\" else 1
        if close >= self.end:
            raise LexError("a ` is not closed")
        body = self.text[start:close]
        if MARK in body:
            if self.backticked or "\\" in body or (quoted and '"' in body):
                raise LexError("a placeholder stands in `…` together with quotes or backslashes")
            inner = self.within(start, close)
            inner.backticked = True
            self.read_commands(inner, "")
        self.pos = close + 1

    def braces(self, quoted: bool) -> None:
        """Skip `${…}`; refuse a placeholder in it."""
        # It may stand in a pattern (${x#…}) or in arithmetic (${x:…}), which have quoting of their own
        self.pos += 2
        count = len(self.result.spots)
        depth = self.deeper()
        while self.peek() != "}":
            char = self.peek()
            if not char:
                raise LexError("a ${ is not closed")
            if char == MARK or (char == "'" and quoted and MARK in self.text):
                raise LexError("a placeholder or a quote stands in ${…}")
            self.depth, outer = depth, self.depth
            self.quoted_or_plain(char, quoted)
            self.depth = outer
        self.pos += 1
        if len(self.result.spots) != count:
            raise LexError("a placeholder stands in ${…}")

    def quoted_or_plain(self, char: str, quoted: bool) -> None:
        if char == "\\":
            self.pos += 2
        elif char == "'" and not quoted:
            self.single()
        elif char == '"':
            self.double()
        else:
            self.expansion(char, quoted)

    def arithmetic(self, opening: int, close: str) -> None:
        """Read up to `close`; `opening` is the number of characters before the expression."""
        # Bash evaluates what stands here, a value like `a[$(id)]` too: only whole numbers may go in
        self.pos += opening
        self.deeper()
        open_brackets: list[str] = []
        while self.pos < self.end:
            self.skip(_IN_ARITHMETIC)
            char = self.peek()
            if not open_brackets and self.at(close):
                self.pos += len(close)
                return
            if char == MARK:
                self.spot(Context.ARITHMETIC)
            elif char and char in "([":
                open_brackets.append(char)
                self.pos += 1
            elif char and char in ")]":
                if not open_brackets:
                    raise LexError("what stands in (( )) is not arithmetic")
                open_brackets.pop()
                self.pos += 1
            else:
                self.inner_arithmetic(char)
        raise LexError(f"an arithmetic expression is not closed by {close}")

    def inner_arithmetic(self, char: str) -> None:
        count = len(self.result.spots)
        self.depth += 1
        self.quoted_or_plain(char, quoted=False)
        self.depth -= 1
        for spot in self.result.spots[count:]:
            if spot.context in (Context.SINGLE, Context.DOUBLE, Context.ANSI):
                spot.context = Context.ARITHMETIC
