"""Find stored runs by id, on another server, or in a file, and compare them."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from projrun import sources, tracking
from projrun.backends import reclaim_stored
from projrun.compare.results import compare
from projrun.compare.side_by_side import SideBySide, SourceDiff, compare_trees, side_by_side
from projrun.disk import Home
from projrun.disk.file_operations import CHUNK, sha256_file, temporary_directory
from projrun.errors import ProjrunError, RecordError, TrackingError, UsageError
from projrun.history import Commit, History
from projrun.net import without_credentials
from projrun.plan import Checkout, Source, VerifyRules
from projrun.record import (
    BUNDLE_RECORD,
    BUNDLE_TREE,
    KEPT_OUTPUTS,
    RECORD_ARTIFACT,
    Output,
    Record,
    from_json,
)
from projrun.records.bundle_reader import check_out_bundle, is_bundle, unpack_bundle
from projrun.tracking import Store
from projrun.tracking.entities import COMMIT_TAG, PROJECT_TAG, Run, ViewType
from projrun.tracking.supervision import settled_store


def find_run(store: Store, prefix: str, view: ViewType = "ACTIVE_ONLY") -> Run:
    """Return the run whose id begins with `prefix`, among those that `view` shows. Raises TrackingError."""
    if not re.fullmatch(r"[0-9a-f]{1,32}", prefix):
        raise TrackingError(f"'{prefix}' is not a run id", "see `projrun runs list`")
    condition = f"attributes.run_id LIKE '{prefix}%'"
    runs, _ = store.search_runs([], condition, max_results=2, run_view_type=view)
    if not runs:
        raise _not_shown(store, prefix, condition, view)
    if len(runs) > 1:
        raise TrackingError(f"more than one run begins with '{prefix}'", "give more of its id")
    return runs[0]


def _not_shown(store: Store, prefix: str, condition: str, view: ViewType) -> TrackingError:
    matches, _ = store.search_runs([], condition, max_results=1, run_view_type="ALL")
    if not matches:
        return TrackingError(f"there is no run '{prefix}'", "see `projrun runs list`")
    if view == "DELETED_ONLY":
        return TrackingError(f"run '{prefix}' is not deleted", "see `projrun runs search --deleted`")
    return TrackingError(f"run '{prefix}' is deleted", f"bring it back with: projrun runs restore {prefix}")


class Provenance(NamedTuple):
    """The commit of a stored run, and the commits since the run before it."""

    commit: Commit | None
    # The newest earlier run of the same project in the same experiment.
    previous: Run | None
    # None where there is no earlier run, or where it was of the same commit.
    history: History | None


def read_provenance(store: Store, run: Run, home: Home) -> Provenance | None:
    """Return the commits that belong to a run; None for a run without a record or a commit."""
    from projrun.sources.git.library import read_commit, read_history

    if COMMIT_TAG not in run.tags:
        return None
    with ExitStack() as stack:
        try:
            record = _read_from_store(store, run, stack).record
        except RecordError:
            return None
        commit, previous = read_commit(record, home), _previous(store, run)
        if previous is None or previous.tags.get(COMMIT_TAG) == record.plan.source.commit:
            return Provenance(commit, previous, None)
        try:
            before = _read_from_store(store, previous, stack).record
        except RecordError:
            return Provenance(commit, None, None)
        return Provenance(commit, previous, read_history(before, record, home))


def _previous(store: Store, run: Run) -> Run | None:
    project = run.tags.get(PROJECT_TAG, "")
    if not project or "'" in project:  # the language of filters has no escape
        return None
    earlier = f"attributes.start_time < {run.start_time} AND tags.`{PROJECT_TAG}` = '{project}'"
    earlier += f" AND tags.`{COMMIT_TAG}` != ''"
    try:
        runs, _ = store.search_runs([run.experiment_id], earlier, ["attributes.start_time DESC"], 1)
    except TrackingError:  # an old server does not search by time
        return None
    return runs[0] if runs else None


class StoredRun(NamedTuple):
    record: Record
    artifacts: InDirectory | InStore
    # The run in this machine's store; None for a run from elsewhere.
    run: Run | None = None
    # The unpacked bundle that the record was read from, if any.
    bundle: Path | None = None

    def content(self, output: Output) -> Path | None:
        """Return the file with an output of the run, the original or the kept one; None if both are gone."""
        if output.change == "logged":
            return self._kept(output.path, output)
        original = Path(self.record.root, output.path)
        if self.record.root and output.sha256 and _has_digest(original, output.sha256):
            return original
        return self._kept(f"{KEPT_OUTPUTS}/{output.path}", output)

    def _kept(self, path: str, output: Output) -> Path | None:
        file = self.artifacts.file(path)
        # The files beside a record that was copied need not be those of its run
        return file if file is None or not output.sha256 or _has_digest(file, output.sha256) else None


def find_stored_run(name: str, home: Home, stack: ExitStack) -> StoredRun:
    """Find a run by its id or the beginning of it, SERVER_URL#RUN, or the path of a record.json or a bundle.

    stack: holds temporary files and connections for as long as the artifacts are used. Raises RecordError.
    """
    if os.path.isfile(name):
        return _read_file(Path(name), stack)
    url, _, run_id = name.rpartition("#")
    if url:
        if not url.lower().startswith(("http://", "https://")):
            raise UsageError(f"'{without_credentials(name)}' is no run", "give URL_OF_A_SERVER#RUN_ID")
        store = stack.enter_context(closing(tracking.open_store(home, url)))
        return _read_from_store(store, find_run(store, run_id), stack)._replace(run=None)
    if os.path.sep in name or name.endswith((".json", ".zip")):
        raise RecordError(
            f"there is no file '{name}'", "give a run id, a bundle, or the path of a record.json"
        )
    store = stack.enter_context(closing(settled_store(home, reclaim_stored)))
    return _read_from_store(store, find_run(store, name), stack)


def restore_source(stored_run: StoredRun, home: Home, stack: ExitStack) -> Checkout:
    """Check out the tree that the run started from. It is removed with the stack. Raises ProjrunError."""
    record = stored_run.record
    if stored_run.bundle and (stored_run.bundle / BUNDLE_TREE).is_dir():
        return check_out_bundle(stored_run.bundle, record, home, stack)
    if record.closure is None:
        raise RecordError(
            f"the source of run {record.run_id} was not recorded with it", "run the project anew"
        )
    artifact = stored_run.artifacts.file(record.closure.artifact) if record.closure.artifact else None
    checkout = sources.restore(record.plan.source, record.closure, artifact, home)
    stack.callback(sources.release, checkout, home)
    return checkout


def _read_file(file: Path, stack: ExitStack) -> StoredRun:
    """Read a bundle or a record. The other artifacts are in the directory of `projrun/record.json`."""
    try:
        if is_bundle(file):
            root = unpack_bundle(file, stack)
            return _read_file(root / BUNDLE_RECORD, stack)._replace(bundle=root)
        record = from_json(file.read_bytes())
    except OSError as error:
        raise RecordError(f"{file} cannot be read: {error.strerror}", "look at its rights") from None
    directory = file.resolve().parent
    return StoredRun(record, InDirectory(directory.parent if directory.name == "projrun" else directory))


def _read_from_store(store: Store, run: Run, stack: ExitStack) -> StoredRun:
    artifacts = InStore(store, run.run_id, stack)
    file = artifacts.file(RECORD_ARTIFACT)
    if file is None:
        raise RecordError(
            f"run {run.run_id} has no record",
            "projrun writes one when a run of its own has ended; look at its state with `projrun runs show`",
        )
    return StoredRun(from_json(file.read_bytes()), artifacts, run)


class InDirectory:
    """Artifacts in a directory. A record may be a stranger's: neither its names nor links lead out of it."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def file(self, path: str) -> Path | None:
        """Return the artifact `path`; None if there is none."""
        file = self._root / path
        is_inside = self._root in Path(os.path.realpath(file)).parents
        return file if is_inside and file.is_file() else None


class InStore:
    """Artifacts in a store; those on a server are downloaded when they are asked for."""

    def __init__(self, store: Store, run_id: str, stack: ExitStack) -> None:
        self._store, self._run_id, self._stack = store, run_id, stack
        self._scratch: Path | None = None
        self._files: dict[str, Path] = {}

    def file(self, path: str) -> Path | None:
        """Return the artifact `path` as a file of this machine; None if there is none."""
        try:
            local = self._store.artifact_file(self._run_id, path)
            if local is not None:
                return local if local.is_file() else None
            if path not in self._files:
                self._files[path] = self._download(path)
            return self._files[path]
        except TrackingError as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _download(self, path: str) -> Path:
        if self._scratch is None:
            self._scratch = self._stack.enter_context(temporary_directory())
        target = self._scratch / str(len(self._files))
        with self._store.open_artifact(self._run_id, path) as source, target.open("wb") as file:
            while chunk := source.read(CHUNK):
                file.write(chunk)
        return target


def _has_digest(path: Path, sha256: str) -> bool:
    try:
        return path.is_file() and sha256_file(path) == sha256
    except OSError:
        return False


def compare_stored_runs(first: StoredRun, second: StoredRun, home: Home) -> SideBySide:
    """Compare two runs. A source that is not available is a line in the result, not an error."""
    comparison = compare(first.record, second.record, VerifyRules(), (first.content, second.content))
    return side_by_side(first.record, second.record, _compare_sources(first, second, home), comparison)


def _compare_sources(first: StoredRun, second: StoredRun, home: Home) -> SourceDiff:
    old, new = first.record.plan.source, second.record.plan.source
    diff = SourceDiff(first=_describe_source(old), second=_describe_source(new))
    if old.commit and new.commit and old.commit != new.commit:
        from projrun.sources.git.library import read_history

        diff = msgspec.structs.replace(diff, history=read_history(first.record, second.record, home))
    if _have_same_source(first.record, second.record):
        return diff
    with ExitStack() as stack:
        try:
            trees = [restore_source(stored_run, home, stack).root for stored_run in (first, second)]
            return msgspec.structs.replace(diff, files=tuple(compare_trees(*trees)))
        except ProjrunError as error:
            return msgspec.structs.replace(diff, unknown=f"the files cannot be compared: {error}")


def _have_same_source(first: Record, second: Record) -> bool:
    """Return True if the records alone tell that both sources are the same."""
    a, b = first.closure, second.closure
    if a is None or b is None or (a.commit, a.sha256, a.unkept) != (b.commit, b.sha256, b.unkept):
        return False
    return bool(a.commit or a.sha256)


def _describe_source(source: Source) -> str:
    subdirectory = f"#{source.subdirectory}" if source.subdirectory and "#" not in source.uri else ""
    commit = f" at {source.commit[:12]}" if source.commit else ""
    return f"{source.repository or source.uri}{subdirectory}{commit}{' with changes' if source.dirty else ''}"
