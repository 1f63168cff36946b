"""Packages of a lock that are installed from files in a directory, and not from an index."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from projrun.environments.contents import locked_packages, normal

_URL = r'\burl = "([^"]*/)?([^"/]+)"'


def with_files(pylock: str, directory: str) -> str:
    """Return the lock with paths instead of URLs for the files that `directory` has; hashes stay."""
    if not directory:
        return pylock
    from urllib.parse import unquote

    def path_of(match: re.Match[str]) -> str:
        file = Path(directory, unquote(match[2].partition("#")[0]))
        return f"path = {msgspec.json.encode(str(file)).decode()}" if file.is_file() else match[0]

    return re.sub(_URL, path_of, pylock)


def holds_all(pylock: str, directory: str) -> bool:
    """Return True if `directory` has a file of every package of the lock."""
    if not directory:
        return False
    names = {normal(path.name) for path in Path(directory).glob("*")}
    return all(
        "version" in package
        and any(name.startswith(f"{normal(package['name'] + '-' + package['version'])}-") for name in names)
        for package in locked_packages(pylock)
    )


def copy_files(pylock: str, directory: str, target: Path) -> str:
    """Copy the files that this machine or `directory` has to `target`; return the lock that names them.

    They are named by their path from the parent of `target`, where the lock is going to be.
    """
    from shutil import copyfile

    from projrun.documents import toml_file

    document = toml_file.parse(pylock, "pylock.toml")
    for file, path in _local_files(document.get("packages", ()), directory):
        target.mkdir(exist_ok=True)
        copyfile(path, target / path.name)
        file.pop("url", None)
        file["path"] = f"{target.name}/{path.name}"
    return toml_file.dump(document)


def list_local_files(pylock: str) -> list[Path]:
    """Return the files of the lock that only this machine has."""
    return [path for _, path in _local_files(locked_packages(pylock), "")]


def files_of(package: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the tables of a locked package's wheels, sdist and archive."""
    yield from package.get("wheels", ())
    yield from (package[key] for key in ("sdist", "archive") if key in package)


def _local_files(packages: Iterable[dict[str, Any]], directory: str) -> Iterator[tuple[dict[str, Any], Path]]:
    """Yield the table of each file that `directory` or the lock's own path has, and its path."""
    from urllib.parse import unquote

    for file in (file for package in packages for file in files_of(package)):
        url = file.get("url", "")
        path = Path(file.get("path") or unquote(url.removeprefix("file://").partition("#")[0]))
        if directory and Path(directory, path.name).is_file():
            yield file, Path(directory, path.name)
        elif ("path" in file or url.startswith("file://")) and path.is_file():
            yield file, path
