"""Talking to the user: stdout is data, stderr is talk."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

_edit: Callable[[str], str] = str

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


def show_through(edit: Callable[[str], str]) -> None:
    """From now on everything that is written here passes through `edit`."""
    global _edit
    _edit = edit


def say(text: str) -> None:
    _write(sys.stderr, styled("projrun: ", "dim", sys.stderr) + text)


def warn(text: str) -> None:
    _write(sys.stderr, styled("projrun: warning: ", "yellow", sys.stderr) + text)


def complain(text: str) -> None:
    _write(sys.stderr, styled("projrun: error: ", "red", sys.stderr) + text)


def data(text: str) -> None:
    _write(sys.stdout, text)


def json_text(value: object) -> str:
    """Nouns and plain values as JSON for people and programs: indented, without a line end."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def styled(text: str, style: str, stream: TextIO) -> str:
    """`text` in a colour when `stream` is a terminal that wants colours (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not is_terminal(stream)
    return text if plain else f"\033[{_STYLES[style]}m{text}\033[0m"


def is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Left-aligned columns, two blanks apart, without trailing blanks."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
    )


def one_line(text: str, limit: int = 500) -> str:
    """Text of unknown shape made fit for one line of talk: no control characters, the middle left out."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    collapsed = " ".join(printable.split())
    half = limit // 2
    return collapsed if len(collapsed) <= limit else f"{collapsed[: half - 1]}…{collapsed[-half:]}"


def _write(stream: TextIO, text: str) -> None:
    """A reader that went away is no reason to fail a run, nor is an encoding that lacks a sign."""
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(_edit(text).encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except (BrokenPipeError, ValueError):
        pass
