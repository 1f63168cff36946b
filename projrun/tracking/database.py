"""The SQLite file: connections, transactions, and what its errors mean to the user."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from projrun.errors import TrackingError

BUSY_TIMEOUT_S = 60.0


class Database:
    """A pool of connections. One is used by one thread at a time, and kept for the next.

    patience_s: how long to wait for another process that is writing, before TEMPORARILY_UNAVAILABLE.
    """

    def __init__(self, path: Path, patience_s: float = BUSY_TIMEOUT_S) -> None:
        self.path, self._patience_s = path, patience_s
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        connection = None
        try:
            connection = self._take()
            yield connection
        except sqlite3.Error as error:
            raise explained(error, self.path) from None
        finally:
            if connection is not None:
                self._give_back(connection)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """All that is read in the block is one state of the database."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All that the block writes is committed at its end, or none of it if it raises."""
        # IMMEDIATE: waits for its turn here, where nothing is lost by waiting, never in the middle.
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self.connection() as connection:
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _take(self) -> sqlite3.Connection:
        if self._closed:
            raise TrackingError("the store of runs is closed", "open it again")
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=self._patience_s, isolation_level=None, check_same_thread=False
        )
        try:
            # In WAL mode a commit survives the death of the process; only a power cut can undo the last ones.
            connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)


_MEANINGS = (
    ("locked", "TEMPORARILY_UNAVAILABLE", "another process is writing to it: try again"),
    ("readonly", "INTERNAL_ERROR", "make it writable, or set PROJRUN_HOME to a directory that is"),
    ("unable to open", "INTERNAL_ERROR", "make it accessible, or set PROJRUN_HOME to another directory"),
    ("full", "INTERNAL_ERROR", "free some space on its disk"),
    ("disk i/o", "INTERNAL_ERROR", "look at the free space and the health of its disk"),
    ("not a database", "INTERNAL_ERROR", "move it away, and projrun starts a new one"),
    ("malformed", "INTERNAL_ERROR", "restore it from a backup, or move it away and projrun starts a new one"),
)


def explained(error: sqlite3.Error, path: Path) -> TrackingError:
    """What `error` means and what to do about it."""
    text = str(error)
    for part, error_code, hint in _MEANINGS:
        if part in text.lower():
            return TrackingError(f"{path}: {text}", hint, error_code=error_code)
    return TrackingError(
        f"{path}: {type(error).__name__}: {text}",
        "see that its directory can be written to, or name another place with PROJRUN_HOME",
    )


def not_accessible(error: OSError, path: Path) -> TrackingError:
    return TrackingError(
        f"{error.filename or path}: {error.strerror or error}",
        "make it accessible, or set PROJRUN_HOME to a directory that can be written",
    )
