"""The files of a working tree that differ from a commit that a remote has."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from projrun.disk.repository_view import git_directories, run_git
from projrun.errors import SourceError
from projrun.net import without_credentials
from projrun.plan import Worktree
from projrun.sources.git.git_command import complaint
from projrun.sources.git.worktree import list_remotes


class Base(NamedTuple):
    """A commit that a remote has, as far as is known here."""

    remote: str
    commit: str


def find_base(top: Path, commit: str, settings: dict[str, str]) -> Base | None:
    """Return `commit` if a remote has it, else an ancestor that one has; None when no remote has any."""
    remotes = list_remotes(settings, top)
    if not commit or not remotes:
        return None
    known = {ref: name for ref, name in _remote_refs(top) if ref == commit}
    if known:
        return _base(remotes, known[commit], commit)
    if holder := _holder(top, commit):
        return _base(remotes, holder, commit)
    lines = _ask(top, "rev-list", "--boundary", commit, "--not", "--remotes").split()
    boundary = next((line[1:] for line in lines if line.startswith("-")), "")
    return _base(remotes, _holder(top, boundary), boundary) if boundary else None


def _base(remotes: dict[str, str], ref: str, commit: str) -> Base | None:
    """Name the remote of a ref such as `origin/main`; a remote's name may hold slashes as well."""
    owners = [name for name in remotes if ref.startswith(f"{name}/")]
    return Base(without_credentials(remotes[max(owners, key=len)]), commit) if owners else None


def _remote_refs(top: Path) -> Iterable[tuple[str, str]]:
    """Read commit and name of each remote branch as it was fetched last from files, without a process."""
    _, shared = git_directories(top)
    packed = shared / "packed-refs"
    if packed.is_file():
        text = packed.read_text(errors="surrogateescape")
        yield from re.findall(r"^(\w+) refs/remotes/(.+)$", text, re.MULTILINE)
    loose = shared / "refs/remotes"
    for directory, _, names in os.walk(loose):
        for name in names:
            file = Path(directory, name)
            yield file.read_text(errors="replace").strip(), file.relative_to(loose).as_posix()


def _holder(top: Path, commit: str) -> str:
    """Return a remote branch that has `commit`, without `refs/remotes/`; '' when there is none."""
    form = "--format=%(refname:lstrip=2)"
    return _ask(top, "for-each-ref", "--count=1", "--contains", commit, form, "refs/remotes").strip()


def changed_since(top: Path, base: str, state: Worktree) -> set[str]:
    """Return the names that differ from the commit `base`, submodules and inner repositories included."""
    changed = {changed_path(change) for change in state.changes}
    if base != state.commit:
        between = _ask(top, "diff-tree", "-r", "-z", "--name-only", "--no-renames", base, state.commit)
        changed.update(filter(None, between.split("\0")))
    return changed


def changed_path(change: str) -> str:
    """Return the path in an entry of `git status --porcelain=v2 -z`."""
    fields = {"1": 8, "u": 10, "2": 9}.get(change[0], 1)
    return change.split(" ", fields)[fields].rstrip("/")


class IndexEntry(NamedTuple):
    """A file as the index has it."""

    mode: str
    object_id: str


def read_index(top: Path) -> dict[str, IndexEntry]:
    entries = {}
    for line in filter(None, _ask(top, "ls-files", "--stage", "-z").split("\0")):
        mode, object_id, rest = line.split(" ", 2)
        entries[rest.partition("\t")[2]] = IndexEntry(mode, object_id)
    return entries


def list_known_files(top: Path) -> list[str]:
    """List tracked and untracked unignored files that are there, those of inner repositories too; sorted."""
    listed = _ask(top, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return expand_paths(top, {name.rstrip("/") for name in listed.split("\0") if name})[0]


def expand_paths(top: Path, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Split names into those there (of an inner repository its files) and those missing; both sorted."""
    there: list[str] = []
    gone: list[str] = []
    links: dict[str, bool] = {"": False}
    for name in names:
        path = f"{top}/{name}"
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            mode = 0
        if not mode or _is_behind_link(top, os.path.dirname(name), links):
            gone.append(name)
        elif stat.S_ISLNK(mode) or stat.S_ISREG(mode):
            there.append(name)
        elif os.path.lexists(f"{path}/.git"):
            there.extend(f"{name}/{inner}" for inner in list_known_files(Path(path)))
        else:
            gone.append(name)  # a directory stands where a file was; its files have names of their own
    return sorted(there), sorted(gone)


def _is_behind_link(top: Path, directory: str, links: dict[str, bool]) -> bool:
    """Return True below a link that took a directory's place: its files are not the tree's."""
    if directory not in links:
        above = _is_behind_link(top, os.path.dirname(directory), links)
        links[directory] = above or os.path.islink(os.path.join(top, directory))
    return links[directory]


def _ask(top: Path, *arguments: str) -> str:
    answer = run_git(*arguments, cwd=top, errors="surrogateescape")
    if not answer.ok:
        raise SourceError(complaint(answer), f"see what `git status` says in {top}")
    return answer.stdout


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
    """Return True if Git's index has a submodule or an unchecked entry, or is of a version not read here."""
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


def find_silent_changes(top: Path, index: Mapping[str, IndexEntry], known: set[str]) -> Iterator[str]:
    """Yield names in the index whose files differ from Git's blob, but for those `known` already.

    A submodule that is there is one of them: what it holds is not in this repository.
    """
    for name, entry in index.items():
        path = os.path.join(top, name)
        if entry.mode == "160000":
            if os.path.lexists(f"{path}/.git"):
                yield name
        elif name not in known and not _is_entry(path, entry):
            yield name


def _is_entry(path: str, entry: IndexEntry) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    if stat.S_ISLNK(mode) or entry.mode == "120000":
        return stat.S_ISLNK(mode) and entry.mode == "120000" and is_blob(path, entry.object_id)
    is_executable = bool(mode & 0o100)
    return stat.S_ISREG(mode) and is_executable == (entry.mode == "100755") and is_blob(path, entry.object_id)


def is_blob(path: str, object_id: str) -> bool:
    """Return True if the file or link holds exactly the bytes of the blob of that id."""
    import hashlib

    content = os.fsencode(os.readlink(path)) if os.path.islink(path) else _content(path)
    digest = hashlib.sha256() if len(object_id) == 64 else hashlib.sha1(usedforsecurity=False)
    digest.update(b"blob %d\0" % len(content))
    digest.update(content)
    return digest.hexdigest() == object_id


def _content(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()
