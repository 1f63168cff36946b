"""The parts of a uri: a directory, archive or repository and, behind a `#`, a directory in it.

This module imports nothing of Git, which a run of a plain directory does not need.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from projrun.errors import SourceError


class Location(NamedTuple):
    """A uri, parsed by the kind of source that it belongs to, before anything is looked up."""

    base: str  # the directory, archive or repository, with the credentials in it
    version: str = ""  # the version that the uri itself names; empty when it names none
    subdirectory: str = ""
    # `BRANCH/dir` of a URL pasted from a browser: only the repository knows where the branch ends
    page: str = ""
    is_file: bool = False  # `page` names a file; the project is in its directory
    uri: str = ""  # the text that was parsed


def split_off(uri: str) -> tuple[str, str]:
    """Split a uri into base and subdirectory. An existing directory wins, even with a `#` in its name."""
    end = len(uri)
    while end != -1:
        if os.path.isdir(uri[:end]):
            return uri[:end], uri[end + 1 :]
        end = uri.rfind("#", 0, end)
    path_at = uri.find("/", uri.find("://") + 3) if "://" in uri else 0  # a password may hold a `#`
    mark = uri.find("#", max(path_at, 0))
    return (uri, "") if mark == -1 else (uri[:mark], uri[mark + 1 :])


def directory_within(root: Path, subdirectory: str, tree: str) -> Path:
    """Return the directory `subdirectory` below `root`. tree: its name in a SourceError."""
    if not subdirectory:
        return root
    parts = subdirectory.split("/")
    if subdirectory.startswith("/") or ".." in parts or ".git" in parts or not subdirectory.isprintable():
        raise SourceError(
            f"{subdirectory!r} is no directory below the top of {tree}",
            "give a relative path without '..', such as '#examples/one'",
        )
    directory = Path(os.path.realpath(root / subdirectory))
    if not directory.is_dir():
        raise SourceError(f"{tree} has no directory '{subdirectory}'", _list_directories(root))
    if not directory.is_relative_to(os.path.realpath(root)):
        raise SourceError(f"'{subdirectory}' leads out of {tree}", "name a directory inside of it")
    return directory


def _list_directories(root: Path) -> str:
    names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and entry.name != ".git")
    if not names:
        return "there are no directories in it: leave out what follows '#'"
    return f"at its top there are: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}"


def path_of(url: str) -> str:
    """Return the path in a file URL. Percent signs that name an existing path are not decoded."""
    path = url.partition("://")[2].removeprefix("localhost")
    if os.path.exists(path) or "%" not in path:
        return path
    from urllib.parse import unquote

    return unquote(path)


def is_repository(directory: str) -> bool:
    """Return True for a bare repository and for the `.git` of one that is not."""
    return all(os.path.exists(os.path.join(directory, name)) for name in ("HEAD", "objects", "refs"))
