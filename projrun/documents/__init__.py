"""Documents in YAML as they were read: their data, and where each part of it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from projrun.errors import ProjectError

if TYPE_CHECKING:
    from projrun.documents.scalar_text import Text

Key = tuple[object, ...]
"""A path through the document: mapping keys and list indices."""


class Scalar(msgspec.Struct, frozen=True, array_like=True):
    """A scalar as it stands in the file."""

    value: str
    style: str
    """Its quote or indicator, or ''."""
    start: int
    end: int
    """Characters of the file, without a byte order mark."""
    line: int
    column: int
    """From 1."""


class Document:
    """A YAML file: its data, as `yaml.safe_load` would give it, and where each part of it stands.

    data: mappings, lists and scalars; None for an empty file.
    """

    def __init__(
        self,
        file: str,
        data: Any,
        places: dict[Key, tuple[int, int]],
        scalars: dict[Key, Scalar] | None = None,
        content: bytes | str = "",
    ) -> None:
        self.file, self.data, self.positions = file, data, places
        self.scalars, self._content = scalars or {}, content

    def position(self, *path: object) -> tuple[int, int]:
        """(line, column) from 1 of the part at `path`, or of the nearest part around it that is known."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path, (1, 1))

    def text_at(self, *path: object) -> Text | None:
        """The text at `path`, whose characters can be asked for their places; None where there is none."""
        scalar = self.scalars.get(path)
        if scalar is None:
            return None
        from projrun.documents.scalar_text import Text  # late: places are asked for when something is wrong

        source = _decoded(self._content)[scalar.start : scalar.end]
        return Text(scalar.value, source, scalar.style, (scalar.line, scalar.column))

    def error(self, message: str, hint: str = "", *path: object, rule: str = "") -> ProjectError:
        line, column = self.position(*path)
        return ProjectError(message, hint, file=self.file, line=line, column=column, rule=rule)


def _decoded(content: bytes | str) -> str:
    """Decode as libyaml does, which counts characters after the byte order mark."""
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return content.decode(encoding, "replace")
