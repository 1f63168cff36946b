"""Where the remote inputs of one run are downloaded to."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from projrun import scratch
from projrun.errors import InputError
from projrun.home import Home


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """Known before anything is downloaded, so that the command can name what will be there."""

    directory: Path
    temporary: bool
    """It goes when the run ends. One below the user's --storage-dir stays."""


def storage_for(storage_dir: str, home: Home) -> Storage:
    """A directory that no other run has. It is not made yet."""
    if storage_dir:
        name = f"projrun-{os.urandom(8).hex()}"
        return Storage(directory=Path(os.path.abspath(storage_dir), name), temporary=False)
    return Storage(directory=scratch.name_in(home.inputs), temporary=True)


def make(storage: Storage, home: Home) -> None:
    try:
        if storage.temporary:
            home.mark_cache()
            scratch.claim(storage.directory)
        else:
            storage.directory.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"the directory for downloads, {storage.directory}, cannot be made: {error.strerror}",
            "name another with --storage-dir",
        ) from None


def discard(storage: Storage) -> None:
    """Remove a temporary one; of another, what is empty because a download failed. Once more is fine."""
    if storage.temporary:
        scratch.release(storage.directory)
        return
    for directory in (*storage.directory.glob("*"), storage.directory):
        with contextlib.suppress(OSError):  # it holds what was downloaded
            directory.rmdir()
