"""Show two runs side by side, as text, JSON or a page of HTML: inputs, results and surroundings."""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from difflib import unified_diff
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Literal

import msgspec

from projrun.compare import ComparedResult, Comparison, Difference
from projrun.console import json_text, one_line, style_state, style_text
from projrun.disk.file_operations import sha256_file
from projrun.disk.file_tree import list_files
from projrun.history import History, describe_history
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
    """A value that differs between two runs; it is empty in the run that lacks it."""

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
    shown = {("source", "commit"), ("source", "tree"), *(("lock", name) for name in packages)}
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
            if (difference.determinant, difference.name) not in shown
            and not _is_parameter(difference, first, second, names)
        ),
    )


def _is_parameter(difference: Difference, first: Record, second: Record, names: set[str]) -> bool:
    # Seeds and counts of threads are listed by name, whether they are parameters or environment variables
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
    old, new = list_files(first), list_files(second)
    for name in sorted({*old, *new}):
        left, right = old.get(name), new.get(name)
        if left is None or right is None or not _are_equal(left, right):
            yield _changed_file(os.fsencode(name).decode(errors="backslashreplace"), left, right)


def _are_equal(left: Path, right: Path) -> bool:
    if left.is_symlink() or right.is_symlink():
        return _link(left) == _link(right)
    if _mode(left) != _mode(right) or left.stat().st_size != right.stat().st_size:
        return False
    return sha256_file(left) == sha256_file(right)


def _link(path: Path) -> str | None:
    return os.readlink(path) if path.is_symlink() else None


def _mode(path: Path | None) -> str:
    if path is None or path.is_symlink():
        return ""
    return "executable" if path.stat().st_mode & 0o100 else "not executable"


def _changed_file(name: str, left: Path | None, right: Path | None) -> ChangedFile:
    change: Literal["added", "removed", "changed"] = (
        "added" if left is None else "removed" if right is None else "changed"
    )
    a, b = _read_lines(left), _read_lines(right)
    modes = _mode(left), _mode(right)
    note = f"{modes[0]}, then {modes[1]}" if all(modes) and modes[0] != modes[1] else ""
    if a is None or b is None:
        return ChangedFile(path=name, change=change, note=note or "not text, or too large to be shown")
    names = ("/dev/null" if left is None else f"a/{name}", "/dev/null" if right is None else f"b/{name}")
    lines = unified_diff(a, b, *names)
    # As git does: difflib would join a last line without an end with the next one
    ended = (line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    return ChangedFile(path=name, change=change, diff="".join(ended), note=note)


def _read_lines(path: Path | None) -> list[str] | None:
    """Return the lines of a file; None if it is not text or too large."""
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
        # Not splitlines, which also splits at a form feed and the like: git does not
        *lines, last = content.decode().split("\n")
    except UnicodeDecodeError:
        return None
    return [*(f"{line}\n" for line in lines), *([last] if last else [])]


# The longest part of a line of a file, in characters, that people are shown; JSON has the whole line.
LONGEST = 300
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
# The colours of kinds of change, and of the lines of a unified diff by their first character.
_COLOURS = {"added": "green", "removed": "red", "changed": "yellow", "+": "green", "-": "red", "@": "dim"}

# Takes a text and the key of its colour, and returns the text with the codes of a terminal.
Paint = Callable[[str, str], str]


def text(runs: SideBySide, *, on_screen: bool = False) -> str:
    """Format for people. on_screen: stdout gets it, with colours if that is a terminal."""
    return "\n".join(_lines(runs, _paint if on_screen else lambda text, _: text))


def _paint(text: str, word: str) -> str:
    return style_text(text, _COLOURS[word], sys.stdout) if word in _COLOURS else style_state(text, sys.stdout)


def _lines(runs: SideBySide, paint: Paint) -> Iterator[str]:
    yield f"first   run {runs.first[:8]}  {runs.source.first}"
    yield f"second  run {runs.second[:8]}  {runs.source.second}"
    if runs.same:
        yield "\n" + paint("nothing differs", "added")
        return
    if runs.source.unknown:
        yield f"\nsource: {one_line(runs.source.unknown)}"
    if runs.source.history:
        yield "\ncommits"
        for line in describe_history(runs.source.history):
            yield f"  {paint(line, line[:1])}"
    if runs.source.files:
        yield "\nsource"
        for file in runs.source.files:
            yield _format_file(file, paint)
    for title, changes in (("packages", runs.lock), ("parameters", runs.parameters)):
        if changes:
            yield f"\n{title}"
            yield from (f"  {paint(_format_value(value), value.change)}" for value in changes)
    if runs.results:
        yield "\nresults"
        for result in runs.results:
            detail = f" ({result.detail})" if result.detail else ""
            if result.kind == "status":
                values = f"{_paint_status(result.first, paint)}, then {_paint_status(result.second, paint)}"
                yield f"  {one_line(result.name)}: {values}{one_line(detail)}"
            else:
                values = f"{result.first or 'none'}, then {result.second or 'none'}"
                yield f"  {one_line(f'{result.kind} {result.name}: {values}{detail}')}"
    if runs.surroundings:
        yield "\nsurroundings"
        for difference in runs.surroundings:
            name = f" {difference.name}" if difference.name else ""
            values = f"{difference.first}, then {difference.second}"
            yield f"  {one_line(f'{difference.determinant}{name}: {values}')}"


def _format_value(value: ChangedValue) -> str:
    both = f"{value.first} -> {value.second}" if value.change == "changed" else value.first or value.second
    return one_line(f"{_SIGNS[value.change]} {value.name} {both}")


def _paint_status(text: str, paint: Paint) -> str:
    status, comma, code = text.partition(",")
    return f"{paint(status, status)}{comma}{code}"


def _format_file(file: ChangedFile, paint: Paint) -> str:
    note = f" ({file.note})" if file.note else ""
    head = f"  {paint(file.change, file.change)} {one_line(file.path)}{note}"
    lines = file.diff.rstrip("\n").split("\n") if file.diff else ()
    return "\n".join([head, *(paint(printable_line(line), line[:1]) for line in lines)])


def printable_line(line: str) -> str:
    """Cut a line of a stranger's file, and replace the characters that a terminal would obey."""
    printable = "".join(char if char.isprintable() or char == "\t" else "�" for char in line[:LONGEST])
    return f"{printable}…" if len(line) > LONGEST else printable


def json(runs: SideBySide) -> str:
    return json_text({"same": runs.same, **msgspec.to_builtins(runs)})


_LINES = {"+": "added", "-": "removed", "@": "place"}


def html(runs: SideBySide) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["line_class"] = lambda line: _LINES.get(line[:1], "")
    environment.filters["shown"] = printable_line
    environment.filters["describe_history"] = describe_history
    text = (files("projrun.compare") / "diff.html").read_text("utf-8")
    style = text.partition("<style>")[2].partition("</style>")[0]
    # The page's own policy allows this one style sheet and no script, whatever a project's files hold
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return environment.from_string(text).render(runs=runs, style_digest=digest)


FORMATS: dict[str, Callable[[SideBySide], str]] = {"text": text, "json": json, "html": html}
