"""Tables for people, aligned by the columns of a terminal and no wider than it."""

from __future__ import annotations

import codecs
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence

from projrun.console import STATE_STYLES, is_terminal, style_text

GAP = "  "
NARROWEST = 8  # narrowest width that a column is cut to; ids and states fit into it
READABLE = 12  # width at which a name can still be recognised


def format_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    states: str = "",
    uncut: Sequence[str] = (),
    optional: Sequence[str] = (),
    wrapped: bool = False,
    on_screen: bool = True,
) -> str:
    """Return left-aligned columns, two blanks apart, without trailing blanks.

    states: the column whose words are coloured. uncut: columns that are never cut. on_screen: the table goes
    to stdout; where that is a terminal, the longest cells are cut to make it fit. wrapped: the last column
    continues on further lines instead. optional: columns to leave out, before others are unreadable.
    """
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(map(text_width, column)) for column in zip(*lines)]
    space = screen_width() if on_screen else 0
    if space and optional and _is_crowded(header, widths, uncut, space):
        rest = [number for number, name in enumerate(header) if name != optional[0]]
        fewer = [[line[number] for number in rest] for line in lines]
        return format_table(
            fewer[0], fewer[1:], states=states, uncut=uncut, optional=optional[1:], wrapped=wrapped
        )
    gaps = len(GAP) * (len(header) - 1)
    if space and wrapped:
        lines, widths[-1] = _wrap_last(lines, max(NARROWEST, space - sum(widths[:-1]) - gaps))
    elif space:
        widths = _fit_widths(widths, {header.index(name) for name in uncut}, space - gaps)
    coloured = header.index(states) if states else -1
    text = []
    for number, line in enumerate(lines):
        cells = [cut_text(cell, size) for cell, size in zip(line, widths)]
        styles = ["bold" if number == 0 else ""] * len(cells)
        if number and states:
            styles[coloured] = STATE_STYLES.get(line[coloured], "")
        blanks = [" " * (size - text_width(cell)) for cell, size in zip(cells, widths)]
        shown = [
            style_text(cell, style, sys.stdout) if cell and style and on_screen else cell
            for cell, style in zip(cells, styles)
        ]
        text.append(GAP.join(map("".join, zip(shown, blanks))).rstrip())
    return "\n".join(text)


def format_pairs(rows: Iterable[tuple[str, str]], indent: str = "") -> str:
    """Return lines of labels and values; on a terminal a long value continues on lines below."""
    rows = list(rows)
    label_width = max((text_width(label) for label, _ in rows), default=0)
    space = screen_width() - len(indent) - label_width - len(GAP)
    blank = indent + " " * label_width + GAP
    text = []
    for label, value in rows:
        first, *others = _wrap_text(value, space) if space >= 20 else [value]
        padding = " " * (label_width - text_width(label))
        text.append(f"{indent}{label}{padding}{GAP}{first}".rstrip())
        text += [f"{blank}{other}" for other in others]
    return "\n".join(text)


def screen_width() -> int:
    """Return the columns of the terminal on stdout; 0 when it is no terminal."""
    if not is_terminal(sys.stdout):
        return 0
    import shutil

    return shutil.get_terminal_size().columns


def text_width(text: str) -> int:
    """Return the columns of a terminal that `text` takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def cut_text(text: str, space: int) -> str:
    """Return `text` in at most `space` columns, with `…` in place of an end that is left out."""
    if text_width(text) <= space:
        return text
    kept, left = [], space - 1
    for char in text:
        left -= _columns(char)
        if left < 0:
            break
        kept.append(char)
    return "".join(kept) + "…"


def _columns(char: str) -> int:
    if char.isascii():
        return 1
    # Marks and format characters take no column of their own, wide characters two (UAX #11).
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _is_crowded(header: Sequence[str], widths: Sequence[int], uncut: Sequence[str], space: int) -> bool:
    """Return True if columns would have to be cut below `READABLE`."""
    least = [size if name in uncut else min(size, READABLE) for name, size in zip(header, widths)]
    return sum(least) + len(GAP) * (len(least) - 1) > space


def _wrap_last(lines: Sequence[Sequence[str]], space: int) -> tuple[list[tuple[str, ...]], int]:
    """Return the lines with the last column wrapped to `space` columns, and that width."""
    wrapped_lines = []
    for *cells, last in lines:
        first, *others = _wrap_text(last, space)
        wrapped_lines.append((*cells, first))
        wrapped_lines += [(*("" for _ in cells), other) for other in others]
    return wrapped_lines, space


def _fit_widths(widths: list[int], uncut: set[int], space: int) -> list[int]:
    """Return the widths with the widest ones reduced until all fit, or no more may be reduced."""
    widths = list(widths)
    while sum(widths) > space:
        widest = max((n for n in range(len(widths)) if n not in uncut), key=widths.__getitem__, default=None)
        if widest is None or widths[widest] <= NARROWEST:
            break
        widths[widest] -= 1
    return widths


def _wrap_text(text: str, space: int) -> list[str]:
    """Return lines of at most `space` columns, broken between words where possible."""
    lines, line = [], ""
    for word in text.split(" "):
        if line and text_width(line) + 1 + text_width(word) > space:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
        while text_width(line) > space:  # a word that is wider than a line
            head = cut_text(line, space + 1)[:-1]
            lines.append(head)
            line = line[len(head) :]
    return [*lines, line]


# Escape sequences of colours, and of erasing the rest of a line, which progress bars use
_SAFE = r"\x1b\[[0-9;:]*[mK]"
_UNSAFE = re.compile(rf"({_SAFE})|[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_UNFINISHED = re.compile(r"\x1b(\[[0-9;:]{0,30})?\Z")


class Printable:
    """Decode a stream of bytes to text that is safe to print on a terminal.

    Bytes that are not UTF-8 become U+FFFD, control characters their pictures (U+2400 and up). Line ends,
    tabs, backspaces and colours stay.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, chunk: bytes, *, last: bool = False) -> str:
        text = self._held + self._decoder.decode(chunk, last)
        unfinished = None if last else _UNFINISHED.search(text)
        self._held = unfinished[0] if unfinished else ""
        return _UNSAFE.sub(_replace_control, text[: len(text) - len(self._held)])


def _replace_control(match: re.Match[str]) -> str:
    if match[1]:
        return match[1]
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"
