"""Output for the user: data on stdout, talk on stderr.

Talk is not wrapped: an error may hold a command to be copied, which a line end would break. Tables are cut to
the terminal (`tables`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal, TextIO

from projrun.errors import OutputError

Verbosity = Literal["quiet", "usual", "verbose"]

_edit: Callable[[str], str] = str
_verbosity: Verbosity = "usual"
_since = time.monotonic()  # as near to the start of the process as an import can be

# Codes of ECMA-48. The 16 basic colours, because themes of terminals adapt these to their background
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
# The style of each status and verdict
STATE_STYLES = {
    **dict.fromkeys(("FINISHED", "ok", "same"), "green"),
    **dict.fromkeys(("FAILED", "broken", "different", "missing result"), "red"),
    **dict.fromkeys(("KILLED", "missing"), "yellow"),
    **dict.fromkeys(("RUNNING", "SCHEDULED"), "bold"),
}


def set_text_filter(edit: Callable[[str], str]) -> None:
    """Pass all text that is written here through `edit` from now on."""
    global _edit
    _edit = edit


def set_verbosity(verbosity: Verbosity) -> None:
    """Set how much is said. quiet: errors alone; verbose: also each step, with its time."""
    global _verbosity
    _verbosity = verbosity


def is_quiet() -> bool:
    return _verbosity == "quiet"


def is_verbose() -> bool:
    return _verbosity == "verbose"


def say(text: str) -> None:
    if not is_quiet():
        _talk(style_text("projrun: ", "dim", sys.stderr) + text)


def explain(text: str) -> None:
    """Print a line under `--verbose`, with the seconds since projrun started."""
    if is_verbose():
        _talk(style_text(f"projrun: {time.monotonic() - _since:7.3f} s  {text}", "dim", sys.stderr))


def warn(text: str) -> None:
    if not is_quiet():
        _talk(style_text("projrun: warning: ", "yellow", sys.stderr) + text)


def print_error(text: str) -> None:
    _talk(style_text("projrun: error: ", "red", sys.stderr) + text)


def print_data(text: str) -> None:
    """Print a line to stdout; a reader that is gone is no error. Raises OutputError for other reasons."""
    with suppress(BrokenPipeError), writing_data():
        _write(sys.stdout, text)


@contextmanager
def writing_data() -> Iterator[None]:
    """Turn an error of writing to stdout into an OutputError, except for a reader that is gone."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to stdout: {error.strerror}", "the output is not complete") from None


def json_text(value: object) -> str:
    """Return a value as indented JSON, without a line end."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def style_text(text: str, style: str, stream: TextIO) -> str:
    """Return `text` in a style when `stream` wants colours."""
    return f"\033[{_STYLES[style]}m{text}\033[0m" if _wants_colours(stream) else text


def style_state(word: str, stream: TextIO) -> str:
    """Return a status or verdict in its colour when `stream` wants colours; other words unchanged."""
    return style_text(word, STATE_STYLES[word], stream) if word in STATE_STYLES else word


def _wants_colours(stream: TextIO) -> bool:
    """Return True for a terminal, unless NO_COLOR (no-color.org) or FORCE_COLOR (force-color.org) is set."""
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
    """Return text fit for one line of talk: no control characters, and the middle left out when too long."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    collapsed = " ".join(printable.split())
    half = limit // 2
    return collapsed if len(collapsed) <= limit else f"{collapsed[: half - 1]}…{collapsed[-half:]}"


def _talk(text: str) -> None:
    # The outcome of a run does not depend on whether anybody can read what is said of it
    with suppress(OSError):
        _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> None:
    """Write a line; a character that the encoding lacks is escaped. Raises OSError."""
    encoding = stream.encoding or "utf-8"  # ASCII in the C locale, while names of files may hold anything
    with suppress(ValueError):  # closed by a caller of the Python API
        stream.write(_edit(text).encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
