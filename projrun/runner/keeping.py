"""The content of what a run made, kept where it will be compared by value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from projrun.compare.patterns import rule_for
from projrun.digests import CHUNK
from projrun.errors import TrackingError
from projrun.output import warn
from projrun.record import KEPT_OUTPUTS, Output
from projrun.rules import Rule, VerifyRules
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
