"""Digests of files that hardly change: only those are read that may have changed since the last time.

The kernel notes every change of a file in its ctime, which nobody can set. Two changes within one tick of
its clock look the same, so a file that had changed shortly before it was noted down is read once more.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from projrun.digests import sha256_file
from projrun.files import write_atomically

TICK_NS = 2 * 10**9
"""More than any file system's clock takes from one time to the next."""


class _Seen(msgspec.Struct, frozen=True, array_like=True):
    """How a file looked when it was read."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str


class FileDigests:
    """Digests that are noted down in the file `notes`; None: nowhere, every file is read."""

    def __init__(self, notes: Path | None) -> None:
        self._notes = notes
        self._before: dict[str, _Seen] = {}
        self._now: dict[str, _Seen] = {}
        self._noted_ns = 0
        if notes is not None:
            self._recall(notes)

    def _recall(self, notes: Path) -> None:
        try:
            self._noted_ns = notes.stat().st_mtime_ns
            self._before = msgspec.json.decode(notes.read_bytes(), type=dict[str, _Seen])
        except (OSError, msgspec.MsgspecError):
            self._before = {}

    def of(self, file: Path) -> str:
        """sha256 of a regular file."""
        name, facts = str(file), os.stat(file)
        looks = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
        seen = self._before.get(name)
        if seen is None or looks != (seen.size, seen.mtime_ns, seen.ctime_ns, seen.inode):
            seen = _Seen(*looks, sha256_file(file))
        elif seen.ctime_ns > self._noted_ns - TICK_NS:
            seen = msgspec.structs.replace(seen, sha256=sha256_file(file))
            self._before.pop(name)  # so that it is noted anew
        self._now[name] = seen
        return seen.sha256

    def note(self) -> None:
        """Keep what was found, if it is not what was known."""
        if self._notes is not None and self._now != self._before:
            write_atomically(self._notes, msgspec.json.encode(self._now))
