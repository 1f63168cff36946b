"""Read and write TOML. The parser is imported when there is something to read."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from projrun.documents import MAX_BYTES, read_file
from projrun.errors import ProjectError

_AT = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


def load(path: Path, file: str) -> dict[str, Any]:
    """Return the document at `path`, which the user calls `file`. Raises ProjectError with file and line."""
    content = read_file(path, file)
    if len(content) > MAX_BYTES:
        raise ProjectError(f"is larger than {MAX_BYTES} bytes", "make it smaller", file=file)
    try:
        return parse(content.decode(), file)
    except UnicodeDecodeError:
        raise ProjectError("is not UTF-8 text", "save it as UTF-8", file=file) from None


def parse(text: str, file: str, first_line: int = 1) -> dict[str, Any]:
    """Return the document in `text`, which begins at line `first_line` of `file`. Raises ProjectError."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        data: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem = str(error)
        at = _AT.search(problem)
        line = first_line + int(at[1]) - 1 if at and at[1] else 0
        reason = problem[: at.start()] if at else problem
        raise ProjectError(f"is not valid TOML: {reason}", "correct it", file=file, line=line) from None
    except RecursionError:
        raise ProjectError("is nested too deeply", "make it flatter", file=file) from None
    return data


def get_table(document: dict[str, Any], key: str, file: str) -> dict[str, Any]:
    """Return the table at `key`, or {} if there is none. Raises ProjectError for another value."""
    table = document.get(key, {})
    if not isinstance(table, dict):
        raise ProjectError(f"'{key}' is not a table", f"write [{key}] with lines below it", file=file)
    return table


# Not tomli-w, which lays out lists and tables differently: this text enters the keys of environments and the
# digests of locks in records, which would all change.
def dump(document: dict[str, Any]) -> str:
    """Return `document` as TOML; tables below the first level are written inline."""
    plain = [f"{_key(key)} = {_value(value)}" for key, value in document.items() if not _is_tables(value)]
    parts = ["\n".join(plain)]
    for key, value in document.items():
        if isinstance(value, dict):
            parts.append("\n".join([f"[{_key(key)}]", *_lines(value)]))
        elif _is_tables(value):
            parts += ["\n".join([f"[[{_key(key)}]]", *_lines(table)]) for table in value]
    return "\n\n".join(part for part in parts if part) + "\n"


def _is_tables(value: object) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
    )


def _lines(table: dict[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items()]


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: object) -> str:
    import json

    if isinstance(value, dict):
        return "{ " + ", ".join(_lines(value)) + " }" if value else "{}"
    if isinstance(value, list):
        if value and all(isinstance(item, dict) for item in value):
            return "[\n" + "".join(f"    {_value(item)},\n" for item in value) + "]"
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, (str, bool)):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (int, float)):
        return repr(value)
    text: str = value.isoformat()  # type: ignore[attr-defined]  # date, time or datetime
    return text.replace("+00:00", "Z")
