"""Two trees of files: which differ, and how."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path
from typing import Literal

from projrun.compare.sidebyside import Changed
from projrun.digests import sha256_file

MAX_TEXT = 1_000_000
"""Bytes of a file of which a diff is made."""


def changed(first: Path, second: Path) -> Iterator[Changed]:
    """Files and links, by name; what is Git's own is left out."""
    ones, others = _files(first), _files(second)
    for name in sorted({*ones, *others}):
        one, other = ones.get(name), others.get(name)
        if one is None or other is None or not _same(one, other):
            yield _change(os.fsencode(name).decode(errors="backslashreplace"), one, other)


def _files(root: Path) -> dict[str, Path]:
    found = {}
    for directory, names, files in os.walk(root):
        names[:] = [name for name in names if name != ".git"]
        links = [name for name in names if os.path.islink(os.path.join(directory, name))]
        for name in (*files, *links):
            path = Path(directory, name)
            found[path.relative_to(root).as_posix()] = path
    found.pop(".git", None)
    return found


def _same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return _link(one) == _link(other)
    if _mode(one) != _mode(other) or one.stat().st_size != other.stat().st_size:
        return False
    return sha256_file(one) == sha256_file(other)


def _link(path: Path) -> str | None:
    return os.readlink(path) if path.is_symlink() else None


def _mode(path: Path | None) -> str:
    if path is None or path.is_symlink():
        return ""
    return "executable" if path.stat().st_mode & 0o100 else "not executable"


def _change(name: str, one: Path | None, other: Path | None) -> Changed:
    change: Literal["added", "removed", "changed"] = (
        "added" if one is None else "removed" if other is None else "changed"
    )
    a, b = _lines(one), _lines(other)
    modes = _mode(one), _mode(other)
    note = f"{modes[0]}, then {modes[1]}" if all(modes) and modes[0] != modes[1] else ""
    if a is None or b is None:
        return Changed(path=name, change=change, note=note or "not text, or too large to be shown")
    names = ("/dev/null" if one is None else f"a/{name}", "/dev/null" if other is None else f"b/{name}")
    lines = (_ended(line) for line in unified_diff(a, b, *names))
    return Changed(path=name, change=change, diff="".join(lines), note=note)


def _lines(path: Path | None) -> list[str] | None:
    """None for what is not text."""
    if path is None:
        return []
    if path.is_symlink():
        return [f"link to {os.readlink(path)}\n"]
    if path.stat().st_size > MAX_TEXT:
        return None
    content = path.read_bytes()
    if b"\0" in content:
        return None
    try:
        return [f"{line}\n" for line in content.decode().split("\n")[:-1]] + _rest(content.decode())
    except UnicodeDecodeError:
        return None


def _rest(text: str) -> list[str]:
    last = text.rpartition("\n")[2]
    return [last] if last else []


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
