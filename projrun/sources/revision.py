"""Versions that people ask for, and the commits that they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from projrun.errors import SourceError

FULL_ID = re.compile(r"[0-9a-fA-F]{40}(?:[0-9a-fA-F]{24})?")
SHORT_ID = re.compile(r"[0-9a-fA-F]{4,64}")
EXPRESSION = re.compile(r".*([~^]|@\{|-g[0-9a-f]{4,}$)")
"""`v1~2`, `main^`, and what `git describe` prints."""


@dataclass(frozen=True)
class Revision:
    commit: str
    """Full id."""
    branch: str = ""
    """The branch that was asked for or is the default; empty for tags and commits."""


def check_version(version: str) -> None:
    if version.startswith("-") or not version.isprintable() or len(version) > 1000:
        raise SourceError(f"{version!r} cannot be a version", "give a branch, a tag or a commit")


def unknown_revision(version: str, repository: str, names: Iterable[str]) -> SourceError:
    """names: the branches and tags that there are."""
    from difflib import get_close_matches

    known = sorted(set(names))
    near = get_close_matches(version, known, 3, 0.5)
    quoted = ", ".join(f"'{name}'" for name in near or known[:5])
    if near:
        hint = f"did you mean {quoted}?"
    else:
        hint = f"it has, among others, {quoted}" if known else "it has none at all"
    return SourceError(f"{repository} has no branch, tag or commit '{version}'", hint)
