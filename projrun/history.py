"""The Git history between the commits of two runs."""

from __future__ import annotations

import msgspec

from projrun.console import one_line


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    id: str  # in full
    author: str
    date: str  # author's date, RFC 3339 with the author's offset from UTC
    subject: str


class Rename(msgspec.Struct, frozen=True, kw_only=True):
    before: str
    after: str


class History(msgspec.Struct, frozen=True, kw_only=True):
    # The newest commits of the second run that the first run lacks, newest first
    added: tuple[Commit, ...] = ()
    added_count: int = 0
    # The newest commits of the first run that the second run lacks, newest first
    dropped: tuple[Commit, ...] = ()
    dropped_count: int = 0
    renames: tuple[Rename, ...] = ()  # files that have another name in the second commit, sorted
    unknown: str = ""  # the reason why the history cannot be shown; empty when it is


def describe_commit(commit: Commit) -> str:
    return one_line(f"{commit.id[:12]} {commit.date[:10]} {commit.author}: {commit.subject}", 150)


def describe_history(history: History) -> list[str]:
    """Return one line for each commit and rename, or the line that says why there are none."""
    if history.unknown:
        return [history.unknown]
    lines: list[str] = []
    for sign, commits, count in (
        ("+", history.added, history.added_count),
        ("-", history.dropped, history.dropped_count),
    ):
        lines += (f"{sign} {describe_commit(commit)}" for commit in commits)
        if count > len(commits):
            lines.append(f"{sign} {count - len(commits)} more")
    return [*lines, *(f"renamed {rename.before} -> {rename.after}" for rename in history.renames)]
