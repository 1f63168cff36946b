"""The user's own working tree, which is read and never written.

`read_state` and `inspect_tree` say what `git status` says. The other functions find the files
that differ from a commit that a remote has.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from projrun.disk.repository_view import QUIET, View, git_directories, open_view, run_git
from projrun.errors import SourceError
from projrun.net import without_credentials
from projrun.plan import Worktree
from projrun.processes import Variables, merge_environ
from projrun.processes.programs import ProgramResult
from projrun.sources.git.git_command import complaint

_STATUS = (
    *("status", "--porcelain=v2", "--branch", "-z", "--no-ahead-behind", "--no-renames"),
    "--untracked-files=all",
)
_SETTINGS = ("remote.*.url", "core.autocrlf", "core.attributesfile")
# git reports the settings that it reads on its way, as trace events: asking for them costs a second process
_TRACE: Variables = {
    "GIT_TRACE2": "0",
    "GIT_TRACE2_PERF": "0",
    "GIT_TRACE2_EVENT": "2",
    "GIT_TRACE2_CONFIG_PARAMS": ",".join(_SETTINGS),
    "GIT_TRACE2_ENV_VARS": None,
}


def relative_path(top: Path, directory: Path) -> str:
    """Return the path from `top` to `directory`, with forward slashes; '' when they are the same."""
    text = directory.relative_to(top).as_posix()
    return "" if text == "." else text


def read_state(top: Path) -> Worktree:
    """Read a working tree's state in one process. Raises SourceError where git cannot read the repository."""
    environ = merge_environ(os.environ, QUIET, _TRACE)
    answer = run_git(*_STATUS, "--ignore-submodules=none", cwd=top, environ=environ, errors="surrogateescape")
    events, messages = _split_trace(answer.stderr)
    if not answer.ok:
        raise _status_error(ProgramResult(answer.code, "", messages), top)
    return _parse_status(answer.stdout, _traced_settings(events) if events else _ask_for_settings(top))


def _status_error(answer: ProgramResult, top: Path) -> SourceError:
    return SourceError(complaint(answer), f"see what `git status` says in {top}")


def _parse_status(status: str, settings: dict[str, str]) -> Worktree:
    entries = [entry for entry in status.split("\0") if entry]
    headers = dict(entry[2:].partition(" ")[::2] for entry in entries if entry.startswith("# "))
    commit, branch = headers.get("branch.oid", ""), headers.get("branch.head", "")
    return Worktree(
        commit="" if commit == "(initial)" else commit,
        branch="" if branch == "(detached)" else branch,
        changes=tuple(entry for entry in entries if not entry.startswith("# ")),
        settings=settings,
    )


class Look(NamedTuple):
    """The state of a working tree as it is seen without starting a program."""

    state: Worktree
    unknown: str  # why it is not known whether the tree differs from its commit; empty when that is known


def inspect_tree(top: Path) -> Look:
    """Read the state without starting anything that the repository's own settings name.

    Raises SourceError where git cannot or will not read the repository.
    """
    with open_view(top) as view:
        answer = view.ask(*_STATUS, "--ignore-submodules=dirty", errors="surrogateescape")
        if not answer.ok:
            raise _status_error(answer, top)
        state = _parse_status(answer.stdout, view.remotes)
        converting = ", ".join(view.converting)
        inner = [] if state.changes else _submodules(view)
    if state.changes:
        # filters can undo only a change of content that is not staged
        is_known = not converting or any(not change.startswith("1 .M") for change in state.changes)
        return Look(state, "" if is_known else f"its Git configuration has {converting}")
    looks = [(path, inspect_tree(path)) for path in inner]
    changed = tuple(f"? {path.relative_to(top)}" for path, look in looks if look.state.changes)
    unknown = next((f"in {path}, {look.unknown}" for path, look in looks if look.unknown), "")
    return Look(msgspec.structs.replace(state, changes=changed), unknown)


def _submodules(view: View) -> list[Path]:
    """List checked-out submodules. git would read them with their own settings; `inspect_tree` does not."""
    if not os.path.isfile(view.top / ".gitmodules"):
        return []
    answer = view.ask("ls-files", "--stage", "-z", errors="surrogateescape")
    entries = (entry.partition("\t") for entry in answer.stdout.split("\0") if entry.startswith("160000 "))
    paths = (view.top / path for _, _, path in entries)
    # a symbolic link in the place of a submodule may lead back here, without end
    return [path for path in paths if os.path.lexists(path / ".git") and os.path.realpath(path) == str(path)]


def main_remote(settings: dict[str, str], top: Path) -> str:
    """Return the URL of origin, or of the first remote, as it is written; '' when there is none."""
    urls = list_remotes(settings, top)
    return urls.get("origin") or next(iter(urls.values()), "")


def list_remotes(settings: dict[str, str], top: Path) -> dict[str, str]:
    """Return name -> URL of each remote; relative paths are made absolute."""
    urls = {
        key.removeprefix("remote.").removesuffix(".url"): value
        for key, value in settings.items()
        if key.startswith("remote.")
    }
    return {
        name: os.path.normpath(top / url) if url.startswith(("./", "../")) else url
        for name, url in urls.items()
    }


def _split_trace(stderr: str) -> tuple[list[dict[str, object]], str]:
    """Split git's stderr into trace events and messages."""
    events, messages = [], []
    for line in stderr.splitlines():
        if line.startswith('{"event":'):
            if '"def_param"' in line or '"version"' in line:
                events.append(msgspec.json.decode(line.encode(errors="replace"), type=dict[str, object]))
        else:
            messages.append(line)
    return events, "\n".join(messages)


def _traced_settings(events: list[dict[str, object]]) -> dict[str, str]:
    """Return the settings in the events of git's first process; it starts others in submodules."""
    own = [event for event in events if event.get("sid") == events[0].get("sid") and "param" in event]
    return {_normalize_key(str(event["param"])): str(event.get("value", "true")) for event in own}


def _ask_for_settings(top: Path) -> dict[str, str]:
    answer = run_git("config", "-z", "--get-regexp", r"^(remote\..*\.url|core\.a.*)$", cwd=top)
    pairs = (entry.partition("\n") for entry in answer.stdout.split("\0") if entry)
    return {_normalize_key(key): value if newline else "true" for key, newline, value in pairs}


def _normalize_key(setting: str) -> str:
    """Lower the case of a key, but for the name of a remote, where it counts."""
    return setting if setting.startswith("remote.") else setting.lower()


class Base(NamedTuple):
    """A commit that a remote had when it was last asked."""

    remote: str
    commit: str


def find_base(top: Path, commit: str, settings: dict[str, str]) -> Base | None:
    """Return `commit` if a remote has it, else an ancestor that one has; None when no remote has any."""
    remotes = list_remotes(settings, top)
    if not commit or not remotes:
        return None
    branches = [name for branch_commit, name in _remote_branches(top) if branch_commit == commit]
    if branches:
        return _base(remotes, branches[-1], commit)
    if branch := _remote_branch_with(top, commit):
        return _base(remotes, branch, commit)
    lines = _ask(top, "rev-list", "--boundary", commit, "--not", "--remotes").split()
    boundary = next((line[1:] for line in lines if line.startswith("-")), "")
    return _base(remotes, _remote_branch_with(top, boundary), boundary) if boundary else None


def _base(remotes: dict[str, str], branch: str, commit: str) -> Base | None:
    """Return a commit with the remote of a branch such as `origin/main`; a remote's name may hold slashes."""
    owners = [name for name in remotes if branch.startswith(f"{name}/")]
    return Base(without_credentials(remotes[max(owners, key=len)]), commit) if owners else None


def _remote_branches(top: Path) -> Iterator[tuple[str, str]]:
    """Yield commit and name of each remote branch as it was fetched last. No process is started."""
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


def _remote_branch_with(top: Path, commit: str) -> str:
    """Return a remote branch such as `origin/main` that has `commit`; '' when there is none."""
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
    """Return the names that exist (files of inner repositories too) and the missing ones, both sorted."""
    present: list[str] = []
    missing: list[str] = []
    links: dict[str, bool] = {"": False}
    for name in names:
        path = f"{top}/{name}"
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            mode = 0
        if not mode or _is_behind_link(top, os.path.dirname(name), links):
            missing.append(name)
        elif stat.S_ISLNK(mode) or stat.S_ISREG(mode):
            present.append(name)
        elif os.path.lexists(f"{path}/.git"):
            present.extend(f"{name}/{inner}" for inner in list_known_files(Path(path)))
        else:
            missing.append(name)  # a directory replaced the file; its files have names of their own
    return sorted(present), sorted(missing)


def _is_behind_link(top: Path, directory: str, links: dict[str, bool]) -> bool:
    """Return True below a symbolic link that replaced a directory: what it leads to is not in the tree."""
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
    """Return True if files may differ from Git's blobs although `git status` does not list them.

    That is so with conversions (line ends, attributes), submodules, and marks such as assume-unchanged.
    """
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
    """Return True if Git's index has a submodule or an unchecked entry, or is of a version not read here.

    fixed: bytes of an entry before its name. The format is in gitformat-index(5).
    """
    # Versions 3 and 4 are written for such marks or by choice; `link` is the extension of a split index.
    if index[4:8] != b"\0\0\0\2" or b"link\0\0" in index[-400:]:
        return True
    at = 12
    for _ in range(int.from_bytes(index[8:12], "big")):
        high, low = index[at + fixed - 2], index[at + fixed - 1]
        if high & 0x80 or index[at + 26] == 0xE0:  # 0x80: assume-unchanged; 0xE000: the mode of a submodule
            return True
        length = (high & 0x0F) << 8 | low
        if length == 0xFFF:
            length = index.index(b"\0", at + fixed) - at - fixed
        at += (fixed + length + 8) & ~7  # entries are padded to eight bytes
    return False


def find_silent_changes(top: Path, index: Mapping[str, IndexEntry], known: set[str]) -> Iterator[str]:
    """Yield names in the index whose files differ from Git's blob, but for those `known` already.

    A submodule that is checked out is one of them, because its files are not in this repository.
    """
    for name, entry in index.items():
        path = os.path.join(top, name)
        if entry.mode == "160000":
            if os.path.lexists(f"{path}/.git"):
                yield name
        elif name not in known and not _matches_index(path, entry):
            yield name


def _matches_index(path: str, entry: IndexEntry) -> bool:
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

    content = os.fsencode(os.readlink(path)) if os.path.islink(path) else Path(path).read_bytes()
    digest = hashlib.sha256() if len(object_id) == 64 else hashlib.sha1(usedforsecurity=False)
    digest.update(b"blob %d\0" % len(content))
    digest.update(content)
    return digest.hexdigest() == object_id
