"""What an input is: its size and the digest of its content."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from projrun.digests import sha256_file, sha256_text
from projrun.errors import InputError
from projrun.output import say
from projrun.plan import PlannedInput
from projrun.progress import in_words
from projrun.record import Input

LARGE = 2_000_000_000
"""Bytes from which on hashing takes so long that people wonder."""


def measure(planned: PlannedInput) -> Input:
    """Raises InputError for what cannot be read."""
    path = Path(planned.path)
    try:
        files = dict(_files(path))
        size = sum(file.stat().st_size for file in files.values())
        if size > LARGE:
            say(f"parameter '{planned.parameter}': taking the digest of {in_words(size)}")
        directory = path.is_dir()
        return Input(
            parameter=planned.parameter,
            value=planned.value,
            path=planned.path,
            size=size,
            sha256=_of_directory(files) if directory else _of_file(files),
            files=len(files) if directory else None,
        )
    except OSError as error:
        raise InputError(
            f"parameter '{planned.parameter}': {error.filename or path} cannot be read: {error.strerror}",
            "look at its rights",
        ) from None


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Name and place of every regular file, links to files followed; links to directories are not."""
    if not path.is_dir():
        if stat.S_ISREG(path.stat().st_mode):
            yield "", path
        return
    for directory, _, names in os.walk(path, onerror=_raised):
        for name in names:
            file = Path(directory, name)
            if file.is_file():
                yield file.relative_to(path).as_posix(), file


def _raised(error: OSError) -> None:
    raise error


def _of_file(files: dict[str, Path]) -> str:
    return sha256_file(files[""]) if files else ""


def _of_directory(files: dict[str, Path]) -> str:
    """Names that are not UTF-8 have escapes in place of what is not."""
    names = {os.fsencode(name).decode(errors="backslashreplace"): file for name, file in files.items()}
    return sha256_text("".join(f"{sha256_file(names[name])} {name}\n" for name in sorted(names)))
