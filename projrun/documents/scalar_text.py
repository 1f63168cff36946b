"""Find the position in a YAML file of each character of a scalar."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator


class ScalarText:
    """A scalar, whose characters have positions in the file.

    source: its text in the file, with quotes; style: its quote or indicator; position: line and column.
    """

    # Folding, indentation and line ends change only blanks, so a character of the value is found by counting
    # the characters that are not blank.

    def __init__(self, value: str, source: str, style: str, position: tuple[int, int]) -> None:
        self._line, self._column = position
        self._line_starts = array("L", (match.end() for match in _LINE_END.finditer(source)))
        self._in_source = _Runs(_source_runs(source, style))
        self._in_value = _Runs(_find_runs(value))

    def position(self, offset: int) -> tuple[int, int]:
        """Return line and column in the file, from 1, of the character at `offset` of the value."""
        index = self._in_source.start_of(self._in_value.count_before(offset))
        before = bisect_right(self._line_starts, index)
        if not before:
            return self._line, self._column + index
        return self._line + before, index - self._line_starts[before - 1] + 1


class _Runs:
    """Stretches of text without blanks: the start of each, and the number of characters before it."""

    def __init__(self, runs: Iterator[tuple[int, int]]) -> None:
        # A list of tuples would take 100 MB for 1 MB of text
        self._starts, self._counts = array("L"), array("L")
        count = 0
        for start, length in runs:
            self._starts.append(start)
            self._counts.append(count)
            count += length
        self._total = count

    def count_before(self, offset: int) -> int:
        run = bisect_right(self._starts, offset) - 1
        if run < 0:
            return 0
        end = self._counts[run + 1] if run + 1 < len(self._counts) else self._total
        return min(self._counts[run] + offset - self._starts[run], end)

    def start_of(self, count: int) -> int:
        run = bisect_right(self._counts, count) - 1
        return self._starts[run] + count - self._counts[run] if run >= 0 else 0


_RUN = re.compile(r"\S+")
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")
_PIECES = {
    "'": re.compile(r"''|[^\s']+"),
    '"': re.compile(r"\\(?:x(..)|u(.{4})|U(.{8})|(\s|[ntrvf_NLP])|.)|[^\s\\]+"),
}


def _find_runs(text: str, start: int = 0) -> Iterator[tuple[int, int]]:
    return ((match.start(), match.end() - match.start()) for match in _RUN.finditer(text, start))


def _source_runs(source: str, style: str) -> Iterator[tuple[int, int]]:
    """Yield start and number of the value's characters of each stretch without blanks."""
    properties = _PROPERTIES.match(source)
    start = properties.end() if properties else 0
    if style in _PIECES:
        yield from _quoted_runs(_PIECES[style], source, start + 1)
        return
    if style in ("|", ">"):
        start = source.find("\n", start) + 1
    yield from _find_runs(source, start)


def _quoted_runs(pieces: re.Pattern[str], source: str, start: int) -> Iterator[tuple[int, int]]:
    for match in pieces.finditer(source, start):
        piece = match[0]
        if piece == "''":
            yield match.start(), 1
        elif not piece.startswith("\\"):
            yield match.start(), len(piece)
        elif not _is_blank(match):
            yield match.start(), 1


def _is_blank(escape: re.Match[str]) -> bool:
    """Return True for an escape in double quotes that stands for a blank, or for nothing."""
    number = escape[1] or escape[2] or escape[3]
    return chr(int(number, 16)).isspace() if number else escape[4] is not None
