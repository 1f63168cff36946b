"""Import of the runs and models of mlflow's own stores into projrun's.

Runs, logged models and versions keep their ids and numbers, and none that is there already is changed:
importing again only adds.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from projrun.disk.file_operations import temporary_beside
from projrun.errors import TrackingError
from projrun.net import without_credentials
from projrun.tracking.artifacts import LOCATION_SCHEMES
from projrun.tracking.entities import LOGGED_MODELS_TAG, RUN_NAME_TAG, Experiment, Metric, Run
from projrun.tracking.limits import (
    MAX_DESCRIPTION,
    MAX_MODEL_TYPE,
    MAX_RUN_LINK,
    check_alias,
    check_logged_model_name,
    check_model_name,
    check_registry_tags,
    check_run_name,
    check_text_length,
    invalid_parameter,
    normalize_params,
    normalize_tags,
    quote_short,
)
from projrun.tracking.mlflow_import import MlflowLoggedModel, MlflowRegisteredModel, MlflowRun
from projrun.tracking.models import (
    PROMPT_SOURCE,
    PROMPT_TAG,
    VERSIONS_TAG,
    LoggedModel,
    ModelVersion,
    RegisteredModel,
    parse_stage,
)
from projrun.tracking.sqlite import experiment_rows, logged_models, model_sources, run_rows
from projrun.tracking.sqlite.database import Database, put_pairs
from projrun.tracking.sqlite.model_sources import MODEL_ID, VersionSource
from projrun.tracking.sqlite.run_rows import random_name

BATCH = 1000
# The parts of <experiment>/<run>/artifacts and of <experiment>/models/<model>/artifacts.
RUN_DEPTH, MODEL_DEPTH = 3, 4
# Tags that are not cut to the limit of tags: half a JSON text is none.
JSON_TAGS = (LOGGED_MODELS_TAG, VERSIONS_TAG)
OF_RUN = re.compile(r"/([0-9a-f]{32})/artifacts/(.+)")
OF_LOGGED = re.compile(r"/models/(m-[0-9a-f]{32})/artifacts")


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

    def add(self, old: MlflowRun) -> None:
        run = old.run
        if not re.fullmatch("[0-9a-f]{32}", run.run_id):  # it becomes the name of a directory
            raise invalid_parameter(f"{quote_short(run.run_id)} is not the id of a run")
        with self._db.writing() as db:
            row = db.execute("SELECT experiment_id FROM runs WHERE run_id = ?", (run.run_id,)).fetchone()
            number = row[0] if row else self._experiment(db, old.experiment)
        self._bring_artifacts(run.run_id, run.artifact_uri, f"{number}/{run.run_id}", RUN_DEPTH)
        if row:
            self.result.known += 1
            return
        with self._db.writing() as db:
            _insert_run(db, number, run, old.metrics)
        self.result.runs += 1

    def add_logged_model(self, old: MlflowLoggedModel) -> None:
        model = old.model
        if not MODEL_ID.fullmatch(model.model_id):
            raise invalid_parameter(f"{quote_short(model.model_id)} is not the id of a logged model")
        with self._db.writing() as db:
            row = db.execute(
                "SELECT experiment_id FROM logged_models WHERE model_id = ?", (model.model_id,)
            ).fetchone()
            number = row[0] if row else self._experiment(db, old.experiment)
        self._bring_artifacts(
            model.model_id, model.artifact_uri, f"{number}/models/{model.model_id}", MODEL_DEPTH
        )
        if row:
            return
        with self._db.writing() as db:
            _insert_logged_model(db, number, model)
        self.result.logged_models += 1

    def add_registered_model(self, old: MlflowRegisteredModel) -> None:
        """Add the model with all versions that are not there yet, or nothing of it."""
        with self._db.writing() as db:
            added = _register(db, old, self._target.as_uri())
        self.result.versions += added.versions
        self.result.others += added.others
        self.result.unfounded += added.unfounded

    def _experiment(self, db: sqlite3.Connection, old: Experiment) -> int:
        """Return the number of the experiment of that name; create it if there is none."""
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

    def _bring_artifacts(self, owner: str, uri: str, directory: str, depth: int) -> None:
        """Copy the owner's artifacts to `directory` unless it is there.

        depth: of the owner's directory below the root of mlflow's artifacts.
        """
        target = self._target / directory
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
        """Return possible directories of artifacts: as named, and below the roots of a moved store."""
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

    def _is_below(self, path: Path) -> bool:
        return any(root in path.parents for root in self._from)


def _insert_run(db: sqlite3.Connection, number: int, run: Run, metrics: Sequence[Metric]) -> None:
    name = check_run_name(run.run_name[:250] or random_name())
    cursor = db.execute(
        "INSERT OR IGNORE INTO runs"
        " (run_id, experiment_id, name, user_id, status, start_time, end_time, lifecycle_stage)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (run.run_id, number, name, run.user_id, run.status, run.start_time, run.end_time, "active"),
    )
    if not cursor.rowcount:
        return  # another import was faster
    row = int(cursor.lastrowid or 0)
    put_pairs(db, "tags", row, {**_tags(run.tags), RUN_NAME_TAG: name})
    put_pairs(db, "params", row, normalize_params(run.params))
    for first in range(0, len(metrics), BATCH):
        run_rows.log_batch(db, run.run_id, metrics[first : first + BATCH], {}, {})
    run_rows.log_inputs(db, run.run_id, run.inputs)
    links = [("input", model_id, 0) for model_id in run.model_inputs]
    links += [("output", model_id, step) for model_id, step in run.model_outputs.items()]
    db.executemany("INSERT INTO run_models VALUES (?, ?, ?, ?)", [(row, *link) for link in links])
    run_rows.set_stage(db, run.run_id, run.lifecycle_stage)


def _copy(source: Path, target: Path) -> None:
    """Copy the whole directory or nothing of it."""
    try:
        with temporary_beside(target) as temporary:
            shutil.copytree(source, temporary, ignore=_special_files, copy_function=shutil.copy)
            temporary.rename(target)
    except (OSError, shutil.Error) as error:
        raise TrackingError(f"{source} cannot be copied: {error}", "look at rights and free space") from None


def _special_files(directory: str, names: list[str]) -> list[str]:
    """Return the names to leave out: links, which may lead anywhere, pipes and devices."""
    paths = {name: os.path.join(directory, name) for name in names}
    return [
        name
        for name, path in paths.items()
        if os.path.islink(path) or not (os.path.isfile(path) or os.path.isdir(path))
    ]


def _is_remote(uri: str) -> bool:
    return urlsplit(uri).scheme in LOCATION_SCHEMES and not uri.startswith("file:")


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    json_tags = {key: value for key, value in tags.items() if key in JSON_TAGS}
    return {**normalize_tags(tags), **json_tags}


def _insert_logged_model(db: sqlite3.Connection, experiment: int, model: LoggedModel) -> None:
    cursor = db.execute(
        "INSERT OR IGNORE INTO logged_models (model_id, experiment_id, name, model_type, source_run_id,"
        " status, creation_time, last_updated_time, lifecycle_stage) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            model.model_id,
            experiment,
            check_logged_model_name(model.name),
            check_text_length("model type", model.model_type, MAX_MODEL_TYPE),
            model.source_run_id,
            model.status,
            model.creation_time,
            model.last_updated_time,
            model.lifecycle_stage,
        ),
    )
    if not cursor.rowcount:
        return  # another import was faster
    number = int(cursor.lastrowid or 0)
    put_pairs(db, "logged_model_params", number, normalize_params(model.params))
    put_pairs(db, "logged_model_tags", number, _tags(model.tags))
    for metric in model.metrics:
        logged_models.put_metric(db, number, metric.run_id, metric)


def _register(db: sqlite3.Connection, old: MlflowRegisteredModel, root_uri: str) -> Imported:
    """A model that is there keeps its description, tags and aliases, and gets the versions that it lacks."""
    name, added = check_model_name(old.model.name), Imported()
    number = _model(db, name, old.model)
    for version in old.versions:
        known = db.execute(
            "SELECT creation_time FROM model_versions WHERE model = ? AND version = ?",
            (number, version.version),
        ).fetchone()
        if known is None:
            if not _insert_version(db, number, version, root_uri):
                added.unfounded.append(f"{name}/{version.version}")
            added.versions += 1
            _put_aliases(db, number, version.version, old.model.aliases)
        elif known != (version.creation_time,):
            added.others.append(f"{name}/{version.version}")
    return added


def _model(db: sqlite3.Connection, name: str, model: RegisteredModel) -> int:
    row = db.execute("SELECT id FROM registered_models WHERE name = ?", (name,)).fetchone()
    if row is not None:
        return int(row[0])
    cursor = db.execute(
        "INSERT INTO registered_models (name, description, creation_time, last_updated_time)"
        " VALUES (?, ?, ?, ?)",
        (
            name,
            check_text_length("description", model.description, MAX_DESCRIPTION),
            model.creation_time,
            model.last_updated_time,
        ),
    )
    number = int(cursor.lastrowid or 0)
    put_pairs(db, "registered_model_tags", number, check_registry_tags(model.tags))
    return number


def _insert_version(db: sqlite3.Connection, number: int, version: ModelVersion, root_uri: str) -> bool:
    """Insert a version; return True if it names a source that clients may open."""
    origin = _origin(db, version, root_uri)
    cursor = db.execute(
        "INSERT INTO model_versions (model, version, stage, description, source, location, run_id, run_link,"
        " model_id, creation_time, last_updated_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number,
            version.version,
            parse_stage(version.stage),
            check_text_length("description", version.description, MAX_DESCRIPTION),
            origin.source,
            origin.location,
            origin.run_id,
            check_text_length("run link", version.run_link, MAX_RUN_LINK),
            origin.model_id,
            version.creation_time,
            version.last_updated_time,
        ),
    )
    put_pairs(db, "model_version_tags", int(cursor.lastrowid or 0), check_registry_tags(version.tags))
    db.execute(
        "UPDATE registered_models SET last_version = max(last_version, ?) WHERE id = ?",
        (version.version, number),
    )
    return bool(origin.location) or origin.source == PROMPT_SOURCE


def _origin(db: sqlite3.Connection, version: ModelVersion, root_uri: str) -> VersionSource:
    """Return the source that clients may open, perhaps without a location.

    It names what came with the version (runs:/…, models:/m-…), never the path that the old store named:
    what a stranger's database says is no reason to open a file.
    """
    if version.tags.get(PROMPT_TAG, "").lower() == "true":
        return model_sources.prompt_source()
    for source in _sources(version):
        try:
            return model_sources.resolve_source(db, source, version.run_id, "", root_uri)
        except TrackingError:
            continue
    source = without_credentials(version.source) if _is_remote(version.source) else ""
    return VersionSource(source, "", version.run_id, "")


def _sources(version: ModelVersion) -> Iterator[str]:
    """Yield the version's possible sources here: its files came with its logged model or its run."""
    uris = [version.location, version.source]
    model_ids = [version.model_id, version.source.removeprefix("models:/")]
    model_ids += [match[1] for uri in uris if (match := OF_LOGGED.search(uri))]
    yield from (f"models:/{model_id}" for model_id in model_ids if MODEL_ID.fullmatch(model_id))
    for uri in uris:
        if match := OF_RUN.search(uri):
            yield f"runs:/{match[1]}/{unquote(match[2])}"
    yield from filter(None, uris)


def _put_aliases(db: sqlite3.Connection, number: int, version: int, aliases: Mapping[str, int]) -> None:
    # An alias that was given to another version since stays there.
    names = [check_alias(alias) for alias, of in aliases.items() if of == version]
    rows = [(number, alias, version) for alias in names]
    db.executemany("INSERT OR IGNORE INTO model_aliases VALUES (?, ?, ?)", rows)
