"""The packages that are really in a Python environment, read from its files: no process is started."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from projrun.disk.file_operations import sha256_file, sha256_text
from projrun.plan import Lock
from projrun.record import Package


def packages(dest: Path) -> tuple[Package, ...]:
    """Return the packages installed at `dest`, sorted by name; those from a URL with their source."""
    installed = (package for site in _sites(dest) for package in packages_in(site))
    return tuple(sorted(installed, key=lambda package: package.name))


def packages_in(site: Path) -> Iterator[Package]:
    """Yield the packages of one directory such as `lib/python3.11/site-packages`."""
    for info in site.glob("*.dist-info"):
        name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
        yield Package(normal(name), version, origin(info / "direct_url.json"))


def normal(name: str) -> str:
    """Return a package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def fingerprint(dest: Path) -> str:
    """Return a digest of what is cheap to see: the names in site-packages, and the time of each RECORD.

    It changes when a package is installed, removed or replaced by hand; `altered` finds edited files.
    """
    lines = []
    for site in _sites(dest):
        for entry in sorted(os.listdir(site)):
            if entry == "__pycache__" or entry.endswith(".pyc"):
                continue  # Python writes them as it imports
            lines.append(entry)
            if entry.endswith(".dist-info"):
                lines.append(_stamp(site / entry / "RECORD"))
    lines += sorted(info.name for info in dest.glob("conda-meta/*.json"))
    return sha256_text("\n".join(lines))


def locked_packages(pylock: str) -> list[dict[str, Any]]:
    """Return the tables `packages` of a pylock.toml; none of an empty text."""
    from projrun.documents import toml_file

    packages: list[dict[str, Any]] = (
        toml_file.parse(pylock, "pylock.toml").get("packages", []) if pylock else []
    )
    return packages


def mismatch(lock: Lock, packages: tuple[Package, ...], pylock_is_complete: bool) -> str:
    """Return the differences of the installed packages from the locked ones in one line, or ''.

    pylock_is_complete: every package that is neither in the pylock nor local is a difference.
    """
    locked = {normal(entry["name"]): entry for entry in locked_packages(lock.pylock)}
    installed = {package.name: package.version for package in packages}
    local = {normal(requirement.name) for requirement in lock.local}
    additional = installed.keys() - locked.keys() - local
    faults = [f"{name} is not in the lock" for name in sorted(additional)] if pylock_is_complete else []
    faults += [f"{name} is missing" for name in sorted(local - installed.keys())]
    for name, entry in sorted(locked.items()):
        version = entry.get("version", "")
        if name not in installed:
            # A package with a marker may be for other platforms.
            if "marker" not in entry:
                faults.append(f"{name} {version} is missing".replace("  ", " "))
        elif version and not _same_version(version, installed[name]):
            faults.append(f"{name} is {installed[name]} instead of {version}")
    return ", ".join(faults)


def altered(dest: Path) -> list[str]:
    """Return the files that differ from what was installed, by the digests in RECORD. Reads every file."""
    import base64
    import csv

    changed = []
    for site in _sites(dest):
        for record in sorted(site.glob("*.dist-info/RECORD")):
            with record.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.reader(file) if len(row) > 1]
            for name, digest, *_ in rows:
                # Scripts outside are rewritten when an environment is made relocatable.
                if not digest.startswith("sha256=") or name.startswith(("..", "/")):
                    continue
                path = site / name
                recorded = base64.urlsafe_b64decode(digest.removeprefix("sha256=") + "==").hex()
                if not path.is_file() or sha256_file(path) != recorded:
                    changed.append(str(path.relative_to(dest)))
    return changed


def _sites(dest: Path) -> list[Path]:
    return sorted(dest.glob("lib/python*/site-packages"))


def _stamp(path: Path) -> str:
    try:
        facts = path.stat()
    except OSError:
        return "missing"
    return f"{facts.st_size} {int(facts.st_mtime)}"  # an image layer keeps whole seconds only


def origin(direct_url: Path) -> str:
    """Return `URL@commit`, or the URL, of a package that did not come from an index (PEP 610); else ''."""
    from projrun.net import without_secrets

    try:
        facts = msgspec.json.decode(direct_url.read_bytes())
    except (OSError, msgspec.DecodeError):
        return ""
    commit = facts.get("vcs_info", {}).get("commit_id", "")
    return without_secrets(facts.get("url", "")) + (f"@{commit}" if commit else "")


def _same_version(version: str, other: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(version) == Version(other)
    except InvalidVersion:
        return version == other
