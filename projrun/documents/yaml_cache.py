"""Read YAML files, and remember their content parsed: a project that was run before needs no YAML reader."""

# Importing PyYAML took a fifth of a warm run, so it is in a module of its own that only a new file needs.
# Not remembered are files with faults, with values unknown to JSON, and with credentials (`.condarc`).

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from projrun.disk import file_operations, home_from
from projrun.documents import MAX_BYTES, Document, Scalar, read_file
from projrun.errors import ProjectError
from projrun.version import __version__

_MAX_REMEMBERED_BYTES = 50_000  # a larger file is rare, and takes long to recall


def load_yaml(
    path: Path, name: str = "", tolerated: list[ProjectError] | None = None, *, remember: bool = True
) -> Document:
    """Read `path`, which the user calls `name`. Raises ProjectError with file, line and column.

    tolerated: a list that collects duplicate keys, which leave the file readable; without it they are raised.
    remember: False for files that may hold credentials or are read once.
    """
    file = name or str(path)
    content = read_file(path, file)
    if len(content) > MAX_BYTES:
        problem = f"is larger than {MAX_BYTES} bytes"
        raise ProjectError(problem, "keep data in files of its own", file=file, rule="too-large")
    remember = remember and len(content) <= _MAX_REMEMBERED_BYTES
    document = _recall(content, file) if remember else None
    if document is not None:
        return document
    from projrun.documents.yaml_file import parse_yaml

    faults: list[ProjectError] = []
    document = parse_yaml(content, file, None if tolerated is None else faults)
    if faults and tolerated is not None:
        tolerated.extend(faults)
    elif remember and _is_plain(document.data) and not _has_secrets(content):
        _remember(content, document)
    return document


class _Memory(msgspec.Struct, array_like=True):
    """A file without faults, as it was parsed."""

    projrun: str
    content: bytes  # compared, so that a memory serves no other file
    data: Any
    positions: list[tuple[tuple[str | int | None, ...], tuple[int, int]]]
    scalars: list[tuple[tuple[str | int | None, ...], Scalar]]


def _memory_path(content: bytes) -> Path:
    # There are 256 files at most: a new document replaces another one
    return home_from().yaml / f"{sum(content) & 0xFF:02x}"


def _recall(content: bytes, file: str) -> Document | None:
    try:
        memory = msgspec.msgpack.decode(_memory_path(content).read_bytes(), type=_Memory)
    except (OSError, msgspec.DecodeError):
        return None
    if (memory.projrun, memory.content) != (__version__, content):
        return None
    return Document(file, memory.data, dict(memory.positions), dict(memory.scalars), content)


def _remember(content: bytes, document: Document) -> None:
    positions, scalars = list(document.positions.items()), list(document.scalars.items())
    memory = msgspec.msgpack.encode((__version__, content, document.data, positions, scalars))
    path = _memory_path(content)
    with suppress(OSError):  # a cache that cannot be written costs time only
        home_from().mark_cache()
        path.parent.mkdir(mode=0o700, exist_ok=True)  # the project may be private
        file_operations.write_atomically(path, memory)


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
