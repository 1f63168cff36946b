"""Inputs: files that a run reads. Each kind of remote input is a module that fulfils `InputKind`.

check(url)                              refuse what can never be had, before anything is downloaded
gather(planned, urls, run_artifacts)    download what is remote; size and digest of all
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import msgspec

from projrun.disk import Home, file_locks
from projrun.disk.file_operations import temporary_beside
from projrun.errors import InputError, ProjrunError
from projrun.net import without_secrets
from projrun.plan import PlannedInput
from projrun.record import Input

if TYPE_CHECKING:
    from projrun.console.progress import Progress


class ArtifactEntry(Protocol):
    @property
    def path(self) -> str: ...

    @property
    def is_dir(self) -> bool: ...

    @property
    def file_size(self) -> int | None: ...


class RunArtifacts(Protocol):
    """The artifacts of all runs, as a store of runs gives them."""

    def list_artifacts(self, run_id: str, path: str = "") -> Sequence[ArtifactEntry]:
        """Return the entries of one directory; none for a file or what does not exist."""
        ...

    def open_artifact(self, run_id: str, path: str) -> AbstractContextManager[BinaryIO]: ...


class InputKind(Protocol):
    def claims(self, url: str) -> bool:
        """Return True if `url` is of this kind. Never asks the network."""
        ...

    def check(self, url: str) -> None:
        """Raise ParameterError or UnavailableError when it can never be had. Never asks the network."""
        ...

    def fetch(self, url: str, target: Path, run_artifacts: RunArtifacts, progress: Progress) -> None:
        """Make `target`, which does not exist, the file or directory at `url`, whole. Raises InputError."""
        ...


KINDS = {
    # asked in this order; fsspec is asked last because it claims everything
    "web": "projrun.inputs.web",
    "runs": "projrun.inputs.run_artifact",
    "filesystem": "projrun.inputs.filesystem",
}


def check(url: str) -> None:
    _kind_of(url).check(url)


def gather(
    planned: Sequence[PlannedInput], urls: Mapping[str, str], run_artifacts: RunArtifacts
) -> tuple[Input, ...]:
    """Download remote inputs and measure all of them. urls: of remote ones, by parameter, as given."""
    if not planned:
        return ()
    from projrun.inputs.digest import measure

    for one in planned:
        if one.remote:
            _download(one, urls[one.parameter], run_artifacts)
    return tuple(measure(one) for one in planned)


def _download(planned: PlannedInput, url: str, run_artifacts: RunArtifacts) -> None:
    from projrun.console.progress import Progress

    target = Path(planned.path)
    try:
        with temporary_beside(target) as temporary, Progress(target.name) as progress:
            _kind_of(url).fetch(url, temporary, run_artifacts, progress)
            temporary.rename(target)
    except (ProjrunError, OSError) as error:
        reason = error.message if isinstance(error, ProjrunError) else error.strerror or str(error)
        hint = error.hint if isinstance(error, ProjrunError) else ""
        raise InputError(
            f"parameter '{planned.parameter}': {without_secrets(url)} could not be downloaded: {reason}", hint
        ) from None


def _kind_of(url: str) -> InputKind:
    kinds = (cast(InputKind, import_module(module)) for module in KINDS.values())
    return next(kind for kind in kinds if kind.claims(url))


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """A directory for downloads, known beforehand, so that the command can name the files in it.

    Each run has its own: none sees another's file change.
    """

    directory: Path
    temporary: bool
    """It goes when the run ends. One below the user's --storage-dir stays."""


def storage_for(storage_dir: str, home: Home) -> Storage:
    """Name a directory that no other run has, without making it."""
    if storage_dir:
        name = f"projrun-{os.urandom(8).hex()}"
        return Storage(directory=Path(os.path.abspath(storage_dir), name), temporary=False)
    return Storage(directory=file_locks.new_directory_name(home.inputs), temporary=True)


def make_storage(storage: Storage, home: Home) -> None:
    try:
        if storage.temporary:
            home.mark_cache()
            file_locks.claim_directory(storage.directory)
        else:
            storage.directory.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"the directory for downloads, {storage.directory}, cannot be made: {error.strerror}",
            "name another with --storage-dir",
        ) from None


def discard_storage(storage: Storage) -> None:
    """Remove temporary storage, and of other storage the empty directories. Calling it twice does no harm."""
    if storage.temporary:
        file_locks.release_directory(storage.directory)
        return
    for directory in (*storage.directory.glob("*"), storage.directory):
        with contextlib.suppress(OSError):  # it holds what was downloaded
            directory.rmdir()
