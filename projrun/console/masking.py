"""Secret values, which are masked in all that projrun writes or prints.

Every value of `--env` and `--env-file` is one; the token of a tracking server is one in the output of a run's
process. Short and everyday values are not: masking each `1` or `true` would make an output unreadable. They
are registered once per process, because an error that shows one may come from anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

from projrun.console import set_text_filter

MASK = "***"
MIN_LENGTH = 5
EVERYDAY = frozenset({"false", "local", "debug", "error", "warning", "production", "development", "staging"})

_hidden: set[str] = set()
_in_output = True
_only_in_output: list[str] = []


def hide_values(values: Iterable[str], *, in_output: bool = True) -> None:
    """Mask these values from now on. in_output: also in what the run's own process prints."""
    global _in_output
    _in_output = in_output
    for value in values:
        # A program may print a value of several lines (a key) line by line.
        _hidden.update(part for part in (value, *value.splitlines()) if _is_secret(part))
    set_text_filter(mask_text)


@contextmanager
def hide_in_output(value: str) -> Iterator[None]:
    """Mask `value` in what the run's own process prints, while the block runs; we never show it."""
    values = [value] if _is_secret(value) else []
    _only_in_output.extend(values)
    try:
        yield
    finally:
        for value in values:
            _only_in_output.remove(value)


def mask_text(text: str) -> str:
    """Return `text` with every hidden value replaced."""
    # The longest first: one value may be part of another, of which the rest would stay.
    for value in sorted(_hidden, key=len, reverse=True):
        text = text.replace(value, MASK)
    return text


def mask_value(value: object) -> object:
    """Return a JSON-like value or a struct with all text in it masked."""
    return _masked_in(msgspec.to_builtins(value)) if _hidden else value


def _masked_in(value: object) -> object:
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, dict):
        return {name: _masked_in(entry) for name, entry in value.items()}
    return [_masked_in(entry) for entry in value] if isinstance(value, list) else value


def output_secrets() -> tuple[str, ...]:
    """Return the values that are masked in what a run's process, or a helper program, prints."""
    return tuple({*_only_in_output, *(_hidden if _in_output else ())})


class StreamMask:
    """Mask a stream of bytes, also where a value lies across two chunks.

    It holds back no more than an end that may be the beginning of a value.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._values = sorted((value.encode() for value in values), key=len, reverse=True)
        self._pattern: re.Pattern[bytes] | None = None
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return all bytes that can be shown by now, masked."""
        data = self._held + chunk
        parts = []
        position = 0
        for match in self._any_value().finditer(data):
            if self._may_go_on(data, match.start()):
                break  # a longer value may begin with this one
            parts += [data[position : match.start()], MASK.encode()]
            position = match.end()
        # A value that begins earlier is whole by now, because none is longer.
        longest = len(self._values[0])
        first = max(position, len(data) - longest + 1)
        hold = next((at for at in range(first, len(data)) if self._may_go_on(data, at)), len(data))
        parts.append(data[position:hold])
        self._held = data[hold:]
        return b"".join(parts)

    def rest(self) -> bytes:
        """Return what was held back, masked; the stream has ended."""
        held, self._held = self._held, b""
        return self._any_value().sub(MASK.encode(), held) if held else b""

    def _any_value(self) -> re.Pattern[bytes]:
        """Compile the pattern when something is printed: many runs print nothing."""
        if self._pattern is None:
            self._pattern = re.compile(b"|".join(map(re.escape, self._values)))
        return self._pattern

    def _may_go_on(self, data: bytes, at: int) -> bool:
        """Return True if data[at:] is the beginning of a value, and not all of it."""
        tail = data[at:]
        return any(len(tail) < len(value) and value.startswith(tail) for value in self._values)


def _is_secret(value: str) -> bool:
    return len(value) >= MIN_LENGTH and value.strip() != "" and value.lower() not in EVERYDAY
