"""Files whose bytes on disk are not those in Git although `git status` is silent about them.

Line ends, filters and keywords are converted on the way; a sparse checkout leaves files out; a user can tell
git not to look. Whether any of that can be is found without a process, and nearly always nothing can.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from projrun.gitview import git_directories
from projrun.plan import Worktree
from projrun.sources.differences import Entry


def may_differ_silently(top: Path, state: Worktree) -> bool:
    own, shared = git_directories(top)
    try:
        index = (own / "index").read_bytes()
    except FileNotFoundError:
        return False
    return (
        state.settings.get("core.autocrlf", "false").lower() not in ("false", "no", "off", "0", "")
        or b"attributes" in index  # .gitattributes, whose first letters version 4 may leave out
        or any(change.endswith(".gitattributes") for change in state.changes)
        or any(_has_content(path) for path in _attribute_files(shared, state.settings, os.environ))
        or _has_marks(index, 74 if len(state.commit) == 64 else 62)
    )


def _attribute_files(
    shared: Path, settings: Mapping[str, str], environ: Mapping[str, str]
) -> Iterator[Path | str]:
    yield shared / "info/attributes"
    yield "/etc/gitattributes"
    users = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/"), ".config")
    yield os.path.expanduser(settings.get("core.attributesfile", f"{users}/git/attributes"))


def _has_content(path: Path | str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False


def _has_marks(index: bytes, fixed: int) -> bool:
    """True if Git's index has a submodule, or an entry that is not looked at, or is not read here."""
    if index[4:8] != b"\0\0\0\2" or b"link\0\0" in index[-400:]:
        return True  # versions 3 and 4 are written for such marks or by choice; `link` is a split index
    at = 12
    for _ in range(int.from_bytes(index[8:12], "big")):
        high, low = index[at + fixed - 2], index[at + fixed - 1]
        if high & 0x80 or index[at + 26] == 0xE0:  # 0xE000 is the mode of a submodule
            return True
        length = (high & 0x0F) << 8 | low
        if length == 0xFFF:
            length = index.index(b"\0", at + fixed) - at - fixed
        at += (fixed + length + 8) & ~7
    return False


def silently_different(top: Path, index: Mapping[str, Entry], known: set[str]) -> Iterator[str]:
    """Names in the index that are not on disk as they are in Git, but for those `known` already.

    A submodule that is there is one of them: what it holds is not in this repository.
    """
    for name, entry in index.items():
        path = os.path.join(top, name)
        if entry.mode == "160000":
            if os.path.lexists(f"{path}/.git"):
                yield name
        elif name not in known and not _is_entry(path, entry):
            yield name


def _is_entry(path: str, entry: Entry) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    if stat.S_ISLNK(mode) or entry.mode == "120000":
        return stat.S_ISLNK(mode) and entry.mode == "120000" and is_blob(path, entry.object_id)
    is_executable = bool(mode & 0o100)
    return stat.S_ISREG(mode) and is_executable == (entry.mode == "100755") and is_blob(path, entry.object_id)


def is_blob(path: str, object_id: str) -> bool:
    """True if the file or link holds the very bytes of the blob of that id."""
    import hashlib

    content = os.fsencode(os.readlink(path)) if os.path.islink(path) else _content(path)
    digest = hashlib.sha256() if len(object_id) == 64 else hashlib.sha1(usedforsecurity=False)
    digest.update(b"blob %d\0" % len(content))
    digest.update(content)
    return digest.hexdigest() == object_id


def _content(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()
