"""A progress line of a long operation on bytes, shown on a terminal alone."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, BinaryIO

from projrun.console import is_quiet, is_terminal, one_line, style_text

CHUNK = 1 << 20  # bytes between two looks at the clock
_INTERVAL_S = 0.1  # a terminal over ssh would be flooded by a line for each chunk


class Progress:
    """Show how many bytes are done. total: bytes of the whole operation, 0 when that is not known."""

    def __init__(self, name: str, doing: str = "downloading") -> None:
        self.label = f"{doing} {one_line(name, 60)}"
        self.done = 0
        self.total = 0
        self._shown_at = 0.0
        self._shows = is_terminal(sys.stderr) and not is_quiet()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shows and self._shown_at:
            self._write("\r\033[K")  # to the first column, and erase the line

    def copy(self, source: BinaryIO, target: BinaryIO) -> int:
        """Copy all of `source` in chunks; return the number of bytes."""
        copied = 0
        while chunk := source.read(CHUNK):
            target.write(chunk)
            copied += len(chunk)
            self.add(len(chunk))
        return copied

    def copy_response(self, response: Any, target: BinaryIO) -> int:
        """Copy the body of a response. Raises WebError when it is shorter than announced."""
        from projrun.net.web_client import WebError

        expected = response.headers.get("Content-Length", "")
        self.total = int(expected) if expected.isdigit() else 0
        size = self.copy(response, target)
        if expected.isdigit() and size != int(expected):
            raise WebError(f"the connection broke off after {size} of {expected} bytes", "run it again")
        return size

    def add(self, size: int) -> None:
        self.done += size
        if self._shows and time.monotonic() - self._shown_at >= _INTERVAL_S:
            self._shown_at = time.monotonic()
            of = f" of {format_size(self.total)}" if self.total else ""
            done = f": {format_size(self.done)}{of}"
            head = "projrun: "
            label = one_line(self.label, max(10, _columns() - len(head) - len(done) - 1))
            self._write(f"\r\033[K{style_text(head, 'dim', sys.stderr)}{label}{done}")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def _columns() -> int:
    """Return the width of the terminal on stderr: a longer line would wrap and could not be erased."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80


def format_size(size: int) -> str:
    """Return a number of bytes for people, such as `12.3 MB`."""
    number, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
