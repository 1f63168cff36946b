"""The runs that a user names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from projrun.tracking import Store
    from projrun.tracking.entities import Run


@contextmanager
def opened_store() -> Iterator[Store]:
    """The store of runs, with the runs of dead supervisors settled."""
    from contextlib import closing

    from projrun.home import home_from
    from projrun.tracking.supervision import settled_store

    with closing(settled_store(home_from())) as store:
        yield store


def find(store: Store, run_id: str) -> Run:
    """The one run whose id begins with `run_id`."""
    import re

    from projrun.errors import TrackingError

    if not re.fullmatch(r"[0-9a-f]{1,32}", run_id):
        raise TrackingError(f"'{run_id}' is not a run id", "see `projrun runs list`")
    found, _ = store.search_runs([], f"attributes.run_id LIKE '{run_id}%'", max_results=2)
    if not found:
        raise TrackingError(f"there is no run '{run_id}'", "see `projrun runs list`")
    if len(found) > 1:
        raise TrackingError(f"more than one run begins with '{run_id}'", "give more of its id")
    return found[0]
