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

LONGEST = 300
"""Characters of a line that are shown; JSON has all of them."""
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_COLOURS = {"added": "green", "removed": "red", "changed": "yellow", "+": "green", "-": "red", "@": "dim"}
"""Of what has become of something, and of the lines of a unified diff by their first sign."""

Paint = Callable[[str, str], str]
"""Text, and the word that says its colour, to what is shown."""


def text(found: SideBySide, *, on_screen: bool = False) -> str:
    """Format for people. on_screen: it goes to stdout, and has colours there when that is a terminal."""
    return "\n".join(_lines(found, _painted if on_screen else lambda text, _: text))


def _painted(text: str, word: str) -> str:
    return style_text(text, _COLOURS[word], sys.stdout) if word in _COLOURS else style_state(text, sys.stdout)


def _lines(found: SideBySide, paint: Paint) -> Iterator[str]:
    yield f"first   run {found.first[:8]}  {found.source.first}"
    yield f"second  run {found.second[:8]}  {found.source.second}"
    if found.same:
        yield "\n" + paint("nothing differs", "added")
        return
    if found.source.unknown:
        yield f"\nsource: {one_line(found.source.unknown)}"
    if found.source.history:
        yield "\ncommits"
        for line in describe_history(found.source.history):
            yield f"  {paint(line, line[:1])}"
    if found.source.files:
        yield "\nsource"
        for file in found.source.files:
            yield _file(file, paint)
    for title, pairs in (("packages", found.lock), ("parameters", found.parameters)):
        if pairs:
            yield f"\n{title}"
            yield from (f"  {paint(_pair(pair), pair.change)}" for pair in pairs)
    if found.results:
        yield "\nresults"
        for one in found.results:
            detail = f" ({one.detail})" if one.detail else ""
            values = f"{one.first or 'none'}, then {one.second or 'none'}"
            if one.kind == "status":
                values = f"{_outcome(one.first, paint)}, then {_outcome(one.second, paint)}"
                yield f"  {one_line(one.name)}: {values}{one_line(detail)}"
            else:
                yield f"  {one_line(f'{one.kind} {one.name}: {values}{detail}')}"
    if found.surroundings:
        yield "\nsurroundings"
        for difference in found.surroundings:
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


def json(found: SideBySide) -> str:
    content = {"same": found.same, **msgspec.to_builtins(found)}
    return json_text(content)


def html(found: SideBySide) -> str:

    return page(found, printable_line)


FORMATS: dict[str, Callable[[SideBySide], str]] = {"text": text, "json": json, "html": html}


_LINES = {"+": "added", "-": "removed", "@": "place"}


def page(found: SideBySide, printable_line: Callable[[str], str]) -> str:
    """Render the page. shown: the function that makes a line of a project's file printable."""
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
    return environment.from_string(text).render(found=found, style_digest=digest)
