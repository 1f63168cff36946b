"""Two runs side by side, their sources restored."""

from __future__ import annotations

from contextlib import ExitStack

from projrun.compare.records import compare
from projrun.compare.sidebyside import SideBySide, SourceDiff, side_by_side
from projrun.compare.trees import changed
from projrun.errors import ProjrunError
from projrun.home import Home
from projrun.plan import Source, VerifyRules
from projrun.record import Record
from projrun.runner.finding import Found, restored


def differing(first: Found, second: Found, home: Home) -> SideBySide:
    """What is not the same in two runs. A source that cannot be had is a line in it, not an error."""
    comparison = compare(first.record, second.record, VerifyRules(), (first.content, second.content))
    return side_by_side(first.record, second.record, _of_sources(first, second, home), comparison)


def _of_sources(first: Found, second: Found, home: Home) -> SourceDiff:
    one, other = first.record, second.record
    shown = SourceDiff(first=_shown(one.plan.source), second=_shown(other.plan.source))
    if _equal(one, other):
        return shown
    with ExitStack() as stack:
        try:
            trees = [restored(found, home, stack).root for found in (first, second)]
            return SourceDiff(first=shown.first, second=shown.second, files=tuple(changed(*trees)))
        except ProjrunError as error:
            unknown = f"the files cannot be compared: {error}"
            return SourceDiff(first=shown.first, second=shown.second, unknown=unknown)


def _equal(one: Record, other: Record) -> bool:
    """Told from the records alone: the same commit and the same difference from it, or the same archive."""
    a, b = one.closure, other.closure
    if a is None or b is None or (a.commit, a.sha256, a.unkept) != (b.commit, b.sha256, b.unkept):
        return False
    return bool(a.commit or a.sha256)


def _shown(source: Source) -> str:
    below = f"#{source.subdirectory}" if source.subdirectory and "#" not in source.uri else ""
    commit = f" at {source.commit[:12]}" if source.commit else ""
    return f"{source.repository or source.uri}{below}{commit}{' with changes' if source.dirty else ''}"
