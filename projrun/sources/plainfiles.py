"""The files of a directory that no Git knows, but for what `.projrunignore` leaves out."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator

import msgspec

from projrun.errors import SourceError

IGNORE_FILE = ".projrunignore"
MAX_FILES = 50_000
DEFAULTS = """
.git/
.hg/
.svn/
__pycache__/
*.py[co]
.ipynb_checkpoints/
.pytest_cache/
.mypy_cache/
.ruff_cache/
.tox/
.nox/
.venv/
venv/
node_modules/
mlruns/
mlflow.db
.DS_Store
.env
.netrc
"""
"""What is made anew, and what holds secrets. A later `!name` in the ignore file takes it in again."""


class Pattern(msgspec.Struct, frozen=True):
    name: str
    """The last part of what it fits, where it is that and nothing else: making an expression takes longer."""
    expression: re.Pattern[str] | None
    takes_in: bool
    directories_only: bool

    def fits(self, path: str) -> bool:
        if self.expression is None:
            return path.rpartition("/")[2] == self.name
        return self.expression.fullmatch(path) is not None


def files_below(top: str, without: Collection[str] = ()) -> list[str]:
    """Names below `top`, sorted: files, links, and directories with nothing in them. Raises SourceError.

    without: names of directories that are left out.
    """
    patterns = [*patterns_of(DEFAULTS), *patterns_of(_own_patterns(top))]
    names: list[str] = []
    for name in _walk(top, "", patterns, without):
        names.append(name)
        if len(names) > MAX_FILES:
            raise SourceError(
                f"{top} holds more than {MAX_FILES} files", f"name what is not source in a {IGNORE_FILE} file"
            )
    return sorted(names)


def every_file_below(top: str) -> list[str]:
    """The same with nothing left out but Git's own directory at the top."""
    return sorted(_walk(top, "", patterns_of("/.git")))


def _own_patterns(top: str) -> str:
    try:
        with open(os.path.join(top, IGNORE_FILE), encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _walk(top: str, below: str, patterns: list[Pattern], without: Collection[str] = ()) -> Iterator[str]:
    with os.scandir(os.path.join(top, below)) as entries:
        for entry in entries:
            name = below + entry.name
            is_directory = entry.is_dir(follow_symlinks=False)
            if name in without or _ignored(name, is_directory, patterns):
                continue
            if is_directory:
                inner = os.listdir(entry.path)
                if "pyvenv.cfg" not in inner:  # a virtual environment, whatever its name
                    yield from _walk(top, f"{name}/", patterns, without) if inner else (name,)
            elif entry.is_symlink() or entry.is_file():
                yield name


def _ignored(name: str, is_directory: bool, patterns: list[Pattern]) -> bool:
    """The last pattern that fits decides."""
    for pattern in reversed(patterns):
        if (is_directory or not pattern.directories_only) and pattern.fits(name):
            return not pattern.takes_in
    return False


def patterns_of(text: str) -> list[Pattern]:
    """gitignore's syntax: https://git-scm.com/docs/gitignore"""
    patterns = []
    for line in text.splitlines():
        written = re.sub(r"(?<!\\) +$", "", line)
        if not written or written.startswith("#"):
            continue
        takes_in = written.startswith("!")
        written = written.removeprefix("!") if takes_in else written
        directories_only = written.endswith("/")
        anchored = "/" in written.rstrip("/")
        name = written.strip("/")
        expression = None
        if anchored or _SPECIAL.search(name):
            whole = _expression(name) if anchored else f"(?:.*/)?{_expression(name)}"
            expression = re.compile(whole, re.DOTALL)
        patterns.append(Pattern(name, expression, takes_in, directories_only))
    return patterns


_SPECIAL = re.compile(r"[*?\[\\]")
_PIECES = (
    (r"\*\*/", r"(?:.*/)?"),
    (r"/\*\*$", r"/.*"),
    (r"\*+", r"[^/]*"),
    (r"\?", r"[^/]"),
)


def _expression(glob: str) -> str:
    result, at = "", 0
    while at < len(glob):
        for piece, meaning in _PIECES:
            if match := re.compile(piece).match(glob, at):
                result, at = result + meaning, match.end()
                break
        else:
            bracket = re.compile(r"\[([!^]?)(\]?[^\]]*)\]").match(glob, at)
            if bracket:
                inside = bracket[2].replace("\\", r"\\").replace("[", r"\[").replace("]", r"\]")
                result, at = f"{result}[{'^/' if bracket[1] else ''}{inside}]", bracket.end()
            else:
                at += glob[at] == "\\" and at + 1 < len(glob)
                result, at = result + re.escape(glob[at]), at + 1
    return result
