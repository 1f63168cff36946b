"""Writing and removing files so that nothing is ever seen half done."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WRITERS_S = 30.0
"""How long others may still write into a tree that is removed."""


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace `path` in one step: a reader sees the old content or the new, never a part."""
    data = content.encode() if isinstance(content, str) else content
    with beside(path) as temporary:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A fresh name in the same directory, to be renamed to `path`; whatever is left there goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        yield temporary
    finally:
        remove(temporary)


def target_of(temporary: Path) -> Path:
    """What the name that `beside` gave is going to be renamed to."""
    return temporary.with_name(temporary.name[1:].rsplit(".", 2)[0])


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """A directory of our own, gone at the end. Its import is late: it costs more than most runs need."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="projrun-") as name:
        yield Path(name)


def name_in_utf8(name: str) -> str:
    """A file's name as text that JSON can hold: what is not UTF-8 in it has escapes."""
    return os.fsencode(name).decode(errors="backslashreplace")


def remove(path: Path) -> None:
    """Remove a file or a whole tree, read-only directories included; a missing one is fine.

    A process that a killed one had started may still write there: it is given time to come to its end.
    """
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    elif path.exists():
        import shutil

        deadline = time.monotonic() + WRITERS_S
        shutil.rmtree(path, ignore_errors=True)
        while path.exists():
            try:
                for directory, _, _ in os.walk(path):
                    os.chmod(directory, 0o700)
                shutil.rmtree(path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.ENOENT) or time.monotonic() > deadline:
                    raise
