"""Which files of a working tree are not as a commit that a remote has."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from projrun.errors import SourceError
from projrun.gitview import git_directories
from projrun.plan import Worktree
from projrun.sources.gitclient import complaint, git
from projrun.sources.worktree import remotes_in
from projrun.urls import without_credentials


class Base(NamedTuple):
    """A commit that a remote has, as far as is known here."""

    remote: str
    commit: str


def base_of(top: Path, commit: str, settings: dict[str, str]) -> Base | None:
    """`commit` itself if a remote has it, else one that comes before it; None when no remote has any."""
    remotes = remotes_in(settings, top)
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
    """ref: such as `origin/main`; a remote's name may hold slashes as well."""
    owners = [name for name in remotes if ref.startswith(f"{name}/")]
    return Base(without_credentials(remotes[max(owners, key=len)]), commit) if owners else None


def _remote_refs(top: Path) -> Iterable[tuple[str, str]]:
    """Commit and name of each branch of a remote as it was fetched last, read from files."""
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
    """A branch of a remote that has `commit`, without `refs/remotes/`; '' when there is none."""
    form = "--format=%(refname:lstrip=2)"
    return _ask(top, "for-each-ref", "--count=1", "--contains", commit, form, "refs/remotes").strip()


def changed_since(top: Path, base: str, state: Worktree) -> set[str]:
    """Names of what differs from the commit `base`, submodules and repositories inside included."""
    changed = {name_in(change) for change in state.changes}
    if base != state.commit:
        between = _ask(top, "diff-tree", "-r", "-z", "--name-only", "--no-renames", base, state.commit)
        changed.update(filter(None, between.split("\0")))
    return changed


def name_in(change: str) -> str:
    """The path in an entry of `git status --porcelain=v2 -z`."""
    fields = {"1": 8, "u": 10, "2": 9}.get(change[0], 1)
    return change.split(" ", fields)[fields].rstrip("/")


class Entry(NamedTuple):
    """What the index says of a file."""

    mode: str
    object_id: str


def index_of(top: Path) -> dict[str, Entry]:
    entries = {}
    for line in filter(None, _ask(top, "ls-files", "--stage", "-z").split("\0")):
        mode, object_id, rest = line.split(" ", 2)
        entries[rest.partition("\t")[2]] = Entry(mode, object_id)
    return entries


def files_known_to_git(top: Path) -> list[str]:
    """Tracked and untracked unignored files that are there, those of repositories inside too; sorted."""
    listed = _ask(top, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return expanded(top, {name.rstrip("/") for name in listed.split("\0") if name})[0]


def expanded(top: Path, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Of these names, sorted: what is there, a repository as the files in it, and what is not there."""
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
            there.extend(f"{name}/{inner}" for inner in files_known_to_git(Path(path)))
        else:
            gone.append(name)  # a directory stands where a file was; its files have names of their own
    return sorted(there), sorted(gone)


def _is_behind_link(top: Path, directory: str, links: dict[str, bool]) -> bool:
    """A link that took a directory's place leads to files that are not the tree's."""
    if directory not in links:
        above = _is_behind_link(top, os.path.dirname(directory), links)
        links[directory] = above or os.path.islink(os.path.join(top, directory))
    return links[directory]


def _ask(top: Path, *arguments: str) -> str:
    answer = git(*arguments, cwd=top, errors="surrogateescape")
    if not answer.ok:
        raise SourceError(complaint(answer), f"see what `git status` says in {top}")
    return answer.stdout
