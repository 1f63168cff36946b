"""What a run made: files of its working tree, found by comparing the tree before and after.

Neither clock nor Git is asked: what Git ignores counts, and a clock that jumps changes nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal

from projrun.digests import sha256_of_readable
from projrun.files import name_in_utf8
from projrun.record import Output

MAX_FILES = 100_000
"""Larger trees are not looked through: it would take longer than people wait for a run to start."""
_SKIPPED = frozenset({".git", "__pycache__"})

Snapshot = Mapping[str, tuple[int, ...]]
"""Path below the root -> what changes with the file: type and mode, size, both times in ns, inode."""


def snapshot(root: Path, excluded: Collection[Path] = ()) -> Snapshot | None:
    """Every file and link below `root`; None when there are more than MAX_FILES.

    Left out are what Git and Python keep for themselves (.git, __pycache__), virtual environments, other file
    systems' special files, and the directories `excluded`.
    """
    found: dict[str, tuple[int, ...]] = {}
    real = frozenset(os.path.realpath(path) for path in excluded)
    for path, state in _files(os.path.realpath(root), "", real):
        if len(found) == MAX_FILES:
            return None
        found[path] = (state.st_mode, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
    return found


def _files(directory: str, prefix: str, excluded: frozenset[str]) -> Iterator[tuple[str, os.stat_result]]:
    """directory: without links in it; none are followed, so every path below it is real as well."""
    try:
        entries = list(os.scandir(directory))
    except OSError:  # not ours to read, or gone meanwhile
        return
    if prefix and any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _SKIPPED and entry.path not in excluded:
                    yield from _files(entry.path, f"{prefix}{entry.name}/", excluded)
            elif entry.is_symlink() or entry.is_file():
                yield prefix + entry.name, entry.stat(follow_symlinks=False)
        except OSError:
            continue


def outputs(root: Path, before: Snapshot, after: Snapshot, digests: bool = True) -> tuple[Output, ...]:
    """The files that are new or changed in `after`, and those that are gone, sorted by path.

    digests: False leaves them out, for a run that is to end at once.
    """
    touched = [path for path, state in after.items() if before.get(path) != state]
    made: list[Output] = []
    size = sum(after[path][1] for path in touched)
    regular = [path for path in touched if stat.S_ISREG(after[path][0])]
    places = [root / path for path in regular] if digests else []
    hashed = dict(zip(regular, sha256_of_readable(places, size, "taking digests of")))
    for path in touched:
        mode, length = after[path][:2]
        change: Literal["made", "changed"] = "changed" if path in before else "made"
        made.append(
            Output(
                path=name_in_utf8(path),
                change=change,
                size=length,
                sha256=hashed.get(path, ""),
                link=_target(root / path) if stat.S_ISLNK(mode) else "",
            )
        )
    gone = [Output(path=name_in_utf8(path), change="deleted") for path in before if path not in after]
    return tuple(sorted((*made, *gone), key=lambda one: one.path))


def _target(link: Path) -> str:
    try:
        return name_in_utf8(os.readlink(link))
    except OSError:
        return ""
