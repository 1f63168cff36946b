"""The SQLite file: connections, transactions, and what its errors mean to the user."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from projrun.disk.file_locks import hold_lock
from projrun.errors import TrackingError
from projrun.processes.usage import now_ms

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
            raise translate_error(error, self.path) from None
        finally:
            if connection is not None:
                self._give_back(connection)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection on which all reads of the block see one state of the database."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection; commit what the block writes at its end, or nothing if it raises."""
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


def translate_error(error: sqlite3.Error, path: Path) -> TrackingError:
    """Translate an error of SQLite to its meaning and the next step."""
    text = str(error)
    for part, error_code, hint in _MEANINGS:
        if part in text.lower():
            return TrackingError(f"{path}: {text}", hint, error_code=error_code)
    return TrackingError(
        f"{path}: {type(error).__name__}: {text}",
        "see that its directory can be written to, or name another directory with PROJRUN_HOME",
    )


def inaccessible(error: OSError, path: Path) -> TrackingError:
    return TrackingError(
        f"{error.filename or path}: {error.strerror or error}",
        "make it accessible, or set PROJRUN_HOME to a directory that can be written",
    )


def put_pairs(db: sqlite3.Connection, table: str, owner: int, pairs: Mapping[str, str]) -> None:
    """Insert keys and values of the row `owner` into a table of these three columns, or replace them."""
    # The name of the table is ours; it cannot be bound.
    statement = " ".join(["INSERT OR REPLACE INTO", table, "VALUES (?, ?, ?)"])
    db.executemany(statement, [(owner, key, value) for key, value in pairs.items()])


def encode_nan(value: float) -> tuple[float, int]:
    """Return the columns value and is_nan for a number."""
    return (0.0, 1) if math.isnan(value) else (value, 0)


MIGRATIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "0001_runs",
        (
            """CREATE TABLE experiments (
                experiment_id INTEGER PRIMARY KEY AUTOINCREMENT,
                name TEXT NOT NULL UNIQUE,
                artifact_location TEXT NOT NULL DEFAULT '',
                lifecycle_stage TEXT NOT NULL DEFAULT 'active',
                creation_time INTEGER NOT NULL,
                last_update_time INTEGER NOT NULL
            )""",
            """CREATE TABLE experiment_tags (
                experiment_id INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
                PRIMARY KEY (experiment_id, key)
            ) WITHOUT ROWID""",
            """CREATE TABLE runs (
                id INTEGER PRIMARY KEY,
                run_id TEXT NOT NULL UNIQUE,
                experiment_id INTEGER NOT NULL,
                name TEXT NOT NULL,
                user_id TEXT NOT NULL,
                status TEXT NOT NULL,
                start_time INTEGER NOT NULL,
                end_time INTEGER,
                lifecycle_stage TEXT NOT NULL DEFAULT 'active'
            )""",
            "CREATE INDEX runs_by_experiment ON runs (experiment_id, start_time)",
            """CREATE TABLE params (
                run INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key)
            ) WITHOUT ROWID""",
            """CREATE TABLE tags (
                run INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key)
            ) WITHOUT ROWID""",
            # SQLite stores NaN as NULL, which a primary key cannot hold: value 0 and is_nan 1 stand for it.
            """CREATE TABLE metrics (
                run INTEGER NOT NULL, key TEXT NOT NULL, step INTEGER NOT NULL, timestamp INTEGER NOT NULL,
                value REAL NOT NULL, is_nan INTEGER NOT NULL,
                PRIMARY KEY (run, key, step, timestamp, value, is_nan)
            ) WITHOUT ROWID""",
            """CREATE TABLE latest_metrics (
                run INTEGER NOT NULL, key TEXT NOT NULL, step INTEGER NOT NULL, timestamp INTEGER NOT NULL,
                value REAL NOT NULL, is_nan INTEGER NOT NULL,
                PRIMARY KEY (run, key)
            ) WITHOUT ROWID""",
            """CREATE TABLE datasets (
                run INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, source_type TEXT NOT NULL,
                source TEXT NOT NULL, schema TEXT NOT NULL, profile TEXT NOT NULL, tags TEXT NOT NULL,
                PRIMARY KEY (run, name, digest)
            )""",
            """INSERT INTO experiments (experiment_id, name, creation_time, last_update_time)
                SELECT 0, 'Default', now, now FROM (SELECT 1000 * CAST(strftime('%s') AS INTEGER) AS now)""",
        ),
    ),
    (
        "0002_models",
        (
            """CREATE TABLE logged_models (
                id INTEGER PRIMARY KEY,
                model_id TEXT NOT NULL UNIQUE,
                experiment_id INTEGER NOT NULL,
                name TEXT NOT NULL,
                model_type TEXT NOT NULL,
                source_run_id TEXT NOT NULL,
                status TEXT NOT NULL,
                creation_time INTEGER NOT NULL,
                last_updated_time INTEGER NOT NULL,
                lifecycle_stage TEXT NOT NULL DEFAULT 'active'
            )""",
            "CREATE INDEX logged_models_by_experiment ON logged_models (experiment_id, creation_time)",
            "CREATE INDEX logged_models_by_run ON logged_models (source_run_id)",
            """CREATE TABLE logged_model_params (
                model INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (model, key)
            ) WITHOUT ROWID""",
            """CREATE TABLE logged_model_tags (
                model INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (model, key)
            ) WITHOUT ROWID""",
            """CREATE TABLE logged_model_metrics (
                model INTEGER NOT NULL, key TEXT NOT NULL, step INTEGER NOT NULL, timestamp INTEGER NOT NULL,
                value REAL NOT NULL, is_nan INTEGER NOT NULL, run_id TEXT NOT NULL,
                dataset_name TEXT NOT NULL, dataset_digest TEXT NOT NULL,
                PRIMARY KEY (model, key, step, timestamp, value, is_nan, run_id, dataset_name, dataset_digest)
            ) WITHOUT ROWID""",
            """CREATE TABLE run_models (
                run INTEGER NOT NULL, role TEXT NOT NULL, model_id TEXT NOT NULL, step INTEGER NOT NULL,
                PRIMARY KEY (run, role, model_id)
            ) WITHOUT ROWID""",
            # last_version: the number of a deleted version is not given again.
            """CREATE TABLE registered_models (
                id INTEGER PRIMARY KEY,
                name TEXT NOT NULL UNIQUE,
                description TEXT NOT NULL,
                creation_time INTEGER NOT NULL,
                last_updated_time INTEGER NOT NULL,
                last_version INTEGER NOT NULL DEFAULT 0
            )""",
            """CREATE TABLE registered_model_tags (
                model INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (model, key)
            ) WITHOUT ROWID""",
            # source is what the client named, location what it stood for when it was registered.
            """CREATE TABLE model_versions (
                id INTEGER PRIMARY KEY,
                model INTEGER NOT NULL,
                version INTEGER NOT NULL,
                stage TEXT NOT NULL,
                description TEXT NOT NULL,
                source TEXT NOT NULL,
                location TEXT NOT NULL,
                run_id TEXT NOT NULL,
                run_link TEXT NOT NULL,
                model_id TEXT NOT NULL,
                creation_time INTEGER NOT NULL,
                last_updated_time INTEGER NOT NULL,
                UNIQUE (model, version)
            )""",
            "CREATE INDEX model_versions_by_run ON model_versions (run_id)",
            """CREATE TABLE model_version_tags (
                version_id INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
                PRIMARY KEY (version_id, key)
            ) WITHOUT ROWID""",
            """CREATE TABLE model_aliases (
                model INTEGER NOT NULL, alias TEXT NOT NULL, version INTEGER NOT NULL,
                PRIMARY KEY (model, alias)
            ) WITHOUT ROWID""",
        ),
    ),
)


def is_current(connection: sqlite3.Connection) -> bool:
    return _version(connection) == len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the database up to date. Any number of processes may try at once."""
    # Switching a new database to WAL fails at once, without waiting, when two processes do it together.
    with hold_lock(path.with_name(f"{path.name}.lock")):
        if _version(connection) == 0:
            connection.execute("PRAGMA journal_mode = WAL")
        _refuse_unknown(connection, path)
        for number, (name, statements) in enumerate(MIGRATIONS, 1):
            if number > _version(connection):
                _apply(connection, number, name, statements)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _refuse_unknown(connection: sqlite3.Connection, path: Path) -> None:
    known = {name for name, _ in MIGRATIONS}
    unknown = sorted(_applied(connection) - known)
    if unknown or _version(connection) > len(MIGRATIONS):
        which = f" (it has the migration {unknown[0]})" if unknown else ""
        raise TrackingError(
            f"{path} was written by a newer version of projrun{which}",
            "upgrade projrun, or set PROJRUN_HOME to another directory",
        )


def _applied(connection: sqlite3.Connection) -> set[str]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'migrations'").fetchone():
        return set()
    return {name for (name,) in connection.execute("SELECT name FROM migrations")}


def _apply(connection: sqlite3.Connection, number: int, name: str, statements: tuple[str, ...]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)"
        )
        for statement in statements:
            connection.execute(statement)
        connection.execute("INSERT INTO migrations VALUES (?, ?)", (name, now_ms()))
        connection.execute(f"PRAGMA user_version = {number:d}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise


MAX_FAULTS = 20
OF_RUNS = ("params", "tags", "metrics", "latest_metrics", "datasets", "run_models")


def find_faults(db: sqlite3.Connection, artifacts: Path) -> list[str]:
    """List faults of the database and directories of artifacts that belong to no run, one line each."""
    faults = [str(line) for (line,) in db.execute(f"PRAGMA integrity_check({MAX_FAULTS:d})") if line != "ok"]
    for table in OF_RUNS:
        # The names are ours; a table's name cannot be bound.
        query = f"SELECT count(*) FROM {table} WHERE run NOT IN (SELECT id FROM runs)"  # noqa: S608
        (lost,) = db.execute(query).fetchone()
        if lost:
            faults.append(f"{table}: {lost} rows belong to no run")
    (lost,) = db.execute(
        "SELECT count(*) FROM runs WHERE experiment_id NOT IN (SELECT experiment_id FROM experiments)"
    ).fetchone()
    if lost:
        faults.append(f"runs: {lost} belong to no experiment")
    return faults + _list_unowned(db, artifacts)


def _list_unowned(db: sqlite3.Connection, artifacts: Path) -> list[str]:
    from projrun.disk.file_tree import list_directories  # late: no run asks for faults

    known = {(str(number), run_id) for number, run_id in db.execute("SELECT experiment_id, run_id FROM runs")}
    runs = (run for experiment in list_directories(artifacts) for run in list_directories(experiment))
    return [
        f"{run}: artifacts of no run"
        for run in runs
        if run.name != "models" and (run.parent.name, run.name) not in known
    ]
