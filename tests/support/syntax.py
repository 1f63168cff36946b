"""The files of the package and their syntax trees, parsed once for all rules that are read from them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "projrun"
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


@cache
def text_of(file: Path) -> str:
    return file.read_text()


@cache
def nodes_of(file: Path) -> tuple[ast.AST, ...]:
    """Return every node of the file's tree, the module first."""
    return tuple(ast.walk(ast.parse(text_of(file))))
