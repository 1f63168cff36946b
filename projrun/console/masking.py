"""Values that must not be seen: told once per process, kept out of all that projrun writes or prints.

Every value of `--env` and `--env-file` is one; the token of a tracking server is one in what a run's process
prints. Short and everyday values are not: hiding each `1` or `true` in an output would hide the output.
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
    """From now on these values are masked; in_output: also where a run's own process prints them."""
    global _in_output
    _in_output = in_output
    for value in values:
        # A program may print a value of several lines (a key) line by line.
        _hidden.update(part for part in (value, *value.splitlines()) if _is_secret(part))
    set_text_filter(mask_text)


@contextmanager
def hide_in_output(value: str) -> Iterator[None]:
    """While the block runs, it is masked where a run's own process prints it; we never write or say it."""
    values = [value] if _is_secret(value) else []
    _only_in_output.extend(values)
    try:
        yield
    finally:
        for one in values:
            _only_in_output.remove(one)


def mask_text(text: str) -> str:
    """`text` with every hidden value in it replaced."""
    for value in sorted(_hidden, key=len, reverse=True):
        text = text.replace(value, MASK)
    return text


def mask_value(value: object) -> object:
    """A JSON-like value or a noun with all text in it masked, for writing."""
    return _masked_in(msgspec.to_builtins(value)) if _hidden else value


def _masked_in(value: object) -> object:
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, dict):
        return {name: _masked_in(entry) for name, entry in value.items()}
    return [_masked_in(entry) for entry in value] if isinstance(value, list) else value


def new_output_mask() -> StreamMask | None:
    """What masks one stream of a run's process; None when nothing is to be masked."""
    values = {*_only_in_output, *(_hidden if _in_output else ())}
    return StreamMask(value.encode() for value in values) if values else None


class StreamMask:
    """Masks a stream of bytes, also where a value lies across the border of two chunks.

    It holds back no more than an end that may be the beginning of a value.
    """

    def __init__(self, values: Iterable[bytes]) -> None:
        self._values = sorted(values, key=len, reverse=True)
        self._pattern: re.Pattern[bytes] | None = None
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """What may be shown by now."""
        data = self._held + chunk
        parts = []
        position = 0
        for match in self._any_value().finditer(data):
            if self._may_go_on(data, match.start()):
                break  # a longer value may begin with this one
            parts += [data[position : match.start()], MASK.encode()]
            position = match.end()
        longest = len(self._values[0])
        first = max(position, len(data) - longest + 1)
        hold = next((at for at in range(first, len(data)) if self._may_go_on(data, at)), len(data))
        parts.append(data[position:hold])
        self._held = data[hold:]
        return b"".join(parts)

    def rest(self) -> bytes:
        """The stream is at its end: what was held back, masked."""
        held, self._held = self._held, b""
        return self._any_value().sub(MASK.encode(), held) if held else b""

    def _any_value(self) -> re.Pattern[bytes]:
        """Made when something is printed: many a run prints nothing."""
        if self._pattern is None:
            self._pattern = re.compile(b"|".join(map(re.escape, self._values)))
        return self._pattern

    def _may_go_on(self, data: bytes, at: int) -> bool:
        """Whether data[at:] is the beginning of a value, and not all of it."""
        tail = data[at:]
        return any(len(tail) < len(value) and value.startswith(tail) for value in self._values)


def _is_secret(value: str) -> bool:
    return len(value) >= MIN_LENGTH and value.strip() != "" and value.lower() not in EVERYDAY
