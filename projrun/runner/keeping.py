"""The content of what a run made: kept where it will be compared by value, and found again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from projrun.compare.patterns import rule_for
from projrun.digests import CHUNK, sha256_file
from projrun.errors import TrackingError
from projrun.output import warn
from projrun.plan import Rule, VerifyRules
from projrun.record import KEPT_OUTPUTS, Output
from projrun.tracking import Store

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


class Contents:
    """Where the content of a run's outputs is: in its artifacts, or still where the run wrote it."""

    def __init__(self, store: Store, run_id: str, root: Path | None, scratch: Path) -> None:
        """root: the top of the tree that the run had, if that is still there. scratch: for downloads."""
        self._store, self._run_id, self._root, self._scratch = store, run_id, root, scratch

    def __call__(self, output: Output) -> Path | None:
        if output.change == "logged":
            return self._artifact(output.path)
        if self._root and (there := self._root / output.path).is_file() and _is(there, output.sha256):
            return there
        return self._artifact(f"{KEPT_OUTPUTS}/{output.path}")

    def _artifact(self, path: str) -> Path | None:
        try:
            local = self._store.artifact_file(self._run_id, path)
            if local is not None:
                return local if local.is_file() else None
            return self._downloaded(path)
        except TrackingError:
            return None

    def _downloaded(self, path: str) -> Path:
        target = self._scratch / os.urandom(8).hex()
        with self._store.open_artifact(self._run_id, path) as source, target.open("xb") as file:
            while chunk := source.read(CHUNK):
                file.write(chunk)
        return target


def _is(path: Path, sha256: str) -> bool:
    try:
        return sha256_file(path) == sha256
    except OSError:
        return False
