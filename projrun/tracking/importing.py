"""Bringing the runs of mlflow's own stores into projrun's. A run keeps its id: doing it again is harmless."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from projrun.errors import TrackingError
from projrun.files import remove
from projrun.tracking import experiments, runs
from projrun.tracking.database import Database
from projrun.tracking.entities import RUN_NAME_TAG
from projrun.tracking.limits import checked_params, checked_run_name, checked_tags, invalid, shown
from projrun.tracking.locations import SCHEMES
from projrun.tracking.names import random_name
from projrun.tracking.oldstores import OldExperiment, OldRun

BATCH = 1000


class Imported(msgspec.Struct):
    """What an import did. elsewhere: ids of runs whose artifacts were not found, or not where they may be."""

    runs: int = 0
    known: int = 0
    experiments: int = 0
    elsewhere: list[str] = []


class Importer:
    """artifacts: the directories that artifacts may come from. A stranger's store may name any path."""

    def __init__(self, database: Database, target: Path, artifacts: Iterable[Path]) -> None:
        self._db, self._target = database, target
        self._from = [path.resolve() for path in artifacts]
        self.result = Imported()

    def add(self, run: OldRun) -> None:
        if not re.fullmatch("[0-9a-f]{32}", run.run_id):  # it becomes the name of a directory
            raise invalid(f"{shown(run.run_id)} is not the id of a run")
        with self._db.writing() as db:
            if db.execute("SELECT 1 FROM runs WHERE run_id = ?", (run.run_id,)).fetchone():
                self.result.known += 1
                return
            number = self._experiment(db, run.experiment)
        source = self._artifacts(run)
        if source is not None:
            _copy(source, self._target / str(number) / run.run_id)
        with self._db.writing() as db:
            _insert(db, number, run)
        self.result.runs += 1

    def _experiment(self, db: sqlite3.Connection, old: OldExperiment) -> int:
        """The one of that name, or a new one."""
        row = db.execute("SELECT experiment_id FROM experiments WHERE name = ?", (old.name,)).fetchone()
        if row is not None:
            return int(row[0])
        location = old.artifact_location.rstrip("/") if _is_remote(old.artifact_location) else ""
        number = experiments.insert(db, old.name, old.tags, location)
        db.execute(
            "UPDATE experiments SET lifecycle_stage = ?, creation_time = ?, last_update_time = ?"
            " WHERE experiment_id = ?",
            (old.lifecycle_stage, old.creation_time, old.last_update_time, number),
        )
        self.result.experiments += 1
        return number

    def _artifacts(self, run: OldRun) -> Path | None:
        """Where the run's artifacts are on this machine; None when there are none to copy."""
        uri = urlsplit(run.artifact_uri)
        if _is_remote(run.artifact_uri) or not run.artifact_uri:
            return None
        path = unquote(uri.path)
        if uri.scheme == "mlflow-artifacts":
            candidates = [root / path.strip("/") for root in self._from]
        elif uri.scheme in ("", "file"):
            candidates = [root / path for root in self._from]  # an absolute path stays what it is
        else:
            candidates = []
        for candidate in candidates:
            real = candidate.resolve()
            if real.is_dir() and any(root in real.parents for root in self._from):
                return real
        if candidates and all(self._is_empty_here(candidate) for candidate in candidates):
            return None
        self.result.elsewhere.append(run.run_id)
        return None

    def _is_empty_here(self, candidate: Path) -> bool:
        """mlflow makes a run's directory when its first artifact comes."""
        return any(root in candidate.resolve().parents for root in self._from) and not candidate.exists()


def _insert(db: sqlite3.Connection, number: int, run: OldRun) -> None:
    name = checked_run_name(run.run_name[:250] or random_name())
    cursor = db.execute(
        "INSERT OR IGNORE INTO runs"
        " (run_id, experiment_id, name, user_id, status, start_time, end_time, lifecycle_stage)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (run.run_id, number, name, run.user_id, run.status, run.start_time, run.end_time, "active"),
    )
    if not cursor.rowcount:
        return  # another import was faster
    tags = {**checked_tags(run.tags), RUN_NAME_TAG: name}
    row = int(cursor.lastrowid or 0)
    db.executemany("INSERT INTO tags VALUES (?, ?, ?)", [(row, key, tags[key]) for key in tags])
    params = checked_params(run.params)
    db.executemany("INSERT INTO params VALUES (?, ?, ?)", [(row, key, params[key]) for key in params])
    for first in range(0, len(run.metrics), BATCH):
        runs.log(db, run.run_id, run.metrics[first : first + BATCH], {}, {})
    runs.log_inputs(db, run.run_id, run.inputs)
    runs.move(db, run.run_id, run.lifecycle_stage)


def _copy(source: Path, target: Path) -> None:
    """What a killed import left there is replaced: the run was not in the database yet."""
    try:
        remove(target)
        shutil.copytree(source, target, ignore=_links, copy_function=shutil.copy)
    except (OSError, shutil.Error) as error:
        remove(target)
        raise TrackingError(f"{source} cannot be copied: {error}", "look at rights and free space") from None


def _links(directory: str, names: list[str]) -> list[str]:
    """Neither links, which may lead anywhere, nor pipes and devices."""
    paths = {name: os.path.join(directory, name) for name in names}
    return [
        name
        for name, path in paths.items()
        if os.path.islink(path) or not (os.path.isfile(path) or os.path.isdir(path))
    ]


def _is_remote(uri: str) -> bool:
    return urlsplit(uri).scheme in SCHEMES and not uri.startswith("file:")
