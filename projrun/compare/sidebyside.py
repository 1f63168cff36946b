"""Two runs side by side, whole: what went in, what came out, and where they ran."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from projrun.compare import Comparison, Difference, Finding
from projrun.record import Environment, Record


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the source that is not the same in both."""

    path: str
    change: Literal["added", "removed", "changed"]
    diff: str = ""
    """Unified; empty for what is not text, or too large to be shown."""
    note: str = ""
    """Why there is no diff."""


class SourceDiff(msgspec.Struct, frozen=True, kw_only=True):
    first: str
    """Where it is from and which it is, in one line."""
    second: str
    files: tuple[Changed, ...] = ()
    unknown: str = ""
    """Why the files could not be compared; empty when they were."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in both runs, where it is not the same. Empty: it is not there."""

    name: str
    first: str = ""
    second: str = ""

    @property
    def change(self) -> str:
        return "added" if not self.first else "removed" if not self.second else "changed"


class SideBySide(msgspec.Struct, frozen=True, kw_only=True):
    first: str
    """Run id."""
    second: str
    source: SourceDiff
    lock: tuple[Pair, ...]
    """Packages and their versions."""
    parameters: tuple[Pair, ...]
    results: tuple[Finding, ...]
    """Status, metrics and outputs that differ, compared exactly."""
    surroundings: tuple[Difference, ...]
    """All else that determines results: inputs, Python, variables, machine."""

    @property
    def same(self) -> bool:
        parts = (self.source.files, self.lock, self.parameters, self.results, self.surroundings)
        return not any(parts) and not self.source.unknown


def side_by_side(first: Record, second: Record, source: SourceDiff, comparison: Comparison) -> SideBySide:
    """comparison: of the two, by exact rules."""
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
            one
            for one in comparison.differences
            if (one.determinant, one.name) not in told and not _is_parameter(one, first, second, names)
        ),
    )


def _is_parameter(one: Difference, first: Record, second: Record, names: set[str]) -> bool:
    """Seeds and threads may be parameters: those are told of already. A variable may have the same name."""
    values = tuple(record.plan.parameters.get(one.name, "not set") for record in (first, second))
    return one.name in names and values == (one.first, one.second)


def _packages(environment: Environment | None) -> dict[str, str]:
    return {one.name: one.version for one in environment.packages} if environment else {}


def _pairs(first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[Pair]:
    for name in sorted({*first, *second}):
        one, other = first.get(name), second.get(name)
        if one != other:
            yield Pair(name=name, first=_shown(one), second=_shown(other))


def _shown(value: str | None) -> str:
    """A value that is empty is not one that is missing."""
    return "" if value is None else value or "''"
