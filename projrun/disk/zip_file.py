"""Zip archives whose bytes depend on their content alone."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from projrun.console.progress import Progress
from projrun.disk.file_operations import CHUNK, temporary_beside

_EPOCH = (1980, 1, 1, 0, 0, 0)
# Suffixes of files that are compressed already
_STORED = (".whl", ".gz", ".zip", ".png", ".jpg", ".jpeg", ".xz", ".bz2", ".npz", ".parquet")


class ZipWriter:
    """Add files to an open archive. digests: name -> (size, sha256) of each."""

    def __init__(self, archive: zipfile.ZipFile, progress: Progress) -> None:
        self._archive, self._progress = archive, progress
        self.digests: dict[str, tuple[int, str]] = {}

    def add(self, name: str, content: Path | bytes) -> None:
        """Add content, a file, or a symbolic link as such. Raises OSError."""
        if isinstance(content, bytes):
            self._text(name, content, stat.S_IFREG | 0o644)
        elif content.is_symlink():
            self._text(name, os.fsencode(os.readlink(content)), stat.S_IFLNK | 0o777)
        else:
            self._file(name, content)

    def _text(self, name: str, content: bytes, mode: int) -> None:
        self._archive.writestr(_info(name, mode), content)
        self.digests[name] = len(content), hashlib.sha256(content).hexdigest()

    def _file(self, name: str, path: Path) -> None:
        digest, size = hashlib.sha256(), 0
        mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
        info = _info(name, stat.S_IFREG | mode)
        info.file_size = path.stat().st_size
        with path.open("rb") as source, self._archive.open(info, "w") as target:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                target.write(chunk)
                size += len(chunk)
                self._progress.add(len(chunk))
        self.digests[name] = size, digest.hexdigest()


def _info(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = 3  # Unix, so the upper half of external_attr is a mode
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_STORED if name.endswith(_STORED) else zipfile.ZIP_DEFLATED
    return info


def write_zip(
    target: Path,
    content: Mapping[str, Path | bytes],
    last: tuple[str, Callable[[Mapping[str, tuple[int, str]]], bytes]],
) -> None:
    """Write an archive in one step, sorted by name. Raises OSError.

    last: name of a file to write after the others, and the function that makes it of their size and sha256.
    """
    with temporary_beside(target) as temporary:
        with Progress(target.name, "packing") as progress, zipfile.ZipFile(temporary, "x") as archive:
            progress.total = sum(_size(entry) for entry in content.values())
            writer = ZipWriter(archive, progress)
            for name in sorted(content):
                writer.add(name, content[name])
            writer.add(last[0], last[1](writer.digests))
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.lstat().st_size
