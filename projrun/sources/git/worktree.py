"""The user's own working tree: read, never written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from projrun.disk.repository_view import QUIET, View, open_view, run_git
from projrun.errors import SourceError
from projrun.plan import Worktree
from projrun.processes import Variables, merge_environ
from projrun.processes.programs import ProgramResult
from projrun.sources.git.git_command import complaint

_STATUS = (
    *("status", "--porcelain=v2", "--branch", "-z", "--no-ahead-behind", "--no-renames"),
    "--untracked-files=all",
)
_SETTINGS = ("remote.*.url", "core.autocrlf", "core.attributesfile")
_TELLING: Variables = {
    # git tells the settings that it has read on its way: asking for them would be a second process
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
    environ = merge_environ(os.environ, QUIET, _TELLING)
    answer = run_git(*_STATUS, "--ignore-submodules=none", cwd=top, environ=environ, errors="surrogateescape")
    events, talk = _apart(answer.stderr)
    if not answer.ok:
        raise SourceError(
            complaint(ProgramResult(answer.code, "", talk)), f"see what `git status` says in {top}"
        )
    return _parsed(answer.stdout, _settings_told(events) if events else _settings_asked(top))


def _parsed(status: str, settings: dict[str, str]) -> Worktree:
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
    """A working tree of the user's as it is seen without starting a program."""

    state: Worktree
    unknown: str  # why it is not known whether the tree differs from its commit; empty when that is known


def inspect_tree(top: Path) -> Look:
    """Read the state without starting anything that the repository's own settings name.

    Raises SourceError where git cannot or will not read the repository.
    """
    with open_view(top) as view:
        answer = view.ask(*_STATUS, "--ignore-submodules=dirty", errors="surrogateescape")
        if not answer.ok:
            raise SourceError(complaint(answer), f"see what `git status` says in {top}")
        state = _parsed(answer.stdout, view.remotes)
        converting = ", ".join(view.converting)
        inner = [] if state.changes else _submodules(view)
    if state.changes:
        # a change that is staged, or of another kind than content, is there whatever filters would say
        is_known = not converting or any(not change.startswith("1 .M") for change in state.changes)
        return Look(state, "" if is_known else f"its Git configuration has {converting}")
    looks = [(path, inspect_tree(path)) for path in inner]
    changed = tuple(f"? {path.relative_to(top)}" for path, look in looks if look.state.changes)
    unknown = next((f"in {path}, {look.unknown}" for path, look in looks if look.unknown), "")
    return Look(msgspec.structs.replace(state, changes=changed), unknown)


def _submodules(view: View) -> list[Path]:
    """List checked-out submodules: git would look into them with their own settings, so we do."""
    if not os.path.isfile(view.top / ".gitmodules"):
        return []
    answer = view.ask("ls-files", "--stage", "-z", errors="surrogateescape")
    entries = (entry.partition("\t") for entry in answer.stdout.split("\0") if entry.startswith("160000 "))
    places = (view.top / path for _, _, path in entries)
    # a link in its place may lead back to where we are
    return [
        place for place in places if os.path.lexists(place / ".git") and os.path.realpath(place) == str(place)
    ]


def main_remote(settings: dict[str, str], top: Path) -> str:
    """Return the URL of origin, or of the first remote, as it is written; '' when there is none."""
    urls = list_remotes(settings, top)
    return urls.get("origin") or next(iter(urls.values()), "")


def list_remotes(settings: dict[str, str], top: Path) -> dict[str, str]:
    """Return name -> URL, with absolute paths."""
    urls = {
        key.removeprefix("remote.").removesuffix(".url"): value
        for key, value in settings.items()
        if key.startswith("remote.")
    }
    return {
        name: os.path.normpath(top / url) if url.startswith(("./", "../")) else url
        for name, url in urls.items()
    }


def _apart(stderr: str) -> tuple[list[dict[str, object]], str]:
    """Split git's stderr into trace events and messages."""
    events, talk = [], []
    for line in stderr.splitlines():
        if line.startswith('{"event":'):
            if '"def_param"' in line or '"version"' in line:
                events.append(msgspec.json.decode(line.encode(errors="replace"), type=dict[str, object]))
        else:
            talk.append(line)
    return events, "\n".join(talk)


def _settings_told(events: list[dict[str, object]]) -> dict[str, str]:
    """Read settings from the events of git's first process; it starts others in submodules."""
    own = [event for event in events if event.get("sid") == events[0].get("sid") and "param" in event]
    return {_key(str(event["param"])): str(event.get("value", "true")) for event in own}


def _settings_asked(top: Path) -> dict[str, str]:
    answer = run_git("config", "-z", "--get-regexp", r"^(remote\..*\.url|core\.a.*)$", cwd=top)
    pairs = (entry.partition("\n") for entry in answer.stdout.split("\0") if entry)
    return {_key(key): value if newline else "true" for key, newline, value in pairs}


def _key(setting: str) -> str:
    return setting if setting.startswith("remote.") else setting.lower()
