from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from projrun import sources
from projrun.disk import Home
from projrun.plan import Checkout
from tests.support.git_server import Upstream, git_server, make_upstream

__all__ = ["git_server"]


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return make_upstream(tmp_path / "project.git")


class Fetcher:
    """Fetches, and gives back at the end of the test."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._checkouts: list[Checkout] = []

    def __call__(self, uri: str | Path, version: str = "", *, offline: bool = False) -> Checkout:
        checkout = sources.fetch(str(uri), version, self.home, offline=offline)
        self._checkouts.append(checkout)
        return checkout

    def release_all(self) -> None:
        for checkout in self._checkouts:
            sources.release(checkout, self.home)


@pytest.fixture
def fetch(home: Home) -> Iterator[Fetcher]:
    fetcher = Fetcher(home)
    yield fetcher
    fetcher.release_all()


@pytest.fixture
def unused_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
