"""Bringing what is in mlflow's own stores into projrun's.

Runs, logged models and versions keep their names: doing it again is harmless. What is there is left as it is.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from projrun.disk.file_operations import temporary_beside
from projrun.errors import TrackingError
from projrun.tracking.artifacts import LOCATION_SCHEMES
from projrun.tracking.entities import RUN_NAME_TAG
from projrun.tracking.limits import check_run_name, invalid_parameter, normalize_params, quote_short
from projrun.tracking.mlflow_import import model_import
from projrun.tracking.mlflow_import.stores import (
    MlflowExperiment,
    MlflowLoggedModel,
    MlflowRegisteredModel,
    MlflowRun,
)
from projrun.tracking.sqlite import experiment_rows, run_rows
from projrun.tracking.sqlite.database import Database
from projrun.tracking.sqlite.model_sources import MODEL_ID
from projrun.tracking.sqlite.run_rows import random_name

BATCH = 1000
RUN_DEPTH, MODEL_DEPTH = 3, 4
"""<experiment>/<run>/artifacts and <experiment>/models/<model>/artifacts"""


class Imported(msgspec.Struct):
    """The result of an import.

    elsewhere: ids of runs and logged models whose artifacts were not found, or not where they may be.
    others: versions (name/number) of which another one with this name and number was there before.
    unfounded: versions whose files are not in the store.
    """

    runs: int = 0
    known: int = 0
    experiments: int = 0
    logged_models: int = 0
    versions: int = 0
    elsewhere: list[str] = []
    others: list[str] = []
    unfounded: list[str] = []


class Importer:
    """artifacts: the directories that artifacts may come from. A stranger's store may name any path."""

    def __init__(self, database: Database, target: Path, artifacts: Iterable[Path]) -> None:
        self._db, self._target = database, target
        self._from = [path.resolve() for path in artifacts]
        self.result = Imported()

    def add(self, run: MlflowRun) -> None:
        if not re.fullmatch("[0-9a-f]{32}", run.run_id):  # it becomes the name of a directory
            raise invalid_parameter(f"{quote_short(run.run_id)} is not the id of a run")
        with self._db.writing() as db:
            row = db.execute("SELECT experiment_id FROM runs WHERE run_id = ?", (run.run_id,)).fetchone()
            number = row[0] if row else self._experiment(db, run.experiment)
        self._bring_artifacts(run.run_id, run.artifact_uri, f"{number}/{run.run_id}", RUN_DEPTH)
        if row:
            self.result.known += 1
            return
        with self._db.writing() as db:
            _insert(db, number, run)
        self.result.runs += 1

    def add_logged_model(self, model: MlflowLoggedModel) -> None:
        if not MODEL_ID.fullmatch(model.model_id):
            raise invalid_parameter(f"{quote_short(model.model_id)} is not the id of a logged model")
        with self._db.writing() as db:
            row = db.execute(
                "SELECT experiment_id FROM logged_models WHERE model_id = ?", (model.model_id,)
            ).fetchone()
            number = row[0] if row else self._experiment(db, model.experiment)
        self._bring_artifacts(
            model.model_id, model.artifact_uri, f"{number}/models/{model.model_id}", MODEL_DEPTH
        )
        if row:
            return
        with self._db.writing() as db:
            model_import.insert_logged(db, number, model)
        self.result.logged_models += 1

    def add_registered_model(self, model: MlflowRegisteredModel) -> None:
        """The model with all versions that are not there yet, or nothing of it."""
        with self._db.writing() as db:
            came = model_import.register(db, model, self._target.as_uri())
        self.result.versions += came.versions
        self.result.others += came.others
        self.result.unfounded += came.unfounded

    def _experiment(self, db: sqlite3.Connection, old: MlflowExperiment) -> int:
        """The one of that name, or a new one."""
        row = db.execute("SELECT experiment_id FROM experiments WHERE name = ?", (old.name,)).fetchone()
        if row is not None:
            return int(row[0])
        location = old.artifact_location.rstrip("/") if _is_remote(old.artifact_location) else ""
        number = experiment_rows.insert(db, old.name, old.tags, location)
        db.execute(
            "UPDATE experiments SET lifecycle_stage = ?, creation_time = ?, last_update_time = ?"
            " WHERE experiment_id = ?",
            (old.lifecycle_stage, old.creation_time, old.last_update_time, number),
        )
        self.result.experiments += 1
        return number

    def _bring_artifacts(self, owner: str, uri: str, place: str, depth: int) -> None:
        """Copy the owner's artifacts unless they are there. depth: below the root of mlflow's artifacts."""
        target = self._target / place
        if target.exists() or _is_remote(uri) or not uri:
            return
        named, moved = self._candidates(uri, depth)
        for candidate in (*named, *moved):
            real = candidate.resolve()
            if real.is_dir() and self._is_below(real):
                _copy(real, target)
                return
        # mlflow makes a directory when its first artifact comes.
        is_empty = any(self._is_below(path.resolve()) and not path.exists() for path in named)
        if not is_empty and not moved:
            self.result.elsewhere.append(owner)

    def _candidates(self, uri: str, depth: int) -> tuple[list[Path], list[Path]]:
        """Return possible places of artifacts: as named, and below the roots of a moved store."""
        parts = urlsplit(uri)
        path = unquote(parts.path)
        if parts.scheme == "mlflow-artifacts":
            return [root / path.strip("/") for root in self._from], []
        if parts.scheme not in ("", "file"):
            return [], []
        named = [root / path for root in self._from]  # an absolute path stays what it is
        before, below = Path(path).parts[:-depth], Path(path).parts[-depth:]
        if ".." in below or not before or os.path.lexists(path):
            return named, []
        return named, [
            root.joinpath(*below) for root in self._from if root.name == before[-1] and root.is_dir()
        ]

    def _is_below(self, place: Path) -> bool:
        return any(root in place.parents for root in self._from)


def _insert(db: sqlite3.Connection, number: int, run: MlflowRun) -> None:
    name = check_run_name(run.run_name[:250] or random_name())
    cursor = db.execute(
        "INSERT OR IGNORE INTO runs"
        " (run_id, experiment_id, name, user_id, status, start_time, end_time, lifecycle_stage)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (run.run_id, number, name, run.user_id, run.status, run.start_time, run.end_time, "active"),
    )
    if not cursor.rowcount:
        return  # another import was faster
    tags = {**model_import.tags_of(run.tags), RUN_NAME_TAG: name}
    row = int(cursor.lastrowid or 0)
    db.executemany("INSERT INTO tags VALUES (?, ?, ?)", [(row, key, tags[key]) for key in tags])
    params = normalize_params(run.params)
    db.executemany("INSERT INTO params VALUES (?, ?, ?)", [(row, key, params[key]) for key in params])
    for first in range(0, len(run.metrics), BATCH):
        run_rows.log_batch(db, run.run_id, run.metrics[first : first + BATCH], {}, {})
    run_rows.log_inputs(db, run.run_id, run.inputs)
    links = [("input", model_id, 0) for model_id in run.model_inputs]
    links += [("output", model_id, step) for model_id, step in run.model_outputs.items()]
    db.executemany("INSERT INTO run_models VALUES (?, ?, ?, ?)", [(row, *link) for link in links])
    run_rows.set_stage(db, run.run_id, run.lifecycle_stage)


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all."""
    try:
        with temporary_beside(target) as temporary:
            shutil.copytree(source, temporary, ignore=_links, copy_function=shutil.copy)
            temporary.rename(target)
    except (OSError, shutil.Error) as error:
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
    return urlsplit(uri).scheme in LOCATION_SCHEMES and not uri.startswith("file:")
