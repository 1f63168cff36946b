"""Parse YAML from strangers: safe types only, limits on size and depth, positions for error messages."""

from __future__ import annotations

from typing import Any

import yaml

from projrun.documents import Document, Key, Scalar
from projrun.errors import ProjectError

MAX_DEPTH = 40
MAX_NODES = 20_000
_HARMLESS_BYTES = 2_000  # a file of this size cannot be so deep that it exhausts the stack

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(content: bytes | str, file: str, tolerated: list[ProjectError] | None = None) -> Document:
    """Return the document in `content`. Raises ProjectError with file, line and column; see `load_yaml`."""
    loader = None
    try:
        if len(content) > _HARMLESS_BYTES:
            _check_size(content, file)
        loader = _Loader(content)
        node = loader.get_single_node()
        if node is None:
            return Document(file, None, {(): (1, 1)})
        walk = _Walk(file, tolerated)
        walk.visit(node, (), 1)
        return Document(file, loader.construct_document(node), walk.positions, walk.scalars, content)
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
        # PyYAML lets the constructor's error through for a scalar such as 2001-99-99, which is no date
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


def _check_size(content: bytes | str, file: str) -> None:
    # libyaml makes nodes recursively and crashes at some depth, so depth and size are counted by its events
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


def _problem(error: yaml.MarkedYAMLError) -> str:
    context = f" {error.context}" if error.context else ""
    return f"{error.problem or 'syntax error'}{context}"


class _Walk:
    """Visit every node, aliases each time they occur; note positions and enforce the limits."""

    def __init__(self, file: str, tolerated: list[ProjectError] | None) -> None:
        self.file, self.tolerated, self.count = file, tolerated, 0
        self.positions: dict[Key, tuple[int, int]] = {}
        self.scalars: dict[Key, Scalar] = {}

    def visit(self, node: yaml.Node, path: Key, depth: int) -> None:
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_NODES:
            raise _too_large(self.file, node.start_mark, deep=depth > MAX_DEPTH)
        self.positions[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            self._mapping(node, path, depth)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.visit(item, (*path, index), depth + 1)
        elif isinstance(node, yaml.ScalarNode):
            start, end = node.start_mark, node.end_mark
            style = node.style or ""
            self.scalars[path] = Scalar(
                node.value, style, start.index, end.index, start.line + 1, start.column + 1
            )

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
            # The key is visited last, so that an error about an entry points at its key
            self.visit(key, entry, depth + 1)
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
