"""Packages of a lock that are installed from files in a directory, and not from an index."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from projrun.environments.contents import normal

_URL = re.compile(r'\burl = "([^"]*/)?([^"/]+)"')


def with_files(pylock: str, directory: str) -> str:
    """The lock with the paths of the files that `directory` has in place of their URLs; hashes stay."""
    if not directory:
        return pylock
    from urllib.parse import unquote

    def named(match: re.Match[str]) -> str:
        file = Path(directory, unquote(match[2].partition("#")[0]))
        return f"path = {msgspec.json.encode(str(file)).decode()}" if file.is_file() else match[0]

    return _URL.sub(named, pylock)


def holds_all(pylock: str, directory: str) -> bool:
    """Whether `directory` has a file of every package of the lock."""
    from projrun import tomlfile

    if not directory:
        return False
    there = {normal(path.name) for path in Path(directory).glob("*")}
    packages = tomlfile.parse(pylock, "pylock.toml").get("packages", [])
    return all(
        "version" in package
        and any(name.startswith(f"{normal(package['name'] + '-' + package['version'])}-") for name in there)
        for package in packages
    )
