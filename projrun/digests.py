"""Content digests: sha256, as lower-case hex. hashlib loads OpenSSL, so it is imported when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

CHUNK = 1 << 20
PARALLEL = 16 * CHUNK
"""Bytes from which on several threads are faster: hashing does not hold the interpreter's lock."""


def sha256_text(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path, done: Callable[[int], None] | None = None) -> str:
    """done: told of every part, by its number of bytes."""
    import hashlib

    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            if done:
                done(len(chunk))
    return digest.hexdigest()


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
