"""The entries of the cache, their size, and the removal of those that nobody uses.

The names in each bucket of `Home` have a fixed form. A file of another name is not ours and is left alone.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from projrun.disk import SOURCES_STAY_S, Home, file_locks, file_operations
from projrun.disk.file_locks import FileLock
from projrun.disk.file_tree import list_directories

# The number belongs to an environment that was built beside one in use
_KEY = re.compile(r"[0-9a-f]{16,64}(?:-\d+)?")
_TEMPORARY = re.compile(rf"\.({_KEY.pattern})(?:\.git)?\.[0-9a-f]{{16}}\.tmp")
_ARCHIVE = re.compile(r"[0-9a-f]{64}\.tar\.gz")
_PARTIAL_ARCHIVE = re.compile(r"\.(?:new|[0-9a-f]{64}\.tar\.gz)\.[0-9a-f]{16}\.tmp")
_READY = ".ready.json"


@dataclass(frozen=True)
class CacheEntry:
    """A part of the cache that is used and removed as a whole."""

    bucket: str  # `git-v1`, `envs-v1`, …
    path: Path
    # Files whose locks its users share, and whoever removes it holds exclusively
    locks: tuple[Path, ...] = ()
    marks: tuple[Path, ...] = ()  # files beside it that are removed with it
    used_at: float = 0.0  # seconds since the epoch
    size: int = 0  # bytes on disk that no earlier entry of the listing contains
    in_use: bool = False
    lost: bool = False  # True if its run is gone, so that nobody can use it


@dataclass(frozen=True)
class Pruned:
    """The entries that were removed, or would be, and those that were left."""

    removed: list[CacheEntry] = field(default_factory=list)
    left: list[CacheEntry] = field(default_factory=list)


def entries(home: Home) -> list[CacheEntry]:
    """Return all entries of the cache, least recently used first."""
    buckets = (_repositories, _sources, environment_entries, _locks, _yaml, _scratch, _temporary)
    entries = [entry for bucket in buckets for entry in bucket(home)]
    entries.sort(key=lambda entry: entry.used_at)
    seen: set[tuple[int, int]] = set()
    return [replace(entry, size=_size(entry.path, seen)) for entry in entries]


def prune(
    home: Home, *, older_than_s: float | None = None, max_size: int | None = None, dry_run: bool = False
) -> Pruned:
    """Remove lost entries, those not used for so long, and the least recently used above a size in bytes.

    Entries in use stay, whatever the limits are.
    """
    candidates = entries(home)
    total = sum(entry.size for entry in candidates)
    now, result = time.time(), Pruned()
    for entry in candidates:
        too_old = older_than_s is not None and now - entry.used_at >= older_than_s
        too_much = max_size is not None and total > max_size
        removable = (entry.lost or too_old or too_much) and not entry.in_use
        if removable and (dry_run or remove(entry, home)):
            result.removed.append(entry)
            total -= entry.size
        else:
            result.left.append(entry)
    return result


def _repositories(home: Home) -> Iterator[CacheEntry]:
    borrowed = _borrowed(home)
    for path in _matching(home.git, ".git"):
        locks = (path.with_suffix(".used"), path.with_suffix(".lock"))
        in_use = path in borrowed or _is_locked(locks)
        yield CacheEntry("git-v1", path, locks, used_at=_modified_at(locks[0], path), in_use=in_use)


def _sources(home: Home) -> Iterator[CacheEntry]:
    """Yield archives of trees. One is in use when a run has a hard link to it, or may soon make one."""
    try:
        listing = list(os.scandir(home.sources))
    except OSError:
        return
    for entry in listing:
        if not entry.is_file(follow_symlinks=False):
            continue
        path, status = Path(entry.path), entry.stat(follow_symlinks=False)
        is_young = time.time() - status.st_mtime < SOURCES_STAY_S
        in_use, is_whole = status.st_nlink > 1 or is_young, bool(_ARCHIVE.fullmatch(path.name))
        if is_whole or _PARTIAL_ARCHIVE.fullmatch(path.name):
            lost = not is_whole and not in_use
            yield CacheEntry(home.sources.name, path, used_at=status.st_mtime, in_use=in_use, lost=lost)


def _yaml(home: Home) -> Iterator[CacheEntry]:
    """Yield the bucket as one entry: it is small, and a file that is gone is read from the project again."""
    if home.yaml.is_dir():
        yield CacheEntry(home.yaml.name, home.yaml, used_at=_modified_at(home.yaml))


def environment_entries(home: Home) -> Iterator[CacheEntry]:
    """Yield environments, and what killed builds of them left."""
    for manager in list_directories(home.environments):
        for path in _matching(manager):
            lock = path.with_name(f"{path.name}.lock")
            in_use, half_built = _is_locked((lock,)), not (path / _READY).exists()
            yield CacheEntry(
                "envs-v1",
                path,
                (lock,),
                used_at=_modified_at(lock, path),
                in_use=in_use,
                lost=half_built and not in_use,
            )
        yield from _temporary_in(manager, home)


def _locks(home: Home) -> Iterator[CacheEntry]:
    for path in _matching(home.locks):
        lock = path.with_name(f"{path.name}.lock")
        newest = max(_modified_at(path), _modified_at(lock), _modified_at(path / "lock.json"))
        yield CacheEntry("locks-v1", path, (lock,), used_at=newest, in_use=_is_locked((lock,)))


def _scratch(home: Home) -> Iterator[CacheEntry]:
    """Yield checkouts and downloads of runs: in use, kept, or lost."""
    for bucket in (home.checkouts, home.inputs):
        for path in _matching(bucket):
            mark, lock = path.with_suffix(file_locks.KEPT), path.with_suffix(".lock")
            if mark.exists():
                yield CacheEntry(bucket.name, path, marks=(mark,), used_at=_modified_at(mark))
            else:
                in_use = _is_locked((lock,))
                yield CacheEntry(
                    bucket.name,
                    path,
                    (lock,),
                    (lock,),
                    used_at=_modified_at(path),
                    in_use=in_use,
                    lost=not in_use,
                )


def _temporary(home: Home) -> Iterator[CacheEntry]:
    for bucket in (home.git, home.locks, home.checkouts, home.inputs):
        yield from _temporary_in(bucket, home)


def _temporary_in(bucket: Path, home: Home) -> Iterator[CacheEntry]:
    """Yield directories that a killed process was making or removing."""
    for path in list_directories(bucket):
        if match := _TEMPORARY.fullmatch(path.name):
            lock = bucket / f"{match[1]}.lock"
            in_use = _is_locked((lock,))
            bucket_name = path.relative_to(home.cache).parts[0]
            yield CacheEntry(
                bucket_name, path, (lock,), used_at=_modified_at(path), in_use=in_use, lost=not in_use
            )


def remove(entry: CacheEntry, home: Home, before: Callable[[], bool] = lambda: True) -> bool:
    """Remove an entry; return False when it has come into use.

    before: called while nobody else can use the entry; it stays if the result is False.
    """
    with ExitStack() as stack:
        if entry.path.parent in (home.checkouts, home.inputs):
            gate = FileLock(entry.path.parent / "gate")  # nobody claims a directory meanwhile
            gate.acquire()
            stack.callback(gate.release)
        for path in entry.locks:
            lock = FileLock(path)
            stack.callback(lock.release)
            if not lock.try_acquire():
                return False
        if entry.path.parent == home.git and entry.path in _borrowed(home):
            return False
        if not before():
            return False
        temporary = entry.path
        if not _TEMPORARY.fullmatch(temporary.name) and temporary.exists():
            temporary = entry.path.with_name(f".{entry.path.name}.{os.urandom(8).hex()}.tmp")
            os.rename(entry.path, temporary)  # it disappears in one step, even if we are killed
        file_operations.remove_tree(temporary)
        for mark in entry.marks:
            mark.unlink(missing_ok=True)
    return True


def _borrowed(home: Home) -> set[Path]:
    """Return the repositories whose objects a kept checkout borrows."""
    borrowed: set[Path] = set()
    for checkout in list_directories(home.checkouts):
        if checkout.with_suffix(file_locks.KEPT).exists():
            for directory, names, _ in os.walk(checkout):
                if ".git" in names:
                    borrowed.update(_alternates(Path(directory, ".git/objects/info/alternates")))
                    names.remove(".git")
    return borrowed


def _alternates(file: Path) -> Iterator[Path]:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return
    yield from (Path(line).parent for line in lines)


def _matching(bucket: Path, suffix: str = "") -> Iterator[Path]:
    """Yield the directories in `bucket` whose names are keys."""
    for path in list_directories(bucket):
        if path.name.endswith(suffix) and _KEY.fullmatch(path.name.removesuffix(suffix)):
            yield path


def _is_locked(locks: Iterable[Path]) -> bool:
    """Return True if a process holds one of the locks. No lock file is created."""
    for path in locks:
        if path.exists():
            lock = FileLock(path)
            free = lock.try_acquire()
            lock.release()
            if not free:
                return True
    return False


def _modified_at(*paths: Path) -> float:
    """Return the modification time of the first path that exists; 0 without one."""
    for path in paths:
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0


def _size(path: Path, seen: set[tuple[int, int]]) -> int:
    """Return bytes on disk below `path`; a file with several names counts once, where it is met first."""
    below = (os.path.join(directory, name) for directory, _, names in os.walk(path) for name in (".", *names))
    total = 0
    for name in below if path.is_dir() else (path,):
        try:
            status = os.lstat(name)
        except OSError:
            continue
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            total += status.st_blocks * 512
    return total
