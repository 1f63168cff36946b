"""Reading a text for bash word by word, to know how each placeholder in it is to be quoted.

The lexer knows bash's grammar as far as quoting depends on it, and nothing of values.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

from projrun.project.command.lexer import Context, HereDocument, Lexer, LexError, Scan, Word
from projrun.project.command.placeholders import MARK

_PLAIN = re.compile(r"[^\s\\'\"`$#<>()|&;{}\0]+")
_RESERVED = {"then", "do", "else", "if", "elif", "while", "until", "!", "{", "}", "time", "fi", "done"}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=", re.ASCII)
_SUBSCRIPT = re.compile(r"(?:[A-Za-z_]\w*)?\[[^\]\s]*\Z", re.ASCII)
_DELIMITER = re.compile(r"<<(-?)[ \t]*((?:'[^'\n]*'|\"[^\"\n$`\\]*\"|\\[^\n]|[^\s;&|<>()'\"\\$`\0])+)")
_OPTION_LINE = re.compile(r"\n[ \t]*(--?[A-Za-z][^\n]*)")
_BLANK = re.compile(r"\s*\Z")
_COMPARED = re.compile(r"\s-(?:eq|ne|lt|le|gt|ge)\s")
_SPLIT_OPERATOR = re.compile(r"[$<>]\\\n|\(\\\n\(")


def scan(text: str) -> Scan:
    """Raises LexError."""
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
        """In [[ ]], -eq and its like evaluate both sides as arithmetic."""
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
        found = _OPTION_LINE.match(lexer.text, lexer.pos, lexer.end)
        lexer.pos += 1
        self.operator_over()
        if lexer.pending:
            self.here_documents()
        elif found:
            lexer.result.option_lines.append(found[1].rstrip(" \\"))
            lexer.result.option_starts.append(found.start(1))

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
        stop = lexer.end if line_end < 0 else line_end
        while (mark := lexer.text.find(MARK, lexer.pos, stop)) >= 0:
            lexer.pos = mark
            lexer.spot(Context.COMMENT)
        lexer.pos = stop
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
        found = _DELIMITER.match(lexer.text, lexer.pos, lexer.end)
        if found is None or lexer.text[found.end() : found.end() + 1] in (MARK, "$", "`"):
            raise LexError("the delimiter of a here-document is not a plain word")
        lexer.pos = found.end()
        word = found[2]
        delimiter = re.sub(r"'([^']*)'|\"([^\"]*)\"|\\(.)", r"\1\2\3", word)
        lexer.pending.append(HereDocument(delimiter, delimiter != word, found[1] == "-"))

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

    def note_end(self, what: str) -> None:
        if _BLANK.match(self.lexer.text, self.lexer.pos):
            self.lexer.result.end = what

    def here_spots(self, here: HereDocument) -> None:
        inner = self.lexer.within(here.start, here.end)
        if not here.raw:
            inner.expansions(Context.HERE, "")
            return
        while (mark := inner.text.find(MARK, inner.pos, inner.end)) >= 0:
            inner.pos = mark
            inner.spot(Context.HERE_RAW)

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
