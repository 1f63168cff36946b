"""The closure of a source: a commit that a remote has, and an archive of all files that differ from it.

Unpushed commits and staged, unstaged and untracked changes are not told apart: the files are archived as they
lie on disk, and one `git status` says which. Nothing is written into the user's repository, not even objects,
because those would have to go through the user's filters and back. Submodules are archived as files, so that
one remote is enough to restore the tree.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from projrun.console import one_line
from projrun.disk import SOURCES_STAY_S, Home, file_operations
from projrun.errors import SourceError
from projrun.plan import Checkout, Worktree
from projrun.record import SOURCE_ARTIFACT, SourceClosure, Unkept

FILE_LIMIT, TOTAL_LIMIT = "PROJRUN_SOURCE_FILE_LIMIT", "PROJRUN_SOURCE_LIMIT"
DEFAULTS_MB = {FILE_LIMIT: 25, TOTAL_LIMIT: 250}  # megabytes of one file, and of all files together


class Captured(msgspec.Struct, frozen=True):
    closure: SourceClosure | None
    file: Path | None = None  # the artifact, in the cache
    notices: tuple[str, ...] = ()  # what the user must be told, one line each


class _Difference(msgspec.Struct, frozen=True):
    """The difference between a tree and the commit of its closure."""

    names: Iterable[str]  # files to archive
    removed: Iterable[str] = ()  # files that only the commit has
    status: tuple[str, ...] = ()


def capture(checkout: Checkout, home: Home) -> Captured:
    """Capture a fetched tree as it is now. A tree that cannot be read is a notice, not an error."""
    try:
        return _capture(checkout, home)
    except SourceError as error:
        reason = str(error)
    except OSError as error:
        reason = f"{error.strerror or ''}{f' ({error.filename})' if error.filename else ''}"
    return Captured(None, notices=(one_line(f"the source is not recorded: {reason}"),))


def _capture(checkout: Checkout, home: Home) -> Captured:
    source, state = checkout.source, checkout.worktree
    if source.kind == "git":
        return Captured(SourceClosure(remote=source.repository, commit=source.commit))
    if source.kind == "local" and source.version:
        return _capture_version(checkout, home)
    if state is not None:
        return _capture_worktree(checkout.root, state, home)
    from projrun.sources.plain_files import list_all_files, list_source_files

    if source.kind == "local" and os.path.lexists(checkout.root / ".git"):
        return Captured(None)  # git refused to read it, which the checkout's notices say already
    top = str(checkout.root)
    names = (
        list_source_files(top, _own_directories(top, home)) if source.kind == "local" else list_all_files(top)
    )
    return _archive(checkout.root, SourceClosure(), _Difference(names), home)


def _own_directories(top: str, home: Home) -> tuple[str, ...]:
    """Return projrun's own directories below `top`, relative to it: they are no source."""
    real_top = os.path.realpath(top)
    paths = (os.path.relpath(os.path.realpath(path), real_top) for path in (home.data, home.cache))
    return tuple(path for path in paths if not path.startswith("..") and path != ".")


def _without_own_files(top: Path, names: list[str], home: Home) -> list[str]:
    prefixes = tuple(f"{path}/" for path in _own_directories(str(top), home))
    return [name for name in names if not name.startswith(prefixes)] if prefixes else names


def _capture_version(checkout: Checkout, home: Home) -> Captured:
    """Capture a commit of a repository on this machine, which may be nowhere else."""
    from projrun.sources.git.worktree import find_base, read_state
    from projrun.sources.plain_files import list_all_files

    top, commit = checkout.repository, checkout.source.commit
    assert top is not None
    base = find_base(top, commit, read_state(top).settings)
    if base is not None and base.commit == commit:
        return Captured(SourceClosure(remote=base.remote, commit=commit))
    names = list_all_files(str(checkout.root))
    return _archive(checkout.root, SourceClosure(), _Difference(names), home)


def _capture_worktree(top: Path, state: Worktree, home: Home) -> Captured:
    from projrun.sources.git.worktree import (
        changed_since,
        expand_paths,
        find_base,
        find_silent_changes,
        list_known_files,
        may_differ_silently,
        read_index,
    )

    base = find_base(top, state.commit, state.settings)
    if base is None:
        names = _without_own_files(top, list_known_files(top), home)
        return _archive(top, SourceClosure(), _Difference(names, status=state.changes), home)
    changed = changed_since(top, base.commit, state)
    if may_differ_silently(top, state):
        changed.update(find_silent_changes(top, read_index(top), changed))
    closure = SourceClosure(remote=base.remote, commit=base.commit)
    if not changed:
        return Captured(closure)
    names, removed = expand_paths(top, changed)
    difference = _Difference(_without_own_files(top, names, home), removed, state.changes)
    return _archive(top, closure, difference, home)


def _archive(top: Path, closure: SourceClosure, difference: _Difference, home: Home) -> Captured:
    """Write the artifact into the cache under its digest, so that equal ones are stored once."""
    from projrun.sources.plain_files import REMOVED, STATUS, SourceArchiveWriter

    names, total, unkept = _apply_limits(str(top), difference.names)
    removed = sorted(difference.removed)
    home.mark_cache()
    home.sources.mkdir(mode=0o700, exist_ok=True)
    _remove_old_archives(home.sources)
    with file_operations.temporary_beside(home.sources / "new") as temporary:
        with open(temporary, "xb") as file:
            writer = SourceArchiveWriter(file, total)
            writer.note(STATUS, _null_terminated(difference.status))
            writer.note(REMOVED, _null_terminated(removed))
            for name in names:
                writer.add(str(top), name)
            digest = writer.close()
        target = home.sources / f"{digest}.tar.gz"
        if not target.exists() or target.stat().st_size != temporary.stat().st_size:
            os.replace(temporary, target)
    closure = msgspec.structs.replace(
        closure,
        artifact=SOURCE_ARTIFACT,
        sha256=digest,
        files=writer.entries,
        removed=len(removed),
        unkept=unkept,
    )
    return Captured(closure, target, _unkept_notices(unkept))


def _apply_limits(top: str, names: Iterable[str]) -> tuple[list[str], int, tuple[Unkept, ...]]:
    """Return the names to archive, their bytes, and the large files that are recorded by digest alone."""
    per_file, in_total = _limit_bytes(FILE_LIMIT), _limit_bytes(TOTAL_LIMIT)
    sizes = {name: os.lstat(os.path.join(top, name)).st_size for name in names}
    large = {name for name, size in sizes.items() if size > per_file}
    total = sum(sizes.values()) - sum(sizes[name] for name in large)
    if total > in_total:
        for name in sorted(sizes.keys() - large, key=lambda name: sizes[name], reverse=True):
            large.add(name)
            total -= sizes[name]
            if total <= in_total:
                break
    digests = {name: file_operations.sha256_file(Path(top, name)) for name in sorted(large)}
    unkept = tuple(
        Unkept(path=file_operations.utf8_name(name), size=sizes[name], sha256=digest)
        for name, digest in digests.items()
    )
    return [name for name in sizes if name not in large], total, unkept


def _limit_bytes(variable: str) -> int:
    default = DEFAULTS_MB[variable]
    if variable not in os.environ:  # nearly always, and then `documents.variables` is not imported
        return default * 1_000_000
    from projrun.documents.variables import read_number

    return int(read_number(variable, default, of="megabytes") * 1_000_000)


def _unkept_notices(unkept: tuple[Unkept, ...]) -> tuple[str, ...]:
    if not unkept:
        return ()
    named = ", ".join(f"{file.path} ({file.size / 1e6:.0f} MB)" for file in unkept[:3])
    more = f" and {len(unkept) - 3} more" if len(unkept) > 3 else ""
    notice = (
        f"recorded by size and digest alone, for they are large: {named}{more}; have the run read them by"
        f" a path parameter, have them ignored, or set {FILE_LIMIT} and {TOTAL_LIMIT} (megabytes)"
    )
    return (one_line(notice),)


def _null_terminated(names: Iterable[str]) -> bytes:
    return b"".join(os.fsencode(name) + b"\0" for name in names)


def _remove_old_archives(bucket: Path) -> None:
    """Remove old artifacts that only the cache has: runs hold theirs by hard links."""
    before = time.time() - SOURCES_STAY_S
    for entry in os.scandir(bucket):
        status = entry.stat(follow_symlinks=False)
        if status.st_nlink == 1 and status.st_mtime < before:
            file_operations.remove_tree(Path(entry.path))


def link_artifact(captured: Captured, target: Path) -> None:
    """Link `target` to the artifact, or copy it to another file system."""
    if captured.file is None:
        return
    try:
        os.link(captured.file, target)
    except OSError:
        import shutil

        shutil.copyfile(captured.file, target)
