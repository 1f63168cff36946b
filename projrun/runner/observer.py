"""What a run made: observed around its execution, for its record."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from projrun.console import say, warn
from projrun.disk import Home
from projrun.disk.files import CHUNK, name_in_utf8, sha256_of_readable
from projrun.disk.globs import rule_for
from projrun.errors import TrackingError
from projrun.plan import Checkout, Rule, VerifyRules
from projrun.record import KEPT_OUTPUTS, Output
from projrun.tracking import Store
from projrun.tracking.artifacts import walked
from projrun.tracking.wire import number

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


OWN = "projrun/"
"""Where projrun keeps its own artifacts of a run."""


class Observer:
    """Made when all is ready and the command is about to start."""

    def __init__(self, store: Store, run_id: str, checkout: Checkout, home: Home) -> None:
        self._store, self._run_id, self._root = store, run_id, checkout.root
        self._own = (home.data, home.cache)
        self._before = snapshot(self._root, self._own)
        if self._before is None:
            say(f"files that the run makes in its tree are not recorded: it has more than {MAX_FILES}")

    def outputs(self, ended: bool, rules: VerifyRules) -> tuple[Output, ...] | None:
        """Artifacts, then files. ended: False for a run that was interrupted: nobody waits for digests."""
        try:
            try:
                return self._found(ended, rules)
            except KeyboardInterrupt:
                warn("interrupted: the record lacks the digests of what the run made")
                return (*self._artifacts(False), *self._files(False))
        except TrackingError as error:
            warn(f"what the run made is not recorded: {error}")
            return None

    def _found(self, ended: bool, rules: VerifyRules) -> tuple[Output, ...]:
        files = self._files(ended)
        if rules.outputs:
            keep(self._store, self._run_id, self._root, files, rules)
        return (*self._artifacts(ended), *files)

    def _artifacts(self, digests: bool) -> tuple[Output, ...]:
        found = sorted(
            (info.path, info.file_size or 0)
            for info in walked(self._store, self._run_id)
            if not info.path.startswith(OWN)
        )
        files = {path: self._store.artifact_file(self._run_id, path) for path, _ in found} if digests else {}
        here = {path: file for path, file in files.items() if file}
        total = sum(size for _, size in found)
        hashed = dict(zip(here, sha256_of_readable(list(here.values()), total, "taking digests of")))
        return tuple(
            Output(path=path, change="logged", size=size, sha256=hashed.get(path, "")) for path, size in found
        )

    def _files(self, digests: bool) -> tuple[Output, ...]:
        after = None if self._before is None else snapshot(self._root, self._own)
        return (
            () if after is None or self._before is None else outputs(self._root, self._before, after, digests)
        )

    def metrics(self) -> dict[str, float | str]:
        try:
            metrics = self._store.get_run(self._run_id).metrics
        except TrackingError:
            return {}
        return {name: number(metric.value) for name, metric in sorted(metrics.items())}


MAX_KEPT = 100_000_000
"""Bytes of a file of the tree that is kept; a larger one can only be compared by its digest."""


def keep(store: Store, run_id: str, root: Path, outputs: Sequence[Output], rules: VerifyRules) -> None:
    """Files of the tree that the rules want compared by value. Logged artifacts are kept anyway."""
    for output in outputs:
        if output.change in ("logged", "deleted") or not output.sha256:
            continue
        if rule_for(output.path, rules.outputs, Rule()).how != "value":
            continue
        if output.size > MAX_KEPT:
            warn(f"{output.path} is too large to be kept: it can only be compared by its digest")
            continue
        try:
            store.write_artifact(run_id, f"{KEPT_OUTPUTS}/{output.path}", _parts(root / output.path))
        except (TrackingError, OSError) as error:
            warn(f"{output.path} is not kept: it can only be compared by its digest ({error})")


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(partial(file.read, CHUNK), b"")
