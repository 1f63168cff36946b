"""Content digests: sha256, as lower-case hex. hashlib loads OpenSSL, so it is imported when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec


def sha256_text(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    import hashlib

    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def key_of(facts: Mapping[str, object]) -> str:
    """The name of a cache entry: 24 hex digits over every fact that determines its content."""
    return sha256_text(msgspec.json.encode(facts, order="sorted").decode())[:24]
