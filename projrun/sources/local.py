"""Projects in a directory: used in place, or checked out into the cache when a version is asked for."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from projrun.disk import Home
from projrun.disk.file_operations import find_git_top
from projrun.errors import SourceError
from projrun.net import without_credentials
from projrun.plan import Checkout, Source
from projrun.sources.location import Location, directory_within, is_repository, path_of, split_off


def locate(uri: str) -> Location | None:
    """Claim an existing directory, but for a bare repository, which is cloned.

    A file URL of a plain directory is that directory, as in mlflow; of a repository it is the repository.
    """
    is_url = uri.lower().startswith("file://")
    directory, subdirectory = split_off(path_of(uri) if is_url else uri)
    if not os.path.isdir(directory) or is_repository(directory):
        return None
    if is_url and directory.rstrip("/").endswith(".git"):
        return None
    return Location(directory, subdirectory=subdirectory, uri=uri)


def fetch(
    location: Location, version: str, home: Home, *, offline: bool = False, looking: bool = False
) -> Checkout:
    start = Path(os.path.realpath(location.base))
    if version:
        from projrun.sources.git.repository import checkout_at

        return checkout_at(location, version, start, home, offline=offline)
    directory = directory_within(start, location.subdirectory, f"'{location.base}'")
    top = find_git_top(directory)
    subdirectory = directory.relative_to(top or start).as_posix()
    source = Source(kind="local", uri=location.uri, subdirectory="" if subdirectory == "." else subdirectory)
    if top is None:
        return Checkout(source=source, root=start, directory=directory)
    from projrun.sources.git.worktree import inspect_tree, main_remote, read_state

    try:
        state, unknown = inspect_tree(top) if looking else (read_state(top), "")
    except SourceError as error:  # the files can be run all the same
        notice = f"the commit of {top} is not recorded: {error.message}"
        return Checkout(source=source, root=top, directory=directory, notices=(notice,))
    source = msgspec.structs.replace(
        source,
        repository=without_credentials(main_remote(state.settings, top)),
        commit=state.commit,
        branch=state.branch,
        dirty=None if unknown else bool(state.changes),
    )
    text = f"it is not known whether {top} differs from its commit: {unknown}, which only a run follows"
    notices = (text,) if unknown else ()
    return Checkout(source=source, root=top, directory=directory, notices=notices, worktree=state)
