"""What a look at a text for bash finds: where its placeholders stand, and in which quotes.

A placeholder is `placeholders.MARK` in the text.
"""

from __future__ import annotations

from enum import Enum

import msgspec


class Context(Enum):
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
    """Where one placeholder stands."""

    at: int
    context: Context
    word: Word | None = None
    backticked: bool = False
    escaped: bool = False
    """A backslash stands in front that means nothing by itself."""
    extends_name: bool = False
    """`$NAME` stands in front: a letter would become part of the name."""
    in_condition: bool = False
    """It stands in [[ ]]: `-n` would be an operator."""
    in_braces: bool = False
    """An open `{` stands in the word: a comma would make two words."""


class HereDocument(msgspec.Struct):
    delimiter: str
    raw: bool
    """The delimiter is quoted: nothing in the text means anything to bash."""
    tabs: bool
    """`<<-`: leading tabs do not count."""
    start: int = 0
    end: int = 0

    def ends_at(self, line: str) -> bool:
        return (line.lstrip("\t") if self.tabs else line) == self.delimiter


class Scan(msgspec.Struct):
    """What the lexer found."""

    spots: list[Spot] = []
    heres: list[HereDocument] = []
    option_lines: list[str] = []
    """Lines that start a command of their own but begin with an option."""
    option_starts: list[int] = []
    """Where in the text those begin."""
    end: str = ""
    """What the text ends in when words cannot be appended to it: a comment, a here-document."""


class LexError(Exception):
    """The text is not understood; the message says why."""
