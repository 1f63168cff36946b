"""Two runs side by side, as text, JSON or a page of HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from projrun.compare.sidebyside import Changed, Pair, SideBySide
from projrun.output import json_text, one_line

LONGEST = 300
"""Characters of a line that are shown; JSON has all of them."""


def text(found: SideBySide) -> str:
    return "\n".join(_lines(found))


def _lines(found: SideBySide) -> Iterator[str]:
    yield f"first   run {found.first[:8]}  {found.source.first}"
    yield f"second  run {found.second[:8]}  {found.source.second}"
    if found.same:
        yield "\nnothing differs"
        return
    if found.source.unknown:
        yield f"\nsource: {one_line(found.source.unknown)}"
    if found.source.files:
        yield "\nsource"
        for file in found.source.files:
            yield _file(file)
    for title, pairs in (("packages", found.lock), ("parameters", found.parameters)):
        if pairs:
            yield f"\n{title}"
            yield from (f"  {_pair(pair)}" for pair in pairs)
    if found.results:
        yield "\nresults"
        for one in found.results:
            detail = f" ({one.detail})" if one.detail else ""
            values = f"{one.first or 'none'}, then {one.second or 'none'}"
            name = one.name if one.kind == "status" else f"{one.kind} {one.name}"
            yield f"  {one_line(f'{name}: {values}{detail}')}"
    if found.surroundings:
        yield "\nsurroundings"
        for difference in found.surroundings:
            name = f" {difference.name}" if difference.name else ""
            values = f"{difference.first}, then {difference.second}"
            yield f"  {one_line(f'{difference.determinant}{name}: {values}')}"


def _pair(pair: Pair) -> str:
    sign = {"added": "+", "removed": "-", "changed": "~"}[pair.change]
    values = f"{pair.first} -> {pair.second}" if pair.change == "changed" else pair.first or pair.second
    return one_line(f"{sign} {pair.name} {values}")


def _file(file: Changed) -> str:
    note = f" ({file.note})" if file.note else ""
    head = f"  {file.change} {one_line(file.path)}{note}"
    return "\n".join([head, *map(shown, file.diff.rstrip("\n").split("\n") if file.diff else ())])


def shown(line: str) -> str:
    """A line of a project's file: it may be endless, or hold what a terminal takes for commands."""
    printable = "".join(char if char.isprintable() or char == "\t" else "�" for char in line[:LONGEST])
    return f"{printable}…" if len(line) > LONGEST else printable


def json(found: SideBySide) -> str:
    content = {"same": found.same, **msgspec.to_builtins(found)}
    return json_text(content)


def html(found: SideBySide) -> str:
    from projrun.compare.page import page

    return page(found, shown)


FORMATS: dict[str, Callable[[SideBySide], str]] = {"text": text, "json": json, "html": html}
