"""A Git server for all tests of the runner."""

from __future__ import annotations

from tests.support.git_server import git_server

__all__ = ["git_server"]
