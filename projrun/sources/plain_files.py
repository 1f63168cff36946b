"""The source files of a directory without Git, and the writer of source archives."""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections.abc import Collection
from typing import BinaryIO

import msgspec

from projrun.disk.file_operations import new_sha256
from projrun.disk.file_tree import compile_glob, walk_tree
from projrun.errors import SourceError

IGNORE_FILE = ".projrunignore"
MAX_FILES = 50_000
# Files that are made anew, or hold secrets. `!name` in the ignore file, read later, takes one in again.
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


class Pattern(msgspec.Struct, frozen=True):
    # The last part of matching paths; used for a plain name, because compiling an expression takes longer
    name: str
    expression: re.Pattern[str] | None
    takes_in: bool
    directories_only: bool

    def matches(self, path: str) -> bool:
        if self.expression is None:
            return path.rpartition("/")[2] == self.name
        return self.expression.fullmatch(path) is not None


def list_source_files(top: str, without: Collection[str] = ()) -> list[str]:
    """List files, links and empty directories below `top` that are source, sorted. Raises SourceError.

    without: paths of directories that are left out.
    """
    patterns = [*parse_patterns(DEFAULTS), *parse_patterns(_read_ignore_file(top))]
    names: list[str] = []

    def leave_out(path: str, is_directory: bool) -> bool:
        return path in without or _ignored(path, is_directory, patterns)

    for name, _ in walk_tree(top, leave_out, with_environments=False):
        names.append(name)
        if len(names) > MAX_FILES:
            raise SourceError(
                f"{top} holds more than {MAX_FILES} files", f"name what is not source in a {IGNORE_FILE} file"
            )
    return sorted(names)


def list_all_files(top: str) -> list[str]:
    """List everything but Git's own directory at the top and virtual environments."""
    return sorted(name for name, _ in walk_tree(top, lambda path, _: path == ".git", with_environments=False))


def _read_ignore_file(top: str) -> str:
    try:
        with open(os.path.join(top, IGNORE_FILE), encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _ignored(name: str, is_directory: bool, patterns: list[Pattern]) -> bool:
    """Return True if a path is ignored: the last pattern that matches decides."""
    for pattern in reversed(patterns):
        if (is_directory or not pattern.directories_only) and pattern.matches(name):
            return not pattern.takes_in
    return False


def parse_patterns(lines: str) -> list[Pattern]:
    """Parse the syntax of gitignore: https://git-scm.com/docs/gitignore"""
    patterns = []
    for line in lines.splitlines():
        text = re.sub(r"(?<!\\) +$", "", line)
        if not text or text.startswith("#"):
            continue
        takes_in = text.startswith("!")
        text = text.removeprefix("!") if takes_in else text
        directories_only = text.endswith("/")
        anchored = "/" in text.rstrip("/")
        name = text.strip("/")
        expression = None
        if anchored or _SPECIAL.search(name):
            expression = compile_glob(name, anchored=anchored, double_star="[^/]*")
        patterns.append(Pattern(name, expression, takes_in, directories_only))
    return patterns


_SPECIAL = re.compile(r"[*?\[\\]")

BLOCK = 512
TREE, REMOVED, STATUS = b"tree/", b"removed", b"status"


class SourceArchiveWriter:
    """Write the archive of a source, in the format of GNU tar, whose names are the file system's bytes."""

    # Not by `tarfile`, which takes ten times as long: a run of a dirty working tree waits for it.

    def __init__(self, file: BinaryIO, size: int) -> None:
        """Begin an archive. size: about how much will be written, in bytes."""
        self._file = file
        self._zlib = zlib.compressobj(1, zlib.DEFLATED, 31)
        self._digest = new_sha256(size)
        self.entries = 0

    def add(self, top: str, name: str) -> None:
        """Add the file, link or directory `name` below `top` as it is now. Raises OSError."""
        path = f"{top}/{name}"
        status, raw = os.lstat(path), TREE + os.fsencode(name)
        if stat.S_ISLNK(status.st_mode):
            self._write_entry(raw, b"2", 0, 0o777, os.fsencode(os.readlink(path)))
        elif stat.S_ISDIR(status.st_mode):
            self._write_entry(raw + b"/", b"5", 0, 0o755)
        else:
            with open(path, "rb") as file:
                content = file.read()
            self._write_file(raw, content, 0o755 if status.st_mode & 0o100 else 0o644)
        self.entries += 1

    def note(self, name: bytes, content: bytes) -> None:
        """Add a note about the tree: its removed files or its state."""
        if content:
            self._write_file(name, content, 0o644)

    def close(self) -> str:
        """Finish the archive and return its sha256."""
        self._write(bytes(2 * BLOCK))
        self._write_compressed(self._zlib.flush())
        return str(self._digest.hexdigest())

    def _write_file(self, name: bytes, content: bytes, mode: int) -> None:
        self._write_entry(name, b"0", len(content), mode, content=content + bytes(-len(content) % BLOCK))

    def _write_entry(
        self, name: bytes, kind: bytes, size: int, mode: int, target: bytes = b"", content: bytes = b""
    ) -> None:
        for long_kind, text in ((b"L", name), (b"K", target)):
            if len(text) > 100:  # the fields of a header hold 100 bytes
                self._write(_header(b"././@LongLink", long_kind, len(text) + 1, 0o644))
                self._write(text + bytes(BLOCK - len(text) % BLOCK))
        self._write(_header(name[:100], kind, size, mode, target[:100]) + content)

    def _write(self, data: bytes) -> None:
        self._write_compressed(self._zlib.compress(data))

    def _write_compressed(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)


def _header(name: bytes, kind: bytes, size: int, mode: int, target: bytes = b"") -> bytes:
    fields = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(100, b"\0"), mode, 0, 0, size, 0)
    rest = (kind + target.ljust(100, b"\0") + b"ustar  \0").ljust(BLOCK - 156, b"\0")
    checksum = sum(fields) + sum(b"        ") + sum(rest)
    return b"%b%06o\0 %b" % (fields, checksum, rest)
