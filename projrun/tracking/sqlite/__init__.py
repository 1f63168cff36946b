"""The embedded store: tracking.db and a directory of artifacts in projrun's home."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from projrun.disk import Home
from projrun.tracking.artifacts import ArtifactDirectory, remove_abandoned_uploads
from projrun.tracking.entities import ArtifactInfo, DatasetInput, Experiment, Metric, Run, RunStatus
from projrun.tracking.sqlite import experiment_rows, run_rows
from projrun.tracking.sqlite.database import Database, inaccessible, is_current, migrate

if TYPE_CHECKING:
    from projrun.tracking.mlflow_import.importer import Importer
    from projrun.tracking.sqlite.model_registry import SqliteModels


def open_store(home: Home) -> SqliteStore:
    """Open the store in `home.data`, and create it if there is none. Raises TrackingError."""
    try:
        home.artifacts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise inaccessible(error, home.data) from None
    database = Database(home.tracking_db)
    try:
        with database.connection() as connection:
            if not is_current(connection):
                migrate(connection, home.tracking_db)
    except OSError as error:
        raise inaccessible(error, home.data) from None
    return SqliteStore(database, home.artifacts)


class SqliteStore:
    def __init__(self, database: Database, artifacts: Path) -> None:
        self.uri = str(database.path)
        self.artifact_root = artifacts.as_uri()
        self._db, self._artifacts = database, artifacts
        self._impatient: SqliteStore | None = None

    def create_experiment(
        self, name: str, tags: Mapping[str, str] | None = None, artifact_location: str = ""
    ) -> str:
        location = ""
        if artifact_location:
            from projrun.tracking.artifacts import normalize_location

            location = normalize_location(artifact_location, self.artifact_root)
        with self._db.writing() as db:
            return str(experiment_rows.insert(db, name, tags or {}, location))

    def get_experiment(self, experiment_id: str) -> Experiment:
        with self._db.reading() as db:
            return experiment_rows.get(db, experiment_id, self.artifact_root)

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        with self._db.reading() as db:
            return experiment_rows.get_by_name(db, name, self.artifact_root)

    def search_experiments(
        self,
        filter_string: str = "",
        order_by: Sequence[str] = (),
        max_results: int = 1000,
        page_token: str = "",
        view_type: str = "ACTIVE_ONLY",
    ) -> tuple[list[Experiment], str]:
        from projrun.tracking.sqlite import searches

        page = searches.SearchPage(filter_string, order_by, max_results, page_token)
        with self._db.reading() as db:
            return searches.search_experiments(db, page, view_type, self.artifact_root)

    def rename_experiment(self, experiment_id: str, name: str) -> None:
        with self._db.writing() as db:
            experiment_rows.rename(db, experiment_id, name)

    def delete_experiment(self, experiment_id: str) -> None:
        with self._db.writing() as db:
            experiment_rows.delete(db, experiment_id)

    def restore_experiment(self, experiment_id: str) -> None:
        with self._db.writing() as db:
            experiment_rows.restore(db, experiment_id)

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None:
        with self._db.writing() as db:
            experiment_rows.set_tag(db, experiment_id, key, value)

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        with self._db.writing() as db:
            experiment_rows.delete_tag(db, experiment_id, key)

    def create_run(
        self,
        experiment_id: str,
        *,
        run_name: str = "",
        user_id: str = "",
        start_time: int | None = None,
        tags: Mapping[str, str] | None = None,
        status: RunStatus = "RUNNING",
    ) -> Run:
        with self._db.writing() as db:
            run_id = run_rows.insert(db, experiment_id, run_name, user_id, start_time, tags or {}, status)
            return run_rows.get(db, run_id, self.artifact_root)

    def get_run(self, run_id: str) -> Run:
        with self._db.reading() as db:
            return run_rows.get(db, run_id, self.artifact_root)

    def update_run(
        self,
        run_id: str,
        *,
        status: RunStatus | None = None,
        end_time: int | None = None,
        run_name: str | None = None,
    ) -> Run:
        with self._db.writing() as db:
            run_rows.update(db, run_id, status, end_time, run_name)
            return run_rows.get(db, run_id, self.artifact_root)

    def delete_run(self, run_id: str) -> None:
        with self._db.writing() as db:
            run_rows.set_stage(db, run_id, "deleted")

    def restore_run(self, run_id: str) -> None:
        with self._db.writing() as db:
            run_rows.set_stage(db, run_id, "active")

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str = "",
        order_by: Sequence[str] = (),
        max_results: int = 1000,
        page_token: str = "",
        run_view_type: str = "ACTIVE_ONLY",
    ) -> tuple[list[Run], str]:
        from projrun.tracking.sqlite import searches

        page = searches.SearchPage(filter_string, order_by, max_results, page_token)
        with self._db.reading() as db:
            return searches.search_runs(db, experiment_ids, page, run_view_type, self.artifact_root)

    def move_run(self, run_id: str, experiment_id: str) -> Path | None:
        """Move a run and its artifacts to another experiment; return the link in their old place."""
        with self._db.writing() as db:
            before = self._artifacts / run_rows.artifact_path(db, run_id)
            run_rows.move_to_experiment(db, run_id, experiment_id)
            after = self._artifacts / run_rows.artifact_path(db, run_id)
            if before == after or not before.exists():
                return None
            try:
                after.parent.mkdir(parents=True, exist_ok=True)
                before.rename(after)
                before.symlink_to(after)
            except OSError as error:
                raise inaccessible(error, self._artifacts) from None
        return before

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        with self._db.writing() as db:
            run_rows.log_batch(db, run_id, metrics, params or {}, tags or {})
            if any(metric.model_id for metric in metrics):
                from projrun.tracking.sqlite import logged_models

                logged_models.put_metrics(db, run_id, metrics)

    def delete_tag(self, run_id: str, key: str) -> None:
        with self._db.writing() as db:
            run_rows.delete_tag(db, run_id, key)

    def log_model(self, run_id: str, model: Mapping[str, object]) -> None:
        with self._db.writing() as db:
            run_rows.log_model(db, run_id, model)

    def log_inputs(self, run_id: str, datasets: Sequence[DatasetInput]) -> None:
        with self._db.writing() as db:
            run_rows.log_inputs(db, run_id, datasets)

    def get_metric_history(
        self, run_id: str, key: str, max_results: int | None = None, offset: int = 0
    ) -> list[Metric]:
        with self._db.reading() as db:
            return run_rows.metric_history(db, run_id, key, max_results, offset)

    def list_artifacts(self, run_id: str, path: str = "") -> list[ArtifactInfo]:
        return self._directory(run_id).list_entries(path)

    def open_artifact(self, run_id: str, path: str) -> AbstractContextManager[BinaryIO]:
        return self._directory(run_id).open_file(path)

    def artifact_file(self, run_id: str, path: str) -> Path | None:
        return self._directory(run_id).resolve_path(path)

    def write_artifact(self, run_id: str, path: str, content: bytes | Iterator[bytes]) -> None:
        self._directory(run_id).write(path, content)

    def delete_artifact(self, run_id: str, path: str) -> None:
        self._directory(run_id).delete(path)

    def log_file(self, run_id: str, path: str) -> Path:
        return self._directory(run_id).prepare_file(path)

    def finish_file(self, run_id: str, path: str) -> None:
        """Do nothing: the file grew in its final place."""

    @property
    def models(self) -> SqliteModels:
        from projrun.tracking.sqlite.model_registry import open_models

        return open_models(self._db, self._artifacts)

    def importer(self, artifacts: Iterable[Path]) -> Importer:
        """Return an importer. artifacts: the directories that artifacts of imported runs may come from."""
        from projrun.tracking.mlflow_import.importer import Importer

        return Importer(self._db, self._artifacts, artifacts)

    def find_faults(self) -> list[str]:
        """Return the faults of the database and its files, one line each."""
        from projrun.tracking.sqlite.database import find_faults

        with self._db.reading() as db:
            return find_faults(db, self._artifacts)

    def remove_abandoned_uploads(self) -> int:
        """Remove what killed uploads left behind. Return the number of files."""
        return remove_abandoned_uploads(self._artifacts)

    def impatient(self) -> SqliteStore:
        if self._impatient is None:
            self._impatient = SqliteStore(Database(self._db.path, 0), self._artifacts)
        return self._impatient

    def close(self) -> None:
        self._db.close()
        if self._impatient is not None:
            self._impatient.close()

    def _directory(self, run_id: str) -> ArtifactDirectory:
        with self._db.connection() as db:
            return ArtifactDirectory(self._artifacts, run_rows.artifact_path(db, run_id))
