"""Sizes and digests of inputs."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from projrun.disk.file_operations import sha256_files, sha256_text, utf8_name
from projrun.disk.file_tree import walk_tree
from projrun.errors import InputError
from projrun.plan import PlannedInput
from projrun.record import Input


def measure(planned: PlannedInput) -> Input:
    """Return size and digest of an input. Raises InputError for what cannot be read."""
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
            sha256=_of_directory(files, size) if directory else _of_file(files, size),
            files=len(files) if directory else None,
        )
    except OSError as error:
        raise InputError(
            f"parameter '{planned.parameter}': {error.filename or path} cannot be read: {error.strerror}",
            "look at its rights",
        ) from None


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and path of every regular file; links to files are followed, to directories they are not."""
    if not path.is_dir():
        if stat.S_ISREG(path.stat().st_mode):
            yield "", path
        return
    for name, entry in walk_tree(path):
        if entry.is_file():
            yield name, path / name


def _of_file(files: dict[str, Path], size: int) -> str:
    return sha256_files([files[""]], size, "taking the digest of")[0] if files else ""


def _of_directory(files: dict[str, Path], size: int) -> str:
    named = sorted((utf8_name(name), file) for name, file in files.items())
    digests = sha256_files([file for _, file in named], size, "taking digests of")
    return sha256_text("".join(f"{digest} {name}\n" for (name, _), digest in zip(named, digests)))
