"""Files written and removed in one step, and their digests."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

WRITERS_S = 30.0  # seconds for which others may still write into a tree that is being removed


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace `path` in one step: a reader sees the old content or the new one, never a part."""
    data = content.encode() if isinstance(content, str) else content
    with temporary_beside(path) as temporary:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Yield a new name beside `path`, to be renamed to it; at the end remove what is left there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        yield temporary
    finally:
        remove_tree(temporary)


def temporary_target(temporary: Path) -> Path:
    """Return the path that the name that `temporary_beside` yields will be renamed to."""
    return temporary.with_name(temporary.name[1:].rsplit(".", 2)[0])


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Yield a new directory, which is removed at the end. The import is late because most runs need none."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="projrun-") as name:
        yield Path(name)


def utf8_name(name: str) -> str:
    """Return a file name as text for JSON: bytes that are not UTF-8 are escaped."""
    return os.fsencode(name).decode(errors="backslashreplace")


def remove_tree(path: Path) -> None:
    """Remove a file or a whole tree, read-only directories included; it need not exist.

    A process that a killed one had started may still write there, so this waits `WRITERS_S` for its end.
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


CHUNK = 1 << 20
PARALLEL = 16 * CHUNK  # bytes from which several threads are faster: hashing releases the interpreter's lock


def new_sha256(size: int) -> Any:
    """Return a `hashlib.sha256()` for about `size` bytes.

    hashlib loads OpenSSL, which takes longer than the interpreter's own module needs for a megabyte or two.
    """
    if size <= CHUNK:
        with suppress(ImportError):
            return _own_sha256()
    import hashlib

    return hashlib.sha256()


def _own_sha256() -> Any:
    name = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
    return import_module(name).sha256()


def sha256_text(text: str) -> str:
    content = text.encode()
    digest = new_sha256(len(content))
    digest.update(content)
    return str(digest.hexdigest())


def sha256_file(path: Path, done: Callable[[int], None] | None = None) -> str:
    """Return the digest of a file. done: called with the number of bytes of every chunk."""
    with path.open("rb") as file:
        digest = new_sha256(os.fstat(file.fileno()).st_size)
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            if done:
                done(len(chunk))
    return str(digest.hexdigest())


def sha256_files(paths: Sequence[Path], size: int, doing: str) -> list[str]:
    """Return the digests in order. size: bytes of all files; doing: verb of the progress line."""
    if size < PARALLEL:
        return [sha256_file(path) for path in paths]
    from concurrent.futures import ThreadPoolExecutor

    from projrun.console.progress import Progress

    with Progress(f"{len(paths)} files", doing) as progress:
        progress.total = size
        pool = ThreadPoolExecutor()
        try:
            return list(pool.map(lambda path: sha256_file(path, progress.add), paths))
        finally:
            pool.shutdown(cancel_futures=True)


def sha256_of_readable(paths: Sequence[Path], size: int, doing: str) -> list[str]:
    """Return digests like `sha256_files`, with an empty one for a file that is gone or unreadable."""
    try:
        return sha256_files(paths, size, doing)
    except OSError:
        return [_readable(path) for path in paths]


def _readable(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError:
        return ""


def cache_key(facts: Mapping[str, object]) -> str:
    """Return the name of a cache entry: 24 hex digits of a digest of the facts that determine its content."""
    return sha256_text(msgspec.json.encode(facts, order="sorted").decode())[:24]


def find_git_top(directory: Path) -> Path | None:
    """Return the top of the working tree that `directory` is in; no process is started."""
    return next((above for above in (directory, *directory.parents) if os.path.exists(above / ".git")), None)
