"""Images as a part of the shelf: which of the engine's were made for it, and what removing one frees."""

from __future__ import annotations

from pathlib import Path

from projrun.digests import sha256_text
from projrun.engine import EngineError
from projrun.environments import images
from projrun.environments.images import Image
from projrun.errors import LaunchError, UnavailableError

SHELF_LABEL = "projrun.shelf"
"""On an image: whose it is. Users who share an engine do not tidy each other's images away."""
BASE_NAME_LABEL = "org.opencontainers.image.base.name"
BASE_DIGEST_LABEL = "org.opencontainers.image.base.digest"


def shelf_name(shelf: Path) -> str:
    return sha256_text(str(shelf))[:16]


def images_of(shelf: Path) -> dict[str, Image]:
    """By id, the images that were made for this shelf. None where no engine answers."""
    try:
        found = images.images()
    except (EngineError, UnavailableError, LaunchError):
        return {}
    ours = shelf_name(shelf)
    return {image.id: image for image in found if image.labels.get(SHELF_LABEL) == ours}


def freed_by(image: Image) -> int:
    """Bytes that are its own: the layers of its base stay while the base is there."""
    repository, digest = image.labels.get(BASE_NAME_LABEL), image.labels.get(BASE_DIGEST_LABEL, "")
    base = images.on_engine(f"{repository}@{digest}" if repository else digest) if digest else None
    return image.size - base.size if base else image.size


def try_remove(image: Image) -> bool:
    """False while a container uses it."""
    try:
        images.remove(image)
    except EngineError:
        return False
    return True
