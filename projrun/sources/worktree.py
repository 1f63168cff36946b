"""The user's own working tree: read, never written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from projrun.errors import SourceError
from projrun.sources.gitclient import complaint, git


class State(NamedTuple):
    """What `git status` says."""

    commit: str
    """Empty before the first commit."""
    branch: str
    """Empty when detached."""
    dirty: bool


def top_above(directory: Path) -> Path | None:
    """The top of the working tree that `directory` is in, found without a process."""
    return next((above for above in (directory, *directory.parents) if os.path.exists(above / ".git")), None)


def below(top: Path, directory: Path) -> str:
    """The way from `top` to `directory`, with forward slashes; '' when they are the same."""
    text = directory.relative_to(top).as_posix()
    return "" if text == "." else text


def state_of(top: Path) -> State:
    """Raises SourceError where git cannot or will not read the repository."""
    answer = git(*_STATUS, cwd=top)
    if not answer.ok:
        raise SourceError(complaint(answer))
    entries = [entry for entry in answer.stdout.split("\0") if entry]
    headers = dict(entry[2:].partition(" ")[::2] for entry in entries if entry.startswith("# "))
    commit, branch = headers.get("branch.oid", ""), headers.get("branch.head", "")
    return State(
        commit="" if commit == "(initial)" else commit,
        branch="" if branch == "(detached)" else branch,
        dirty=any(not entry.startswith("# ") for entry in entries),
    )


_STATUS = (
    *("status", "--porcelain=v2", "--branch", "-z", "--no-ahead-behind", "--no-renames"),
    *("--untracked-files=normal", "--ignore-submodules=none"),
)


def remote_of(top: Path) -> str:
    """URL of origin, or of the first remote, as it is written; '' when there is none."""
    answer = git("config", "-z", "--get-regexp", r"^remote\..*\.url$", cwd=top)
    remotes = dict(entry.partition("\n")[::2] for entry in answer.stdout.split("\0") if entry)
    url = remotes.get("remote.origin.url") or next(iter(remotes.values()), "")
    return os.path.normpath(top / url) if url.startswith(("./", "../")) else url
