"""Read files of projects: `yaml_cache`, `toml_file`, `variables`; this module has what they share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from projrun.errors import ProjectError

if TYPE_CHECKING:
    from projrun.documents.scalar_text import ScalarText

MAX_BYTES = 1_000_000

Key = tuple[object, ...]  # a path through a document: mapping keys and list indices


def read_file(path: Path, file: str) -> bytes:
    """Return at most MAX_BYTES + 1 bytes of `path`, which the user calls `file`. Raises ProjectError."""
    try:
        with path.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "check its permissions, or where it links to"
        problem = f"cannot be read: {error.strerror}"
        raise ProjectError(problem, hint, file=file, rule="unreadable") from None


def unusable_value(error: ValueError | OverflowError, file: str) -> ProjectError:
    """Return the error for a value that is valid YAML but cannot be text, a number or a file name."""
    # Numbers of thousands of digits and lone surrogates are refused where they are used, in many places
    problem = str(error).split(";")[0]
    return ProjectError(f"holds a value that cannot be used: {problem}", "correct it", file=file)


class Scalar(msgspec.Struct, frozen=True, array_like=True):
    """A scalar as it stands in the file."""

    value: str
    style: str  # the quote or block indicator, or ''
    start: int  # offset in characters, without a byte order mark
    end: int
    line: int  # counted from 1, as the column is
    column: int


class Document:
    """A YAML file: its data as `yaml.safe_load` returns it (None for an empty file), and their positions."""

    def __init__(
        self,
        file: str,
        data: Any,
        positions: dict[Key, tuple[int, int]],
        scalars: dict[Key, Scalar] | None = None,
        content: bytes | str = "",
    ) -> None:
        self.file, self.data, self.positions = file, data, positions
        self.scalars, self._content = scalars or {}, content

    def position(self, *path: object) -> tuple[int, int]:
        """Return line and column, from 1, of the part at `path`, or of the nearest known part around it."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path, (1, 1))

    def text_at(self, *path: object) -> ScalarText | None:
        """Return the scalar at `path` with the positions of its characters; None if there is no scalar."""
        scalar = self.scalars.get(path)
        if scalar is None:
            return None
        from projrun.documents.scalar_text import ScalarText  # late: only findings need it

        source = _decoded(self._content)[scalar.start : scalar.end]
        return ScalarText(scalar.value, source, scalar.style, (scalar.line, scalar.column))

    def error(self, message: str, hint: str = "", *path: object, rule: str = "") -> ProjectError:
        line, column = self.position(*path)
        return ProjectError(message, hint, file=self.file, line=line, column=column, rule=rule)


def _decoded(content: bytes | str) -> str:
    # libyaml counts characters after the byte order mark
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return content.decode(encoding, "replace")
