"""The user's own working tree: read, never written."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from projrun.errors import SourceError
from projrun.plan import Worktree
from projrun.process import Answer
from projrun.sources.gitclient import QUIET, complaint, git
from projrun.starting import Variables, merged

_STATUS = (
    *("status", "--porcelain=v2", "--branch", "-z", "--no-ahead-behind", "--no-renames"),
    *("--untracked-files=all", "--ignore-submodules=none"),
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


def top_above(directory: Path) -> Path | None:
    """The top of the working tree that `directory` is in, found without a process."""
    return next((above for above in (directory, *directory.parents) if os.path.exists(above / ".git")), None)


def below(top: Path, directory: Path) -> str:
    """The way from `top` to `directory`, with forward slashes; '' when they are the same."""
    text = directory.relative_to(top).as_posix()
    return "" if text == "." else text


def state_of(top: Path) -> Worktree:
    """One process. Raises SourceError where git cannot or will not read the repository."""
    environ = merged(os.environ, QUIET, _TELLING)
    answer = git(*_STATUS, cwd=top, environ=environ, errors="surrogateescape")
    events, talk = _apart(answer.stderr)
    if not answer.ok:
        raise SourceError(complaint(Answer(answer.code, "", talk)), f"see what `git status` says in {top}")
    entries = [entry for entry in answer.stdout.split("\0") if entry]
    headers = dict(entry[2:].partition(" ")[::2] for entry in entries if entry.startswith("# "))
    commit, branch = headers.get("branch.oid", ""), headers.get("branch.head", "")
    return Worktree(
        commit="" if commit == "(initial)" else commit,
        branch="" if branch == "(detached)" else branch,
        changes=tuple(entry for entry in entries if not entry.startswith("# ")),
        settings=_settings_told(events) if events else _settings_asked(top),
    )


def git_directories(top: Path) -> tuple[Path, Path]:
    """Git's directory of this working tree, and the one that it shares with others of the repository."""
    own = top / ".git"
    if own.is_file():
        own = top / own.read_text(errors="surrogateescape").removeprefix("gitdir:").strip()
    shared = own / "commondir"
    return own, own / shared.read_text().strip() if shared.is_file() else own


def remote_of(top: Path) -> str:
    """URL of origin, or of the first remote, as it is written; '' when there is none."""
    return remote_in(_settings_asked(top), top)


def remote_in(settings: dict[str, str], top: Path) -> str:
    """The same of what is known already."""
    urls = remotes_in(settings, top)
    return urls.get("origin") or next(iter(urls.values()), "")


def remotes_in(settings: dict[str, str], top: Path) -> dict[str, str]:
    """Name -> URL, paths absolute."""
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
    """The events in git's stderr, and what it has to say."""
    events, talk = [], []
    for line in stderr.splitlines():
        if line.startswith('{"event":'):
            if '"def_param"' in line or '"version"' in line:
                events.append(msgspec.json.decode(line.encode(errors="replace"), type=dict[str, object]))
        else:
            talk.append(line)
    return events, "\n".join(talk)


def _settings_told(events: list[dict[str, object]]) -> dict[str, str]:
    """Those of the first process; it starts others in submodules. The last value of a setting counts."""
    own = [event for event in events if event.get("sid") == events[0].get("sid") and "param" in event]
    return {_key(str(event["param"])): str(event.get("value", "true")) for event in own}


def _settings_asked(top: Path) -> dict[str, str]:
    answer = git("config", "-z", "--get-regexp", r"^(remote\..*\.url|core\.a.*)$", cwd=top)
    pairs = (entry.partition("\n") for entry in answer.stdout.split("\0") if entry)
    return {_key(key): value if newline else "true" for key, newline, value in pairs}


def _key(setting: str) -> str:
    return setting if setting.startswith("remote.") else setting.lower()
