"""Reading YAML that strangers wrote: safe types only, limits on size and depth, places for error messages."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from projrun.errors import ProjectError

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
_HARMLESS_BYTES = 2_000
"""A file of this size cannot be so deep that it exhausts the stack."""
MAX_NODES = 20_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Key = tuple[object, ...]
"""A path through the document: mapping keys and list indices."""


class Document:
    """A YAML file: its data, as `yaml.safe_load` would give it, and where each part of it stands.

    data: mappings, lists and scalars; None for an empty file.
    """

    def __init__(
        self,
        file: str,
        data: Any,
        places: dict[Key, tuple[int, int]],
        scalars: dict[Key, yaml.ScalarNode] | None = None,
        content: bytes | str = "",
    ) -> None:
        self.file, self.data, self._places = file, data, places
        self._scalars, self._content = scalars or {}, content

    def place(self, *path: object) -> tuple[int, int]:
        """(line, column) from 1 of the part at `path`, or of the nearest part around it that is known."""
        while path and path not in self._places:
            path = path[:-1]
        return self._places.get(path, (1, 1))

    def text_at(self, *path: object) -> Text | None:
        """The text at `path`, whose characters can be asked for their places; None where there is none."""
        node = self._scalars.get(path)
        return Text(node, _decoded(self._content)) if node is not None else None

    def error(self, message: str, hint: str = "", *path: object, rule: str = "") -> ProjectError:
        line, column = self.place(*path)
        return ProjectError(message, hint, file=self.file, line=line, column=column, rule=rule)


class Text:
    """A scalar as it stands in the file.

    Folding, indentation and line ends change only blanks, so a character of the value is found by counting
    what is not blank.
    """

    def __init__(self, node: yaml.ScalarNode, content: str) -> None:
        mark = node.start_mark
        self._line, self._column = mark.line + 1, mark.column + 1
        self._source = content[mark.index : node.end_mark.index]
        self._line_starts = array("L", (found.end() for found in _LINE_END.finditer(self._source)))
        self._in_source = _Runs(_source_runs(self._source, node.style or ""))
        self._in_value = _Runs(
            (found.start(), found.end() - found.start()) for found in _RUN.finditer(node.value)
        )

    def place(self, offset: int) -> tuple[int, int]:
        """(line, column) from 1, in the file, of the character at `offset` of the value."""
        index = self._in_source.start_of(self._in_value.count_before(offset))
        before = bisect_right(self._line_starts, index)
        if not before:
            return self._line, self._column + index
        return self._line + before, index - self._line_starts[before - 1] + 1


class _Runs:
    """Stretches of text without blanks: where each begins, and how many characters are in those before it."""

    def __init__(self, runs: Iterator[tuple[int, int]]) -> None:
        self._starts, self._counts = (
            array("L"),
            array("L"),
        )  # a list of tuples would take 100 MB for 1 MB of text
        count = 0
        for start, length in runs:
            self._starts.append(start)
            self._counts.append(count)
            count += length
        self._total = count

    def count_before(self, offset: int) -> int:
        run = bisect_right(self._starts, offset) - 1
        if run < 0:
            return 0
        end = self._counts[run + 1] if run + 1 < len(self._counts) else self._total
        return min(self._counts[run] + offset - self._starts[run], end)

    def start_of(self, count: int) -> int:
        run = bisect_right(self._counts, count) - 1
        return self._starts[run] + count - self._counts[run] if run >= 0 else 0


_RUN = re.compile(r"\S+")
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")
_PIECES = {
    "'": re.compile(r"''|[^\s']+"),
    '"': re.compile(r"\\(?:x(..)|u(.{4})|U(.{8})|(\s|[ntrvf_NLP])|.)|[^\s\\]+"),
}


def _source_runs(source: str, style: str) -> Iterator[tuple[int, int]]:
    """(start, number of characters of the value) of each stretch without blanks."""
    properties = _PROPERTIES.match(source)
    start = properties.end() if properties else 0
    if style in _PIECES:
        yield from _quoted_runs(_PIECES[style], source, start + 1)
        return
    if style in ("|", ">"):
        start = source.find("\n", start) + 1
    for found in _RUN.finditer(source, start):
        yield found.start(), found.end() - found.start()


def _quoted_runs(pieces: re.Pattern[str], source: str, start: int) -> Iterator[tuple[int, int]]:
    for found in pieces.finditer(source, start):
        piece = found[0]
        if piece == "''":
            yield found.start(), 1
        elif not piece.startswith("\\"):
            yield found.start(), len(piece)
        elif not _is_blank(found):
            yield found.start(), 1


def _is_blank(escape: re.Match[str]) -> bool:
    """Whether an escape in double quotes stands for a blank, or for nothing."""
    number = escape[1] or escape[2] or escape[3]
    return chr(int(number, 16)).isspace() if number else escape[4] is not None


def _decoded(content: bytes | str) -> str:
    """As libyaml reads it: it counts the characters behind the byte order mark."""
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return content.decode(encoding, "replace")


def load(path: Path, name: str = "", tolerated: list[ProjectError] | None = None) -> Document:
    """Read `path`; `name` is what the user would call it. Raises ProjectError with file, line and column.

    tolerated: gets the errors that leave the file readable (duplicate keys), which are raised without it.
    """
    file = name or str(path)
    try:
        with path.open("rb") as file_to_read:
            content = file_to_read.read(MAX_BYTES + 1)
    except OSError as error:
        raise ProjectError(
            f"cannot be read: {error.strerror}",
            "check its permissions, or where it links to",
            file=file,
            rule="unreadable",
        ) from None
    if len(content) > MAX_BYTES:
        raise ProjectError(
            f"is larger than {MAX_BYTES} bytes", "keep data in files of its own", file=file, rule="too-large"
        )
    return parse(content, file, tolerated)


def parse(content: bytes | str, file: str, tolerated: list[ProjectError] | None = None) -> Document:
    loader = None
    try:
        if len(content) > _HARMLESS_BYTES:
            _refuse_masses(content, file)
        loader = _Loader(content)
        node = loader.get_single_node()
        if node is None:
            return Document(file, None, {(): (1, 1)})
        walk = _Walk(file, tolerated)
        walk.visit(node, (), 1)
        return Document(file, loader.construct_document(node), walk.places, walk.scalars, content)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ProjectError(
            f"is not valid YAML: {_problem(error)}",
            "mend the line",
            file=file,
            line=mark.line + 1 if mark else 0,
            column=mark.column + 1 if mark else 0,
            rule="not-yaml",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProjectError(
            f"is not valid YAML: {str(error).splitlines()[0]}",
            "save it as UTF-8 text",
            file=file,
            rule="not-yaml",
        ) from None
    except (ValueError, OverflowError, TypeError, AttributeError) as error:
        # A scalar that looks like a date or number and is none: 2001-99-99
        raise ProjectError(
            f"holds a value that YAML cannot read: {error}", "quote it", file=file, rule="not-yaml"
        ) from None
    except RecursionError:
        raise ProjectError(
            f"is nested more than {MAX_DEPTH} levels deep", "make it flatter", file=file, rule="too-large"
        ) from None
    finally:
        if loader is not None:
            loader.dispose()


def _refuse_masses(content: bytes | str, file: str) -> None:
    """Look at depth and size before nodes are made: libyaml does that recursively, and crashes in the end."""
    depth = count = 0
    loader = _Loader(content)
    try:
        while loader.check_event():
            event = loader.get_event()
            count += isinstance(event, yaml.NodeEvent)
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH or count > MAX_NODES:
                raise _too_large(file, event.start_mark, deep=depth > MAX_DEPTH)
    finally:
        loader.dispose()


def _too_large(file: str, mark: yaml.Mark, *, deep: bool) -> ProjectError:
    message, hint = f"is nested more than {MAX_DEPTH} levels deep", "make it flatter"
    if not deep:
        message = f"has more than {MAX_NODES} parts (aliases counted each time)"
        hint = "keep data in files of its own"
    return ProjectError(
        message, hint, file=file, line=mark.line + 1, column=mark.column + 1, rule="too-large"
    )


def dump(data: object) -> str:
    """YAML text of plain data, keys in the order given."""
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


def _problem(error: yaml.MarkedYAMLError) -> str:
    context = f" {error.context}" if error.context else ""
    return f"{error.problem or 'syntax error'}{context}"


class _Walk:
    """Visits every node once, aliases each time they are met, notes places and enforces the limits."""

    def __init__(self, file: str, tolerated: list[ProjectError] | None) -> None:
        self.file, self.tolerated, self.count = file, tolerated, 0
        self.places: dict[Key, tuple[int, int]] = {}
        self.scalars: dict[Key, yaml.ScalarNode] = {}

    def visit(self, node: yaml.Node, path: Key, depth: int) -> None:
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_NODES:
            raise _too_large(self.file, node.start_mark, deep=depth > MAX_DEPTH)
        self.places[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            self._mapping(node, path, depth)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.visit(item, (*path, index), depth + 1)
        elif isinstance(node, yaml.ScalarNode):
            self.scalars[path] = node

    def _mapping(self, node: yaml.MappingNode, path: Key, depth: int) -> None:
        seen: set[tuple[str, str]] = set()
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is not None and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, name) in seen:
                    self._duplicate(key, name)
                seen.add((key.tag, name))
            entry = (*path, name)
            self.visit(value, entry, depth + 1)
            scalar = self.scalars.get(entry)
            self.visit(key, entry, depth + 1)  # last, so that errors about an entry point at its key
            self.scalars.pop(entry, None)
            if scalar is not None:
                self.scalars[entry] = scalar

    def _duplicate(self, key: yaml.Node, name: str) -> None:
        error = self._error(key, f"has the key '{name}' twice", "remove one of them", rule="duplicate-key")
        if self.tolerated is None:
            raise error
        self.tolerated.append(error)

    def _error(self, node: yaml.Node, message: str, hint: str = "", *, rule: str) -> ProjectError:
        mark = node.start_mark
        return ProjectError(
            message, hint, file=self.file, line=mark.line + 1, column=mark.column + 1, rule=rule
        )
