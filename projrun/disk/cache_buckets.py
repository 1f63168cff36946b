"""What lies in the cache, how much place it takes, and taking away what nobody uses.

Each bucket of `Home` has a shape of its own. What has no such shape is not ours and is left alone.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from projrun.disk import SOURCES_STAY_S, Home, file_locks, file_operations
from projrun.disk.file_locks import FileLock

_KEY = re.compile(r"[0-9a-f]{16,64}(?:-\d+)?")
"""The number is that of an environment which was built anew beside one that is in use."""
_TEMPORARY = re.compile(rf"\.({_KEY.pattern})(?:\.git)?\.[0-9a-f]{{16}}\.tmp")
_ARCHIVE = re.compile(r"[0-9a-f]{64}\.tar\.gz")
_HALF_AN_ARCHIVE = re.compile(r"\.(?:new|[0-9a-f]{64}\.tar\.gz)\.[0-9a-f]{16}\.tmp")
_READY = ".ready.json"


@dataclass(frozen=True)
class CacheEntry:
    """One thing in the cache that is used, and removed, as a whole."""

    bucket: str
    """`git-v1`, `envs-v1`, …"""
    path: Path
    locks: tuple[Path, ...] = ()
    """Files whose locks its users share; whoever removes it holds them all."""
    marks: tuple[Path, ...] = ()
    """Files beside it that go with it."""
    used_at: float = 0.0
    """Seconds since the epoch."""
    size: int = 0
    """Bytes on disk that no earlier entry of a listing has."""
    in_use: bool = False
    lost: bool = False
    """Its run is gone: what is left of it serves nobody."""


@dataclass(frozen=True)
class Pruned:
    """What was taken away, or would be."""

    removed: list[CacheEntry] = field(default_factory=list)
    left: list[CacheEntry] = field(default_factory=list)


def entries(home: Home) -> list[CacheEntry]:
    """Everything in the cache, least recently used first."""
    rooms = (_repositories, _sources, _environments, _locks, _yaml, _scratch, _temporary)
    found = [entry for room in rooms for entry in room(home)]
    found.sort(key=lambda entry: entry.used_at)
    seen: set[tuple[int, int]] = set()
    return [replace(entry, size=_size(entry.path, seen)) for entry in found]


def prune(
    home: Home, *, older_than_s: float | None = None, max_size: int | None = None, dry_run: bool = False
) -> Pruned:
    """Take away what lost runs left, what was not used for so long, and the least recently used above a size.

    What is in use stays, whatever the limits say.
    """
    found = entries(home)
    total = sum(entry.size for entry in found)
    now, result = time.time(), Pruned()
    for entry in found:
        too_old = older_than_s is not None and now - entry.used_at >= older_than_s
        too_much = max_size is not None and total > max_size
        wanted = (entry.lost or too_old or too_much) and not entry.in_use
        if wanted and (dry_run or _take_away(entry, home)):
            result.removed.append(entry)
            total -= entry.size
        else:
            result.left.append(entry)
    return result


def _repositories(home: Home) -> Iterator[CacheEntry]:
    borrowed = _borrowed(home)
    for path in _matching(home.git, ".git"):
        locks = (path.with_suffix(".used"), path.with_suffix(".lock"))
        in_use = path in borrowed or _is_held(locks)
        yield CacheEntry("git-v1", path, locks, used_at=_time_of(locks[0], path), in_use=in_use)


def _sources(home: Home) -> Iterator[CacheEntry]:
    """Archives of trees: in use when a run holds one by a link of its own, or may be about to."""
    for path in _files(home.sources):
        status = path.lstat()
        is_young = time.time() - status.st_mtime < SOURCES_STAY_S
        in_use, is_whole = status.st_nlink > 1 or is_young, bool(_ARCHIVE.fullmatch(path.name))
        if is_whole or _HALF_AN_ARCHIVE.fullmatch(path.name):
            lost = not is_whole and not in_use
            yield CacheEntry(home.sources.name, path, used_at=status.st_mtime, in_use=in_use, lost=lost)


def _yaml(home: Home) -> Iterator[CacheEntry]:
    """Small, and of use together: whoever finds one file gone reads the project's own."""
    if home.yaml.is_dir():
        yield CacheEntry(home.yaml.name, home.yaml, used_at=_time_of(home.yaml))


def _environments(home: Home) -> Iterator[CacheEntry]:
    for manager in _directories(home.environments):
        for path in _matching(manager):
            lock = path.with_name(f"{path.name}.lock")
            in_use, half_built = _is_held((lock,)), not (path / _READY).exists()
            yield CacheEntry(
                "envs-v1",
                path,
                (lock,),
                used_at=_time_of(lock, path),
                in_use=in_use,
                lost=half_built and not in_use,
            )


def _locks(home: Home) -> Iterator[CacheEntry]:
    for path in _matching(home.locks):
        lock = path.with_name(f"{path.name}.lock")
        newest = max(_time_of(path), _time_of(lock), _time_of(path / "lock.json"))
        yield CacheEntry("locks-v1", path, (lock,), used_at=newest, in_use=_is_held((lock,)))


def _scratch(home: Home) -> Iterator[CacheEntry]:
    """Checkouts and downloads of runs: in use, kept, or lost."""
    for room in (home.checkouts, home.inputs):
        for path in _matching(room):
            kept, lock = path.with_suffix(file_locks.KEPT), path.with_suffix(".lock")
            if kept.exists():
                yield CacheEntry(room.name, path, marks=(kept,), used_at=_time_of(kept))
            else:
                in_use = _is_held((lock,))
                yield CacheEntry(
                    room.name, path, (lock,), (lock,), used_at=_time_of(path), in_use=in_use, lost=not in_use
                )


def _temporary(home: Home) -> Iterator[CacheEntry]:
    """What a killed process was making, or taking away."""
    rooms = (home.git, home.locks, home.checkouts, home.inputs, *_directories(home.environments))
    for room in rooms:
        for path in _directories(room):
            if match := _TEMPORARY.fullmatch(path.name):
                lock = room / f"{match[1]}.lock"
                in_use = _is_held((lock,))
                bucket = path.relative_to(home.cache).parts[0]
                yield CacheEntry(
                    bucket, path, (lock,), used_at=_time_of(path), in_use=in_use, lost=not in_use
                )


def _take_away(entry: CacheEntry, home: Home) -> bool:
    """False when somebody uses it after all."""
    with ExitStack() as stack:
        if entry.path.parent in (home.checkouts, home.inputs):
            gate = FileLock(entry.path.parent / "gate")  # nobody claims a place meanwhile
            gate.acquire()
            stack.callback(gate.release)
        for path in entry.locks:
            lock = FileLock(path)
            stack.callback(lock.release)
            if not lock.try_acquire():
                return False
        if entry.path.parent == home.git and entry.path in _borrowed(home):
            return False
        doomed = entry.path.with_name(f".{entry.path.name}.{os.urandom(8).hex()}.tmp")
        os.rename(entry.path, doomed)  # gone in one step, whenever we are killed
        file_operations.remove_tree(doomed)
        for mark in entry.marks:
            mark.unlink(missing_ok=True)
    return True


def _borrowed(home: Home) -> set[Path]:
    """Repositories whose objects a kept checkout needs."""
    borrowed: set[Path] = set()
    for kept in _directories(home.checkouts):
        if kept.with_suffix(file_locks.KEPT).exists():
            for directory, names, _ in os.walk(kept):
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


def _matching(room: Path, suffix: str = "") -> Iterator[Path]:
    """Directories in `room` that are named as ours are."""
    for path in _directories(room):
        if path.name.endswith(suffix) and _KEY.fullmatch(path.name.removesuffix(suffix)):
            yield path


def _directories(room: Path) -> Iterable[Path]:
    return (Path(entry.path) for entry in _in(room) if entry.is_dir(follow_symlinks=False))


def _files(room: Path) -> Iterable[Path]:
    return (Path(entry.path) for entry in _in(room) if entry.is_file(follow_symlinks=False))


def _in(room: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(room) as found:
            return list(found)
    except OSError:
        return []


def _is_held(locks: Iterable[Path]) -> bool:
    """True when somebody holds one of them; asking leaves no file behind."""
    for path in locks:
        if path.exists():
            lock = FileLock(path)
            free = lock.try_acquire()
            lock.release()
            if not free:
                return True
    return False


def _time_of(*paths: Path) -> float:
    """When the first of them that exists was last changed."""
    for path in paths:
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0


def _size(path: Path, seen: set[tuple[int, int]]) -> int:
    """Bytes on disk below `path`; a file of several names counts once, where it is met first."""
    below = (os.path.join(directory, name) for directory, _, names in os.walk(path) for name in (".", *names))
    total = 0
    for one in below if path.is_dir() else (path,):
        try:
            found = os.lstat(one)
        except OSError:
            continue
        if (found.st_dev, found.st_ino) not in seen:
            seen.add((found.st_dev, found.st_ino))
            total += found.st_blocks * 512
    return total
