"""The store that the verbs about runs look into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from projrun.tracking import Store


@contextmanager
def opened_store() -> Iterator[Store]:
    """The store of runs, with the runs of dead supervisors settled."""
    from contextlib import closing

    from projrun.home import home_from
    from projrun.tracking.supervision import settled_store

    with closing(settled_store(home_from())) as store:
        yield store
