"""Content digests: sha256, as lower-case hex."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def key_of(facts: Mapping[str, object]) -> str:
    """The name of a cache entry: 24 hex digits over every fact that determines its content."""
    return sha256_text(json.dumps(facts, sort_keys=True, separators=(",", ":")))[:24]
