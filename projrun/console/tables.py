"""Columns for people: aligned by what a terminal shows, and no wider than it."""

from __future__ import annotations

import codecs
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence

from projrun.console import STATE_STYLES, is_terminal, style_text

GAP = "  "
NARROWEST = 8
"""What is left of a column at least; ids and states are no longer than that."""
READABLE = 12
"""Columns that a name takes to be recognised."""


def format_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    states: str = "",
    whole: Sequence[str] = (),
    spare: Sequence[str] = (),
    wrapped: bool = False,
    on_screen: bool = True,
) -> str:
    """Left-aligned columns, two blanks apart, without trailing blanks.

    states: the column whose words are coloured. whole: columns that are never cut. on_screen: it goes to
    stdout, and where that is a terminal is made to fit: the longest cells are cut. wrapped: instead the last
    column goes on below. spare: columns that are left out, in this order, before others are cut too short.
    """
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(map(text_width, column)) for column in zip(*lines)]
    room = screen_width() if on_screen else 0
    if room and spare and _crowded(header, widths, whole, room):
        rest = [number for number, name in enumerate(header) if name != spare[0]]
        fewer = [[line[number] for number in rest] for line in lines]
        return format_table(fewer[0], fewer[1:], states=states, whole=whole, spare=spare[1:], wrapped=wrapped)
    gaps = len(GAP) * (len(header) - 1)
    if room and wrapped:
        lines, widths[-1] = _folded(lines, max(NARROWEST, room - sum(widths[:-1]) - gaps))
    elif room:
        widths = _fitted(widths, {header.index(name) for name in whole}, room - gaps)
    coloured = header.index(states) if states else -1
    text = []
    for number, line in enumerate(lines):
        cells = [cut_text(cell, size) for cell, size in zip(line, widths)]
        styles = ["bold" if number == 0 else ""] * len(cells)
        if number and states:
            styles[coloured] = STATE_STYLES.get(line[coloured], "")
        blanks = [" " * (size - text_width(cell)) for cell, size in zip(cells, widths)]
        shown = [_styled(cell, style if on_screen else "") for cell, style in zip(cells, styles)]
        text.append(GAP.join(map("".join, zip(shown, blanks))).rstrip())
    return "\n".join(text)


def format_pairs(rows: Iterable[tuple[str, str]], indent: str = "") -> str:
    """Labels and what they stand for; on a terminal a long text goes on below its beginning."""
    rows = list(rows)
    label_width = max((text_width(label) for label, _ in rows), default=0)
    room = screen_width() - len(indent) - label_width - len(GAP)
    blank = indent + " " * label_width + GAP
    text = []
    for label, value in rows:
        first, *others = _wrapped(value, room) if room >= 20 else [value]
        text.append(f"{indent}{_padded(label, label_width)}{GAP}{first}".rstrip())
        text += [f"{blank}{other}" for other in others]
    return "\n".join(text)


def screen_width() -> int:
    """Columns of the terminal that stdout is; 0 when it is none."""
    if not is_terminal(sys.stdout):
        return 0
    import shutil

    return shutil.get_terminal_size().columns


def text_width(text: str) -> int:
    """How many columns of a terminal it takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def cut_text(text: str, room: int) -> str:
    """`text` in so many columns; what is left out of its end shows as `…`."""
    if text_width(text) <= room:
        return text
    kept, left = [], room - 1
    for char in text:
        left -= _columns(char)
        if left < 0:
            break
        kept.append(char)
    return "".join(kept) + "…"


def _columns(char: str) -> int:
    if char.isascii():
        return 1
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _padded(text: str, size: int) -> str:
    return text + " " * (size - text_width(text))


def _styled(text: str, style: str) -> str:
    return style_text(text, style, sys.stdout) if text and style else text


def _crowded(header: Sequence[str], widths: Sequence[int], whole: Sequence[str], room: int) -> bool:
    """Whether columns would have to be cut to less than says anything."""
    least = [size if name in whole else min(size, READABLE) for name, size in zip(header, widths)]
    return sum(least) + len(GAP) * (len(least) - 1) > room


def _folded(lines: Sequence[Sequence[str]], room: int) -> tuple[list[tuple[str, ...]], int]:
    """The lines with the last column in that room, in more lines where it takes them; and its room."""
    folded = []
    for *cells, last in lines:
        first, *others = _wrapped(last, room)
        folded.append((*cells, first))
        folded += [(*("" for _ in cells), other) for other in others]
    return folded, room


def _fitted(widths: list[int], whole: set[int], room: int) -> list[int]:
    """The widths, the widest ones made smaller until all fit, as far as they may."""
    widths = list(widths)
    while sum(widths) > room:
        widest = max((n for n in range(len(widths)) if n not in whole), key=widths.__getitem__, default=None)
        if widest is None or widths[widest] <= NARROWEST:
            break
        widths[widest] -= 1
    return widths


def _wrapped(text: str, room: int) -> list[str]:
    """Lines of at most so many columns, broken between words where there are any."""
    lines, line = [], ""
    for word in text.split(" "):
        if line and text_width(line) + 1 + text_width(word) > room:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
        while text_width(line) > room:
            head = cut_text(line, room + 1)[:-1]
            lines.append(head)
            line = line[len(head) :]
    return [*lines, line]


_SAFE = r"\x1b\[[0-9;:]*[mK]"
"""Colours, and erasing the rest of a line, as progress bars do."""
_UNSAFE = re.compile(rf"({_SAFE})|[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_UNFINISHED = re.compile(r"\x1b(\[[0-9;:]{0,30})?\Z")


class Printable:
    """A stream of bytes as text that cannot move, retitle, answer for or lock a terminal.

    Bytes that are no UTF-8 show as U+FFFD, control characters as their pictures (U+2400 and up). Line ends,
    tabs, backspaces and colours stay.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, chunk: bytes, *, last: bool = False) -> str:
        text = self._held + self._decoder.decode(chunk, last)
        unfinished = None if last else _UNFINISHED.search(text)
        self._held = unfinished[0] if unfinished else ""
        return _UNSAFE.sub(_shown, text[: len(text) - len(self._held)])


def _shown(match: re.Match[str]) -> str:
    if match[1]:
        return match[1]
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"
