"""Stores of every kind, for the tests that all of them must pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import cast

import pytest

from projrun.disk import Home
from projrun.server.endpoint import Endpoint
from projrun.server.run_view import RunView
from projrun.tracking import KINDS, Store, open_store, sqlite
from projrun.tracking.sqlite import SqliteStore


@pytest.fixture
def embedded(home: Home) -> Iterator[Store]:
    with closing(open_store(home)) as store:
        yield store


@pytest.fixture(params=[*sorted(KINDS), "view"])
def store(
    request: pytest.FixtureRequest, home: Home, embedded: Store, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    """The embedded store itself, as the clients of a run see it, and behind our server as a remote one."""
    if request.param == "sqlite":
        yield embedded
        return
    if request.param == "view":
        yield cast(Store, RunView(embedded, "0" * 32, pinned=True))
        return
    with closing(Endpoint(embedded)) as endpoint:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", endpoint.token)
        with closing(open_store(home, endpoint.url)) as remote:
            yield remote


@pytest.fixture
def kept(home: Home) -> Iterator[SqliteStore]:
    """The embedded store with what only it has: models."""
    with closing(sqlite.open_store(home)) as store:
        yield store
