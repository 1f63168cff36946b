"""Inputs: files that a run reads. Each kind of remote input is a module that fulfils `InputKind`.

check(url)                              refuse a URL that can never be had, before anything is downloaded
gather(planned, urls, run_artifacts)    download remote inputs, measure all of them
"""

# http(s) and runs:/ need nothing that is not installed; whatever fsspec reads needs an extra.

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import msgspec

from projrun.disk import Home, file_locks
from projrun.disk.file_operations import sha256_files, sha256_text, temporary_beside, utf8_name
from projrun.disk.file_tree import walk_tree
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
    """The artifacts of all runs, which a tracking store gives."""

    def list_artifacts(self, run_id: str, path: str = "") -> Sequence[ArtifactEntry]:
        """Return the entries of one directory; none for a file or what does not exist."""
        ...

    def open_artifact(self, run_id: str, path: str) -> AbstractContextManager[BinaryIO]: ...


class InputKind(Protocol):
    def claims(self, url: str) -> bool:
        """Return True if `url` is of this kind, without asking the network."""
        ...

    def check(self, url: str) -> None:
        """Raise ParameterError or UnavailableError if `url` can never be had, without asking the network."""
        ...

    def fetch(self, url: str, target: Path, run_artifacts: RunArtifacts, progress: Progress) -> None:
        """Download the file or directory at `url` to `target`, which does not exist. Raises InputError."""
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
    """Download remote inputs and measure all of them. Raises InputError.

    urls: the URLs of remote inputs by parameter, with their credentials, which are not in the plan.
    """
    for planned_input in planned:
        if planned_input.remote:
            _download(planned_input, urls[planned_input.parameter], run_artifacts)
    return tuple(map(measure_input, planned))


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
    """A directory for the downloads of one run."""

    # Each run has a directory of its own, so that no other run changes its files. The path is known before
    # anything is downloaded, because the command names files in it. Without --storage-dir it is in the
    # cache, locked like a checkout: the next run removes what a killed one left

    directory: Path
    temporary: bool  # True if it is removed when the run ends; False below the user's --storage-dir


def storage_for(storage_dir: str, home: Home) -> Storage:
    """Name a directory that no other run has. It is not made yet."""
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
    """Remove temporary storage; of other storage, remove empty directories. May be called twice."""
    if storage.temporary:
        file_locks.release_directory(storage.directory)
        return
    for directory in (*storage.directory.glob("*"), storage.directory):
        with contextlib.suppress(OSError):  # a directory with downloads stays
            directory.rmdir()


# sizes and digests


def measure_input(planned: PlannedInput) -> Input:
    """Return an input with its size in bytes and its digest. Raises InputError if it cannot be read."""
    path = Path(planned.path)
    try:
        files = dict(_files(path))
        size = sum(file.stat().st_size for file in files.values())
        directory = path.is_dir()
        return Input(
            parameter=planned.parameter,
            value=planned.value,
            path=planned.path,
            size=size,
            sha256=_digest_directory(files, size) if directory else _digest_file(files, size),
            files=len(files) if directory else None,
        )
    except OSError as error:
        raise InputError(
            f"parameter '{planned.parameter}': {error.filename or path} cannot be read: {error.strerror}",
            "look at its rights",
        ) from None


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and path of every regular file. Links to files are followed, links to directories not."""
    if not path.is_dir():
        if stat.S_ISREG(path.stat().st_mode):
            yield "", path
        return
    for name, entry in walk_tree(path):
        if entry.is_file():
            yield name, path / name


def _digest_file(files: dict[str, Path], size: int) -> str:
    return sha256_files([files[""]], size, "taking the digest of")[0] if files else ""


def _digest_directory(files: dict[str, Path], size: int) -> str:
    named = sorted((utf8_name(name), file) for name, file in files.items())
    digests = sha256_files([file for _, file in named], size, "taking digests of")
    return sha256_text("".join(f"{digest} {name}\n" for (name, _), digest in zip(named, digests)))
