"""The mechanical part of the rules for names and docstrings (docs/architecture.md, Language)."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from projrun import backends, environments, inputs, sources, tracking
from projrun.cli.verbs import VERBS
from tests.support.repository import ROOT
from tests.support.syntax import FILES, PACKAGE, name_of, nodes_of

TESTS = Path(__file__).parent
NOUNS_IN_ING = {"masking", "tracking"}
"""Words of the field that end like a participle."""
SUBJECTS = {
    ".": {
        *("architecture", "language", "startup", "release", "old_store", "chaos"),
        *("benchmarks", "documented_commands", "examples", "pages", "recipes", "troubleshooting"),
    },
    "backends": {"contract"},
    "cli": {"baseline", "screens", "verbosity"},
    "environments": {"contract", "python_downloads"},
    "environments/conda": {"project_lock"},
    "environments/uv": {"project_lock"},
    "inputs": {"remote_paths"},
    "project": {"arbitrary_input", "bad_input"},
    "server": {"fuzz"},
    "sources": {"safety"},
    "sources/git": {"remote", "submodules"},
    "tracking": {"contract"},
}
"""Directories of tests, and the subjects there that no single module of the package has."""
OF_SEVERAL_ROOMS = {"containers", "real_mlflow", "whole_runs", "support"}
"""Directories of tests, or of what tests use, without a counterpart in the package."""
RIDDLE = re.compile(r"(What|Whether|Where|How|Which|Who|Whose|That|Those|Of|As)\b")


def subject_of(file: Path) -> str:
    """The last part of a module's name."""
    return file.parent.name if file.name == "__init__.py" else file.stem


def docstrings(file: Path) -> Iterator[tuple[int, str]]:
    for node in nodes_of(file):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""


@pytest.mark.parametrize(
    "file", [*FILES, *sorted(TESTS.rglob("*.py"))], ids=lambda file: file.relative_to(ROOT).as_posix()
)
def test_docstrings_are_sentences(file: Path) -> None:
    riddles = [f"{line}: {text.splitlines()[0]}" for line, text in docstrings(file) if RIDDLE.match(text)]
    assert not riddles


def test_modules_are_not_named_by_a_participle() -> None:
    participles = {subject_of(file) for file in FILES if subject_of(file).endswith("ing")}
    assert participles <= NOUNS_IN_ING


def test_a_module_name_is_used_once() -> None:
    """Except where the name is given from outside: the kinds of a station, and the verbs."""
    stations = (backends, environments, inputs, sources, tracking)
    given = {name for station in stations for name in station.KINDS} | set(VERBS)
    files = defaultdict(set)
    for file in FILES:
        files[subject_of(file)].add(name_of(file))
    assert not {
        name: sorted(places) for name, places in files.items() if len(places) > 1 and name not in given
    }


def test_a_public_type_name_is_used_once() -> None:
    files = defaultdict(set)
    for file in FILES:
        for node in nodes_of(file):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                files[node.name].add(name_of(file))
    assert not {name: sorted(places) for name, places in files.items() if len(places) > 1}


def test_tests_mirror_the_package() -> None:
    """tests/ROOM/test_X.py tests the module or package projrun/ROOM/X, or a subject that is listed."""
    strays = []
    for file in sorted(TESTS.rglob("test_*.py")):
        directory = file.parent.relative_to(TESTS)
        subject = file.stem.removeprefix("test_")
        counterpart = PACKAGE / directory / subject
        listed = directory.name in OF_SEVERAL_ROOMS or subject in SUBJECTS.get(directory.as_posix(), ())
        if not (listed or counterpart.with_suffix(".py").is_file() or counterpart.is_dir()):
            strays.append(file.relative_to(TESTS).as_posix())
    assert not strays, "rename the test with its module, or list its subject in SUBJECTS"
