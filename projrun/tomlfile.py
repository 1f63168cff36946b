"""TOML: the one file that reads it. The parser is imported when there is something to read."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from projrun.errors import ProjectError
from projrun.yamlfile import MAX_BYTES

_AT = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


def load(path: Path, file: str) -> dict[str, Any]:
    """The document at `path`, called `file` in complaints. Raises ProjectError with its place."""
    try:
        content = path.read_bytes()
        if len(content) > MAX_BYTES:
            raise ProjectError(f"is larger than {MAX_BYTES} bytes", "make it smaller", file=file)
        return parse(content.decode(), file)
    except OSError as error:
        raise ProjectError(f"cannot be read: {error.strerror}", file=file) from None
    except UnicodeDecodeError:
        raise ProjectError("is not UTF-8 text", "save it as UTF-8", file=file) from None


def parse(text: str, file: str, first_line: int = 1) -> dict[str, Any]:
    """first_line: where `text` begins in `file`."""
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
        told = problem[: at.start()] if at else problem
        raise ProjectError(f"is not valid TOML: {told}", "mend it", file=file, line=line) from None
    except RecursionError:
        raise ProjectError("is nested too deeply", "make it flatter", file=file) from None
    return data
