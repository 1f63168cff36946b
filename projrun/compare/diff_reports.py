"""Two runs side by side, as text, JSON or a page of HTML."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from importlib.resources import files

import msgspec

from projrun.compare.side_by_side import ChangedFile, ChangedValue, SideBySide
from projrun.console import json_text, one_line, style_state, style_text
from projrun.history import describe_history

# The longest part of a line, in characters, that people are shown; JSON has the whole line.
LONGEST = 300
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
# The colours of kinds of change, and of the lines of a unified diff by their first character.
_COLOURS = {"added": "green", "removed": "red", "changed": "yellow", "+": "green", "-": "red", "@": "dim"}

# Takes a text and the key of its colour, and returns the text with the codes of a terminal.
Paint = Callable[[str, str], str]


def text(runs: SideBySide, *, on_screen: bool = False) -> str:
    """Format for people. on_screen: it goes to stdout, and has colours there when that is a terminal."""
    return "\n".join(_lines(runs, _painted if on_screen else lambda text, _: text))


def _painted(text: str, word: str) -> str:
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
            yield _file(file, paint)
    for title, pairs in (("packages", runs.lock), ("parameters", runs.parameters)):
        if pairs:
            yield f"\n{title}"
            yield from (f"  {paint(_pair(pair), pair.change)}" for pair in pairs)
    if runs.results:
        yield "\nresults"
        for result in runs.results:
            detail = f" ({result.detail})" if result.detail else ""
            if result.kind == "status":
                values = f"{_outcome(result.first, paint)}, then {_outcome(result.second, paint)}"
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


def _pair(pair: ChangedValue) -> str:
    values = f"{pair.first} -> {pair.second}" if pair.change == "changed" else pair.first or pair.second
    return one_line(f"{_SIGNS[pair.change]} {pair.name} {values}")


def _outcome(text: str, paint: Paint) -> str:
    status, comma, code = text.partition(",")
    return f"{paint(status, status)}{comma}{code}"


def _file(file: ChangedFile, paint: Paint) -> str:
    note = f" ({file.note})" if file.note else ""
    head = f"  {paint(file.change, file.change)} {one_line(file.path)}{note}"
    lines = file.diff.rstrip("\n").split("\n") if file.diff else ()
    return "\n".join([head, *(paint(printable_line(line), line[:1]) for line in lines)])


def printable_line(line: str) -> str:
    """Cut a line of a project's file, and replace what a terminal would take for commands."""
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
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return environment.from_string(text).render(found=runs, style_digest=digest)


FORMATS: dict[str, Callable[[SideBySide], str]] = {"text": text, "json": json, "html": html}
