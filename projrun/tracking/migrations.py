"""The schema of tracking.db, as named steps. A released step is never changed; new ones are appended.

`PRAGMA user_version` counts the steps, so that one query tells that nothing is to be done. The table
`migrations` names them, so that a database that another version of projrun wrote can be told apart.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from projrun.errors import TrackingError
from projrun.locking import locked
from projrun.usage import now_ms

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
    with locked(path.with_name(f"{path.name}.lock")):
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
