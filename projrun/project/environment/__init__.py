"""Read the files that describe environments; this module has what their readers share."""

from __future__ import annotations

from typing import Any

from projrun.documents import Document
from projrun.plan import Descriptor

PIXI = "pixi.toml"
PIXI_LOCK = "pixi.lock"

DescriptorResult = tuple[Descriptor, tuple[str, ...]]  # a descriptor, and warnings


def require_mapping(document: Document) -> dict[Any, Any]:
    if document.data is None:
        return {}
    if not isinstance(document.data, dict):
        raise document.error("is not a mapping of keys to values", "write lines such as 'dependencies: […]'")
    return document.data


def require_list(document: Document, data: dict[Any, Any], key: str) -> list[Any]:
    value = data.get(key)
    if value is not None and not isinstance(value, list):
        raise document.error(f"'{key}' is not a list", f"write {key}: with '- …' lines below it", key)
    return value or []
