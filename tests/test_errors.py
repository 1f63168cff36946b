"""Every error that a user can meet names the next step: read from the syntax tree."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from projrun import errors
from tests.support.syntax import FILES, PACKAGE, nodes_of

WITHOUT_HINT = {
    ("project/conventions.py", "ProjectError"): "the fault says itself what to write where",
}
"""File and class of errors that are raised without one, and why."""


def classes() -> set[str]:
    """ProjrunError and all that come from it, wherever they are."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for file in FILES
        for node in nodes_of(file)
        if isinstance(node, ast.ClassDef)
    }
    found = {"ProjrunError"}
    while more := {name for name, of in bases.items() if of & found} - found:
        found |= more
    return found


CLASSES = classes()


def made_without_hint(file: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield errors made without a hint. Those with MLflow's error code answer a program, which needs none."""
    for node in nodes_of(file):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        keywords = {keyword.arg for keyword in node.keywords}
        hint = node.args[1] if len(node.args) > 1 else None
        is_empty = isinstance(hint, ast.Constant) and not hint.value
        if node.func.id in CLASSES and (hint is None or is_empty) and not keywords & {"hint", "error_code"}:
            yield node.func.id, node


def test_the_classes_are_found() -> None:
    assert {"SourceError", "TrackingError", "WebError", "EngineError"} <= CLASSES


def test_the_tree_in_the_docstring_is_whole() -> None:
    assert set(re.findall(r"\b[A-Z]\w+Error\b", str(errors.__doc__))) == CLASSES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_every_error_names_the_next_step(file: Path) -> None:
    name = file.relative_to(PACKAGE).as_posix()
    for made, call in made_without_hint(file):
        assert (name, made) in WITHOUT_HINT, f"{name}:{call.lineno}: what shall the user do?"


def test_no_exception_is_left_over() -> None:
    used = set()
    for file in FILES:
        used |= {(file.relative_to(PACKAGE).as_posix(), made) for made, _ in made_without_hint(file)}
    assert set(WITHOUT_HINT) == used
