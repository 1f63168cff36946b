"""A run by the beginning of its id."""

from __future__ import annotations

import re

from projrun.errors import TrackingError
from projrun.tracking import Store
from projrun.tracking.entities import Run, ViewType


def find_run(store: Store, prefix: str, view: ViewType = "ACTIVE_ONLY") -> Run:
    """The one run whose id begins with `prefix`, among those that `view` shows."""
    if not re.fullmatch(r"[0-9a-f]{1,32}", prefix):
        raise TrackingError(f"'{prefix}' is not a run id", "see `projrun runs list`")
    starting = f"attributes.run_id LIKE '{prefix}%'"
    found, _ = store.search_runs([], starting, max_results=2, run_view_type=view)
    if not found:
        raise _unseen(store, prefix, starting, view)
    if len(found) > 1:
        raise TrackingError(f"more than one run begins with '{prefix}'", "give more of its id")
    return found[0]


def _unseen(store: Store, prefix: str, starting: str, view: ViewType) -> TrackingError:
    elsewhere, _ = store.search_runs([], starting, max_results=1, run_view_type="ALL")
    if not elsewhere:
        return TrackingError(f"there is no run '{prefix}'", "see `projrun runs list`")
    if view == "DELETED_ONLY":
        return TrackingError(f"run '{prefix}' is not deleted", "see `projrun runs search --deleted`")
    return TrackingError(f"run '{prefix}' is deleted", f"bring it back with: projrun runs restore {prefix}")
