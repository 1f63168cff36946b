"""A run that was done: found by its id, on another server, or in a file."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple, Protocol

from projrun import sources, tracking
from projrun.bundle import RECORD, TREE
from projrun.digests import CHUNK, sha256_file
from projrun.errors import RecordError, TrackingError, UsageError
from projrun.files import temporary_directory
from projrun.home import Home
from projrun.plan import Checkout
from projrun.record import KEPT_OUTPUTS, RECORD_ARTIFACT, Output, Record, from_json
from projrun.runner.unbundling import is_bundle, tree_of, unpacked
from projrun.tracking import Store
from projrun.tracking.entities import Run
from projrun.tracking.lookup import find_run
from projrun.tracking.supervision import settled_store
from projrun.urls import without_credentials


class Artifacts(Protocol):
    """What was kept with a run."""

    def file(self, path: str) -> Path | None:
        """An artifact as a file of this machine; None when there is none."""
        ...


class Found(NamedTuple):
    record: Record
    artifacts: Artifacts
    run: Run | None = None
    """In this machine's store; None for a run from elsewhere."""
    bundle: Path | None = None
    """The unpacked bundle that it was found in."""

    def content(self, output: Output) -> Path | None:
        """The file that holds an output of the run: still where it was written, or kept; else None."""
        if output.change == "logged":
            return self._kept(output.path, output)
        there = Path(self.record.root, output.path)
        if self.record.root and output.sha256 and _is(there, output.sha256):
            return there
        return self._kept(f"{KEPT_OUTPUTS}/{output.path}", output)

    def _kept(self, path: str, output: Output) -> Path | None:
        """Beside a record that was moved may lie another file of that name."""
        file = self.artifacts.file(path)
        return file if file is None or not output.sha256 or _is(file, output.sha256) else None


def find(name: str, home: Home, stack: ExitStack) -> Found:
    """name: a run id or its beginning, SERVER_URL#RUN, or the path of a record.json or a bundle.

    Raises RecordError.
    stack: holds what the artifacts need for as long as they are used.
    """
    if os.path.isfile(name):
        return _in_file(Path(name), stack)
    url, _, run_id = name.rpartition("#")
    if url:
        if not url.lower().startswith(("http://", "https://")):
            raise UsageError(f"'{without_credentials(name)}' is no run", "give URL_OF_A_SERVER#RUN_ID")
        store = stack.enter_context(closing(tracking.open_store(home, url)))
        return _in_store(store, find_run(store, run_id), stack)._replace(run=None)
    if os.path.sep in name or name.endswith((".json", ".zip")):
        raise RecordError(
            f"there is no file '{name}'", "give a run id, a bundle, or the path of a record.json"
        )
    store = stack.enter_context(closing(settled_store(home)))
    return _in_store(store, find_run(store, name), stack)


def restored(found: Found, home: Home, stack: ExitStack) -> Checkout:
    """The tree that the run started from, as a checkout that goes with the stack. Raises ProjrunError."""
    record = found.record
    if found.bundle and (found.bundle / TREE).is_dir():
        return tree_of(found.bundle, record, home, stack)
    if record.closure is None:
        raise RecordError(
            f"the source of run {record.run_id} was not recorded with it", "run the project anew"
        )
    artifact = found.artifacts.file(record.closure.artifact) if record.closure.artifact else None
    checkout = sources.restore(record.plan.source, record.closure, artifact, home)
    stack.callback(sources.release, checkout, home)
    return checkout


def _in_file(file: Path, stack: ExitStack) -> Found:
    """The artifacts are where the record was among them: below the directory of `projrun/record.json`."""
    try:
        if is_bundle(file):
            root = unpacked(file, stack)
            return _in_file(root / RECORD, stack)._replace(bundle=root)
        record = from_json(file.read_bytes())
    except OSError as error:
        raise RecordError(f"{file} cannot be read: {error.strerror}", "look at its rights") from None
    directory = file.resolve().parent
    return Found(record, InDirectory(directory.parent if directory.name == "projrun" else directory))


def _in_store(store: Store, run: Run, stack: ExitStack) -> Found:
    artifacts = InStore(store, run.run_id, stack)
    file = artifacts.file(RECORD_ARTIFACT)
    if file is None:
        raise RecordError(
            f"run {run.run_id} has no record",
            "projrun writes one when a run of its own has ended; look at its state with `projrun runs show`",
        )
    return Found(from_json(file.read_bytes()), artifacts, run)


class InDirectory:
    """A record may come from anyone: no name in it, and no link beside it, leads out of the directory."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def file(self, path: str) -> Path | None:
        file = self._root / path
        is_inside = self._root in Path(os.path.realpath(file)).parents
        return file if is_inside and file.is_file() else None


class InStore:
    """Those on a server are downloaded when they are asked for."""

    def __init__(self, store: Store, run_id: str, stack: ExitStack) -> None:
        self._store, self._run_id, self._stack = store, run_id, stack
        self._scratch: Path | None = None
        self._files: dict[str, Path] = {}

    def file(self, path: str) -> Path | None:
        try:
            local = self._store.artifact_file(self._run_id, path)
            if local is not None:
                return local if local.is_file() else None
            if path not in self._files:
                self._files[path] = self._downloaded(path)
            return self._files[path]
        except TrackingError as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _downloaded(self, path: str) -> Path:
        if self._scratch is None:
            self._scratch = self._stack.enter_context(temporary_directory())
        target = self._scratch / str(len(self._files))
        with self._store.open_artifact(self._run_id, path) as source, target.open("wb") as file:
            while chunk := source.read(CHUNK):
                file.write(chunk)
        return target


def _is(path: Path, sha256: str) -> bool:
    try:
        return path.is_file() and sha256_file(path) == sha256
    except OSError:
        return False
