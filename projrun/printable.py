"""Bytes of unknown origin, made harmless for a terminal."""

from __future__ import annotations

import codecs
import re

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
