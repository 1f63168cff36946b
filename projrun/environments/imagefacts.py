"""What the shelf keeps of an image."""

from __future__ import annotations

from pathlib import Path

import msgspec

from projrun.plan import Container
from projrun.record import Package

_FILE = "image.json"


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """How to start it, where it is, what is in it."""

    engine: str
    container: Container
    packages: tuple[Package, ...]
    variables: dict[str, str] = {}
    """To be set for a process in it."""


def read(place: Path) -> Built:
    return msgspec.json.decode((place / _FILE).read_bytes(), type=Built)


def write(place: Path, built: Built) -> None:
    (place / _FILE).write_bytes(msgspec.json.encode(built))
