"""Read requirement lines as pip does: with the files of `-r` and `-c`, without comments and continuations."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from projrun.documents import MAX_BYTES
from projrun.errors import ProjectError

_COMMENT = r"(?:^|(?<=\s))#.*$"
_INCLUDE = r"(?:(-r|--requirement|-c|--constraint)(?:\s+|=)|(-[rc]))(.+)$"
_FIND_LINKS = r"(-f|--find-links)(?:\s*=\s*|\s+)(.+)$"
_URL = r"[A-Za-z][A-Za-z0-9+.-]*://"
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


class Requirements:
    """Collect lines: `lines` are to be installed, `constraints` only restrict versions.

    directory: the project's directory, to which paths of `--find-links` are made relative.
    """

    def __init__(self, directory: Path) -> None:
        self.lines: list[str] = []
        self.constraints: list[str] = []
        # File and line of each of `lines`; the line is 0 if it was given to `add` itself
        self.origins: list[tuple[str, int]] = []
        self._directory = directory
        self._done: set[tuple[str, bool]] = set()

    def add(self, texts: Iterable[str], base: Path, file: str) -> None:
        """Add lines of `file`, in which paths are relative to `base`. Raises ProjectError."""
        self._add("\n".join(texts), base, file, (), False)

    def _add(self, text: str, base: Path, file: str, stack: tuple[str, ...], constraint: bool) -> None:
        for number, line in logical_lines(text):
            include = re.match(_INCLUDE, line)
            if include and not re.match(_URL, include[3]):
                option, name = include[1] or include[2], include[3].strip().strip("'\"")
                line_number = number if stack else 0
                self._read(base / name, option in ("-c", "--constraint"), file, line_number, stack)
            elif constraint:
                self.constraints.append(line)
            else:
                self.lines.append(self._with_path(line, base))
                self.origins.append((file, number if stack else 0))

    def _read(self, path: Path, constraint: bool, includer: str, line: int, stack: tuple[str, ...]) -> None:
        if "\0" in str(path):
            problem = "the name of a requirements file holds a NUL"
            raise ProjectError(problem, "correct it", file=includer, line=line)
        name = os.path.relpath(path, self._directory)
        key = os.path.realpath(path)
        if key in stack:
            raise ProjectError(f"'{name}' includes itself", "remove the circle", file=includer, line=line)
        if (key, constraint) in self._done:
            return
        self._done.add((key, constraint))
        text = _text(path, name, includer, line)
        self._add(text, path.parent, name, (*stack, key), constraint)

    def _with_path(self, line: str, base: Path) -> str:
        # pip reads --find-links of a file in a subdirectory relative to that file
        option = re.match(_FIND_LINKS, line)
        if option is None or base == self._directory or not os.path.exists(base / option[2]):
            return line
        return f"{option[1]} {os.path.relpath(base / option[2], self._directory)}"


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield number of the first line and text, without comments, continuations and blank lines."""
    parts: list[str] = []
    first = 1
    for number, line in enumerate(text.splitlines(), 1):
        if not parts:
            first = number
        comment = line.lstrip().startswith("#")
        if line.endswith("\\") and not comment:
            parts.append(line[:-1])
            continue
        yield from _finished(first, [*parts, "" if comment else line])
        parts = []
    yield from _finished(first, parts)


def _finished(number: int, parts: list[str]) -> Iterator[tuple[int, str]]:
    line = re.sub(_COMMENT, "", "".join(parts))
    if line.strip():
        yield number, " ".join(line.split())


def _text(path: Path, name: str, includer: str, line: int) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ProjectError(
            f"the requirements file '{name}' cannot be read: {reason}",
            "add the file or remove the line that names it",
            file=includer,
            line=line,
            rule="missing-file",
        ) from None
    if len(content) > MAX_BYTES:
        raise ProjectError(f"is larger than {MAX_BYTES} bytes", "name a smaller file", file=name)
    return _decoded(content, name)


def _decoded(content: bytes, name: str) -> str:
    bom, encoding = next((pair for pair in _BOMS if content.startswith(pair[0])), (b"", "utf-8"))
    try:
        return content[len(bom) :].decode(encoding)
    except UnicodeDecodeError:
        raise ProjectError("is not UTF-8 text", "save it as UTF-8", file=name) from None
