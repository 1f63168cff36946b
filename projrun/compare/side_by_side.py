"""Two runs side by side, whole: what went in, what came out, and where they ran."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from pathlib import Path
from typing import Literal

import msgspec

from projrun.compare import ComparedResult, Comparison, Difference
from projrun.disk.file_operations import sha256_file
from projrun.disk.file_tree import list_files
from projrun.history import History
from projrun.record import Environment, Record


class ChangedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the source that differs between two runs."""

    path: str
    change: Literal["added", "removed", "changed"]
    # Unified; empty for what is not text, or too large to be shown.
    diff: str = ""
    # Why there is no diff.
    note: str = ""


class SourceDiff(msgspec.Struct, frozen=True, kw_only=True):
    # The origin and the commit of each source, in one line.
    first: str
    second: str
    files: tuple[ChangedFile, ...] = ()
    # Why the files could not be compared; empty when they were.
    unknown: str = ""
    # The commits between the two; None where both are of the same commit or were recorded without one.
    history: History | None = None


class ChangedValue(msgspec.Struct, frozen=True, kw_only=True):
    """A value that differs between two runs; empty in the run that lacks it."""

    name: str
    first: str = ""
    second: str = ""

    @property
    def change(self) -> str:
        return "added" if not self.first else "removed" if not self.second else "changed"


class SideBySide(msgspec.Struct, frozen=True, kw_only=True):
    # The ids of the two runs.
    first: str
    second: str
    source: SourceDiff
    # Packages and their versions.
    lock: tuple[ChangedValue, ...]
    parameters: tuple[ChangedValue, ...]
    # Status, metrics and outputs that differ, compared exactly.
    results: tuple[ComparedResult, ...]
    # All else that determines results: inputs, Python, variables, machine.
    surroundings: tuple[Difference, ...]

    @property
    def same(self) -> bool:
        parts = (self.source.files, self.lock, self.parameters, self.results, self.surroundings)
        return not any(parts) and not self.source.unknown


def side_by_side(first: Record, second: Record, source: SourceDiff, comparison: Comparison) -> SideBySide:
    """Return the two runs side by side. comparison: their comparison by exact rules."""
    packages = {*_packages(first.environment), *_packages(second.environment)}
    told = {("source", "commit"), ("source", "tree"), *(("lock", name) for name in packages)}
    names = {*first.plan.parameters, *second.plan.parameters}
    return SideBySide(
        first=first.run_id,
        second=second.run_id,
        source=source,
        lock=tuple(_pairs(_packages(first.environment), _packages(second.environment))),
        parameters=tuple(_pairs(first.plan.parameters, second.plan.parameters)),
        results=comparison.bad,
        surroundings=tuple(
            difference
            for difference in comparison.differences
            if (difference.determinant, difference.name) not in told
            and not _is_parameter(difference, first, second, names)
        ),
    )


def _is_parameter(difference: Difference, first: Record, second: Record, names: set[str]) -> bool:
    """Return True for a seed or thread count that is shown as a parameter, not as a variable of that name."""
    name = difference.name
    values = tuple(record.plan.parameters.get(name, "not set") for record in (first, second))
    return name in names and values == (difference.first, difference.second)


def _packages(environment: Environment | None) -> dict[str, str]:
    return {package.name: package.version for package in environment.packages} if environment else {}


def _pairs(first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[ChangedValue]:
    for name in sorted({*first, *second}):
        left, right = first.get(name), second.get(name)
        if left != right:
            yield ChangedValue(name=name, first=_shown(left), second=_shown(right))


def _shown(value: str | None) -> str:
    """Quote an empty value, to tell it from a missing one."""
    return "" if value is None else value or "''"


# The largest file, in bytes, of which a diff is made.
MAX_TEXT = 1_000_000


def compare_trees(first: Path, second: Path) -> Iterator[ChangedFile]:
    """Yield the files and links that differ, by name; Git's own are left out."""
    ones, others = list_files(first), list_files(second)
    for name in sorted({*ones, *others}):
        left, right = ones.get(name), others.get(name)
        if left is None or right is None or not _same(left, right):
            yield _change(os.fsencode(name).decode(errors="backslashreplace"), left, right)


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


def _change(name: str, one: Path | None, other: Path | None) -> ChangedFile:
    change: Literal["added", "removed", "changed"] = (
        "added" if one is None else "removed" if other is None else "changed"
    )
    a, b = _lines(one), _lines(other)
    modes = _mode(one), _mode(other)
    note = f"{modes[0]}, then {modes[1]}" if all(modes) and modes[0] != modes[1] else ""
    if a is None or b is None:
        return ChangedFile(path=name, change=change, note=note or "not text, or too large to be shown")
    names = ("/dev/null" if one is None else f"a/{name}", "/dev/null" if other is None else f"b/{name}")
    lines = (_ended(line) for line in unified_diff(a, b, *names))
    return ChangedFile(path=name, change=change, diff="".join(lines), note=note)


def _lines(path: Path | None) -> list[str] | None:
    """Return the lines of a file, None where it is not text."""
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
        *lines, last = content.decode().split("\n")
    except UnicodeDecodeError:
        return None
    return [*(f"{line}\n" for line in lines), *([last] if last else [])]


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
