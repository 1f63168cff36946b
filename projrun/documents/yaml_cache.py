"""Reading YAML files, and remembering what they said: a project that was run before needs no YAML reader."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from projrun.disk import file_operations, home_from
from projrun.documents import Document, Scalar
from projrun.errors import ProjectError
from projrun.version import __version__

MAX_BYTES = 1_000_000
_WORTH_REMEMBERING = 50_000
"""Bytes. A larger file is rare, and takes long to recall."""


def load_yaml(
    path: Path, name: str = "", tolerated: list[ProjectError] | None = None, *, remember: bool = True
) -> Document:
    """Read `path`; `name` is what the user would call it. Raises ProjectError with file, line and column.

    tolerated: gets the errors that leave the file readable (duplicate keys), which are raised without it.
    remember: for files of projects, not those that may hold credentials or are read once.
    """
    file = name or str(path)
    try:
        with path.open("rb") as file_to_read:
            content = file_to_read.read(MAX_BYTES + 1)
    except OSError as error:
        raise ProjectError(
            f"cannot be read: {error.strerror}",
            "check its permissions, or where it links to",
            file=file,
            rule="unreadable",
        ) from None
    if len(content) > MAX_BYTES:
        raise ProjectError(
            f"is larger than {MAX_BYTES} bytes", "keep data in files of its own", file=file, rule="too-large"
        )
    kept = remember and len(content) <= _WORTH_REMEMBERING
    if kept and (document := _recalled(content, file)):
        return document
    from projrun.documents.yaml_file import parse_yaml

    faults: list[ProjectError] = []
    document = parse_yaml(content, file, None if tolerated is None else faults)
    if faults and tolerated is not None:
        tolerated.extend(faults)
    elif kept and _is_plain(document.data) and not _has_secrets(content):
        _remember(content, document)
    return document


class _Memory(msgspec.Struct, array_like=True):
    """A file that had no fault. Its content is kept too: nothing else is taken for it."""

    projrun: str
    content: bytes
    data: Any
    positions: list[tuple[tuple[str | int | None, ...], tuple[int, int]]]
    scalars: list[tuple[tuple[str | int | None, ...], Scalar]]


def _memory_of(content: bytes) -> Path:
    """One of 256 files: a new document takes the place of another, so that they are never too many."""
    return home_from().yaml / f"{sum(content) & 0xFF:02x}"


def _recalled(content: bytes, file: str) -> Document | None:
    try:
        memory = msgspec.msgpack.decode(_memory_of(content).read_bytes(), type=_Memory)
    except (OSError, msgspec.DecodeError):
        return None
    if (memory.projrun, memory.content) != (__version__, content):
        return None
    return Document(file, memory.data, dict(memory.positions), dict(memory.scalars), content)


def _remember(content: bytes, document: Document) -> None:
    """The user alone may read it, as the project may be. A cache that cannot be written is done without."""
    places, scalars = list(document.positions.items()), list(document.scalars.items())
    memory = msgspec.msgpack.encode((__version__, content, document.data, places, scalars))
    with suppress(OSError):
        home_from().mark_cache()
        _memory_of(content).parent.mkdir(mode=0o700, exist_ok=True)
        file_operations.write_atomically(_memory_of(content), memory)


def _has_secrets(content: bytes) -> bool:
    from projrun.net import channel_without_credentials, without_secrets

    text = content.decode(errors="replace")
    return "://" in text and any(
        change(text) != text for change in (without_secrets, channel_without_credentials)
    )


def _is_plain(data: Any) -> bool:
    """Return True if the data survives a round trip through JSON."""
    if isinstance(data, dict):
        return all(type(key) is str and _is_plain(value) for key, value in data.items())
    if isinstance(data, list):
        return all(map(_is_plain, data))
    if isinstance(data, float):
        return math.isfinite(data)
    return data is None or type(data) in (str, bool) or (type(data) is int and abs(data) < 1 << 53)
