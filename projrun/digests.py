"""Content digests: sha256, as lower-case hex."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

CHUNK = 1 << 20
PARALLEL = 16 * CHUNK
"""Bytes from which on several threads are faster: hashing does not hold the interpreter's lock."""


def new_sha256(size: int) -> Any:
    """As `hashlib.sha256()`, for about so many bytes.

    hashlib loads OpenSSL, which takes longer than the interpreter's own code takes for a megabyte or two.
    """
    if size <= CHUNK:
        with suppress(ImportError):
            return _own_sha256()
    import hashlib

    return hashlib.sha256()


def _own_sha256() -> Any:
    name = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
    return import_module(name).sha256()


def sha256_text(text: str) -> str:
    content = text.encode()
    digest = new_sha256(len(content))
    digest.update(content)
    return str(digest.hexdigest())


def sha256_file(path: Path, done: Callable[[int], None] | None = None) -> str:
    """done: told of every part, by its number of bytes."""
    with path.open("rb") as file:
        digest = new_sha256(os.fstat(file.fileno()).st_size)
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            if done:
                done(len(chunk))
    return str(digest.hexdigest())


def sha256_files(paths: Sequence[Path], size: int, doing: str) -> list[str]:
    """The digest of each, in order. size: of all in bytes; doing: what the progress line says."""
    if size < PARALLEL:
        return [sha256_file(path) for path in paths]
    from concurrent.futures import ThreadPoolExecutor

    from projrun.progress import Progress

    with Progress(f"{len(paths)} files", doing) as progress:
        progress.total = size
        pool = ThreadPoolExecutor()
        try:
            return list(pool.map(lambda path: sha256_file(path, progress.add), paths))
        finally:
            pool.shutdown(cancel_futures=True)


def sha256_of_readable(paths: Sequence[Path], size: int, doing: str) -> list[str]:
    """As `sha256_files`, but what goes away meanwhile or is not ours to read has an empty digest."""
    try:
        return sha256_files(paths, size, doing)
    except OSError:
        return [_readable(path) for path in paths]


def _readable(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError:
        return ""


def key_of(facts: Mapping[str, object]) -> str:
    """The name of a cache entry: 24 hex digits over every fact that determines its content."""
    return sha256_text(msgspec.json.encode(facts, order="sorted").decode())[:24]
