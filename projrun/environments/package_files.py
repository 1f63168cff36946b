"""Packages of a lock that are installed from files in a directory, and not from an index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from projrun.environments.contents import normal

_URL = r'\burl = "([^"]*/)?([^"/]+)"'


def with_files(pylock: str, directory: str) -> str:
    """Return the lock with paths instead of URLs for the files that `directory` has; hashes stay."""
    if not directory:
        return pylock
    from urllib.parse import unquote

    def named(match: re.Match[str]) -> str:
        file = Path(directory, unquote(match[2].partition("#")[0]))
        return f"path = {msgspec.json.encode(str(file)).decode()}" if file.is_file() else match[0]

    return re.sub(_URL, named, pylock)


def holds_all(pylock: str, directory: str) -> bool:
    """Return True if `directory` has a file of every package of the lock."""
    from projrun.documents import toml_file

    if not directory:
        return False
    there = {normal(path.name) for path in Path(directory).glob("*")}
    packages = toml_file.parse(pylock, "pylock.toml").get("packages", [])
    return all(
        "version" in package
        and any(name.startswith(f"{normal(package['name'] + '-' + package['version'])}-") for name in there)
        for package in packages
    )


def copied(pylock: str, directory: str, target: Path) -> str:
    """Copy the files that this machine or `directory` has to `target`; return the lock that names them.

    They are named by their path from the parent of `target`, where the lock is going to be.
    """
    from shutil import copyfile

    from projrun.documents import toml_file

    document = toml_file.parse(pylock, "pylock.toml")
    for file, place in _here(document, directory):
        target.mkdir(exist_ok=True)
        copyfile(place, target / place.name)
        file.pop("url", None)
        file["path"] = f"{target.name}/{place.name}"
    return toml_file.dump(document)


def on_this_machine(pylock: str) -> list[Path]:
    """Return the files of the lock that only this machine has."""
    from projrun.documents import toml_file

    return [place for _, place in _here(toml_file.parse(pylock, "pylock.toml"), "")] if pylock else []


def _here(document: dict[str, Any], directory: str) -> Iterator[tuple[dict[str, Any], Path]]:
    """Yield each file of a package that can be copied, and its path."""
    from urllib.parse import unquote

    for package in document.get("packages", ()):
        for file in (
            *package.get("wheels", ()),
            *(package[key] for key in ("sdist", "archive") if key in package),
        ):
            url = file.get("url", "")
            place = Path(file.get("path") or unquote(url.removeprefix("file://").partition("#")[0]))
            carried = Path(directory, place.name) if directory else None
            if carried and carried.is_file():
                yield file, carried
            elif ("path" in file or url.startswith("file://")) and place.is_file():
                yield file, place
