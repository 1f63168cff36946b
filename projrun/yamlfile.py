"""Reading YAML that strangers wrote: safe types only, limits on size and depth, places for error messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from projrun.errors import ProjectError

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_NODES = 100_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Key = tuple[object, ...]
"""A path through the document: mapping keys and list indices."""


class Document:
    """A YAML file: its data, as `yaml.safe_load` would give it, and where each part of it stands.

    data: mappings, lists and scalars; None for an empty file.
    """

    def __init__(self, file: str, data: Any, places: dict[Key, tuple[int, int]]) -> None:
        self.file, self.data, self._places = file, data, places

    def place(self, *path: object) -> tuple[int, int]:
        """(line, column) from 1 of the part at `path`, or of the nearest part around it that is known."""
        while path and path not in self._places:
            path = path[:-1]
        return self._places.get(path, (1, 1))

    def error(self, message: str, hint: str = "", *path: object) -> ProjectError:
        line, column = self.place(*path)
        return ProjectError(message, hint, file=self.file, line=line, column=column)


def load(path: Path, name: str = "") -> Document:
    """Read `path`; `name` is what the user would call it. Raises ProjectError with file, line and column."""
    file = name or str(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ProjectError(f"cannot be read: {error.strerror}", file=file) from None
    if len(content) > MAX_BYTES:
        raise ProjectError(f"is larger than {MAX_BYTES} bytes", file=file)
    return parse(content, file)


def parse(content: bytes | str, file: str) -> Document:
    loader = None
    try:
        loader = _Loader(content)
        node = loader.get_single_node()
        if node is None:
            return Document(file, None, {(): (1, 1)})
        places: dict[Key, tuple[int, int]] = {}
        _Walk(file, places).visit(node, (), 1)
        return Document(file, loader.construct_document(node), places)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ProjectError(
            f"is not valid YAML: {_problem(error)}",
            "mend the line",
            file=file,
            line=mark.line + 1 if mark else 0,
            column=mark.column + 1 if mark else 0,
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProjectError(
            f"is not valid YAML: {str(error).splitlines()[0]}", "save it as UTF-8 text", file=file
        ) from None
    except (ValueError, OverflowError, TypeError, AttributeError) as error:
        # A scalar that looks like a date or number and is none: 2001-99-99
        raise ProjectError(f"holds a value that YAML cannot read: {error}", "quote it", file=file) from None
    except RecursionError:
        raise ProjectError(f"is nested more than {MAX_DEPTH} levels deep", file=file) from None
    finally:
        if loader is not None:
            loader.dispose()


def dump(data: object) -> str:
    """YAML text of plain data, keys in the order given."""
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


def _problem(error: yaml.MarkedYAMLError) -> str:
    context = f" {error.context}" if error.context else ""
    return f"{error.problem or 'syntax error'}{context}"


class _Walk:
    """Visits every node once, aliases each time they are met, notes places and enforces the limits."""

    def __init__(self, file: str, places: dict[Key, tuple[int, int]]) -> None:
        self.file, self.places, self.count = file, places, 0

    def visit(self, node: yaml.Node, path: Key, depth: int) -> None:
        self.count += 1
        if depth > MAX_DEPTH:
            raise self._error(node, f"is nested more than {MAX_DEPTH} levels deep")
        if self.count > MAX_NODES:
            raise self._error(node, f"has more than {MAX_NODES} parts (aliases counted each time)")
        self.places[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            self._mapping(node, path, depth)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.visit(item, (*path, index), depth + 1)

    def _mapping(self, node: yaml.MappingNode, path: Key, depth: int) -> None:
        seen: set[tuple[str, str]] = set()
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is not None and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, name) in seen:
                    raise self._error(key, f"has the key '{name}' twice", "remove one of them")
                seen.add((key.tag, name))
            entry = (*path, name)
            self.visit(value, entry, depth + 1)
            self.visit(key, entry, depth + 1)  # last, so that errors about an entry point at its key

    def _error(self, node: yaml.Node, message: str, hint: str = "") -> ProjectError:
        mark = node.start_mark
        return ProjectError(message, hint, file=self.file, line=mark.line + 1, column=mark.column + 1)
