"""Talking to the user: stdout is data, stderr is talk."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Literal, TextIO

Verbosity = Literal["quiet", "usual", "verbose"]

_edit: Callable[[str], str] = str
_verbosity: Verbosity = "usual"
_since = time.monotonic()

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
STATE_STYLES = {
    **dict.fromkeys(("FINISHED", "ok", "same"), "green"),
    **dict.fromkeys(("FAILED", "broken", "different", "missing result"), "red"),
    **dict.fromkeys(("KILLED", "missing"), "yellow"),
    **dict.fromkeys(("RUNNING", "SCHEDULED"), "bold"),
}
"""Words whose colour tells as much as they do."""


def set_text_filter(edit: Callable[[str], str]) -> None:
    """From now on everything that is written here passes through `edit`."""
    global _edit
    _edit = edit


def set_verbosity(verbosity: Verbosity) -> None:
    """How much is said from now on. quiet: errors alone; verbose: also what is done, and when."""
    global _verbosity
    _verbosity = verbosity


def is_quiet() -> bool:
    return _verbosity == "quiet"


def is_verbose() -> bool:
    return _verbosity == "verbose"


def say(text: str) -> None:
    if not is_quiet():
        _write(sys.stderr, style_text("projrun: ", "dim", sys.stderr) + text)


def explain(text: str) -> None:
    """Say what only `--verbose` shows, with the seconds since projrun started."""
    if is_verbose():
        _write(
            sys.stderr, style_text(f"projrun: {time.monotonic() - _since:7.3f} s  {text}", "dim", sys.stderr)
        )


def warn(text: str) -> None:
    if not is_quiet():
        _write(sys.stderr, style_text("projrun: warning: ", "yellow", sys.stderr) + text)


def print_error(text: str) -> None:
    _write(sys.stderr, style_text("projrun: error: ", "red", sys.stderr) + text)


def print_data(text: str) -> None:
    _write(sys.stdout, text)


def json_text(value: object) -> str:
    """Nouns and plain values as JSON for people and programs: indented, without a line end."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def style_text(text: str, style: str, stream: TextIO) -> str:
    """`text` in a colour when `stream` wants colours."""
    return f"\033[{_STYLES[style]}m{text}\033[0m" if _wants_colours(stream) else text


def style_state(word: str, stream: TextIO) -> str:
    """A status or verdict in its colour when `stream` wants colours; other words as they are."""
    return style_text(word, STATE_STYLES[word], stream) if word in STATE_STYLES else word


def _wants_colours(stream: TextIO) -> bool:
    """A terminal does. https://no-color.org and https://force-color.org overrule that, in this order."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and is_terminal(stream)


def is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


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
