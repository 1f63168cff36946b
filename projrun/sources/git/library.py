"""Commits and history, read with GitPython.

GitPython parses commits and diffs; every git process that it needs is started by `projrun.processes`, with
the options and the environment of `disk.repository_view`. Left to itself it would obey the variables of a
hook that projrun runs in, read the repository's own configuration, and leave processes behind after a
time-out.

Fetching stays with `git_command` and `repository_cache` for the same reasons: `Remote.fetch` starts git by
itself, its time-out kills the children that `ps` lists instead of the process group, it cannot take a
variable out of the environment, and it cannot leave the terminal to a prompt of ssh, whose stderr
`RemoteProgress` would read.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from projrun.console import one_line
from projrun.disk import Home
from projrun.disk.file_operations import find_git_top
from projrun.disk.repository_view import OPTIONS, QUIET, open_view, run_git
from projrun.errors import LaunchError, SourceError, UnavailableError
from projrun.history import Commit, History, Rename
from projrun.processes import merge_environ, start_process
from projrun.record import Record
from projrun.sources.git.address import address_of
from projrun.sources.git.repository_cache import Repository

if TYPE_CHECKING:
    import git

MAX_COMMITS = 50  # commits of each side that are read; the others are counted
MAX_RENAMES = 200
_SHA1 = re.compile(r"[0-9a-f]{40}")


class RepositoryLocation(NamedTuple):
    """A repository on this machine and the environment in which git reads it."""

    directory: Path
    environ: Mapping[str, str]


def read_date(directory: Path, revision: str) -> str:
    """Return the committer's date (RFC 3339) of `revision` in the repository around `directory`.

    Return '' when there is no such repository or commit. Raises SourceError when git cannot read it.
    """
    top = find_git_top(Path(os.path.realpath(directory)))
    if top is None or revision.startswith("-"):
        return ""
    with open_view(top) as view, _client(RepositoryLocation(top, view.environ)) as client:
        from git.exc import GitCommandError

        try:
            # not `Repo.commit`, which knows neither SHA-256 repositories nor all spellings of a revision
            return str(client.show("-s", "--format=%cI", f"{revision}^{{commit}}", "--"))
        except GitCommandError:
            return ""


def read_commit(record: Record, home: Home) -> Commit | None:
    """Return the commit that a run started from, None where no repository of this machine has it."""
    commit = record.plan.source.commit
    if not _SHA1.fullmatch(commit):
        return None
    for location in _locations((record,), home):
        try:
            with _opened(location) as repo:
                return _commit(repo, commit)
        except SourceError:
            continue
    return None


def read_history(first: Record, second: Record, home: Home) -> History:
    """Return the commits between those of two runs; nothing is fetched.

    The repositories in the cache and those that the runs were started in are asked. Where none of them has
    the history, the result says so.
    """
    commits = first.plan.source.commit, second.plan.source.commit
    if not all(commits):
        return History(unknown="not both runs were started from a commit")
    if not all(map(_SHA1.fullmatch, commits)):
        return History(unknown="the history of a SHA-256 repository is not read")
    unknown = "no repository on this machine has both commits"
    for location in _locations((first, second), home):
        try:
            with _opened(location) as repo:
                history = _history(repo, *commits)
        except SourceError:
            continue
        if not history.unknown:
            return history
        unknown = history.unknown
    return History(unknown=f"the history is not known: {unknown}")


def _locations(records: Sequence[Record], home: Home) -> Iterator[RepositoryLocation]:
    """Yield the repositories that may have the commits of these runs, each once."""
    remotes = [record.closure.remote if record.closure else "" for record in records]
    for remote in dict.fromkeys((*remotes, *(record.plan.source.repository for record in records))):
        if not remote:
            continue
        try:
            repository = Repository(address_of(remote), home)
        except SourceError:
            continue
        if repository.bare.is_dir():
            repository.hold()
            location = {"GIT_DIR": str(repository.bare), "GIT_NO_LAZY_FETCH": "1"}
            yield RepositoryLocation(repository.bare, merge_environ(os.environ, QUIET, location))
    local = (Path(record.root) for record in records if record.plan.source.kind == "local" and record.root)
    for top in dict.fromkeys(find_git_top(directory) for directory in local):
        if top is None:
            continue
        try:
            with open_view(top) as view:
                yield RepositoryLocation(Path(view.environ["GIT_DIR"]), view.environ)
        except SourceError:
            continue


def _history(repo: git.Repo, first: str, second: str) -> History:
    listed = repo.git.rev_list("--left-right", f"{first}...{second}", "--").split()
    shallow = Path(repo.git_dir, "shallow")
    cut = set(shallow.read_text().split()) if shallow.is_file() else set()
    if cut & {line[1:] for line in listed}:
        return History(unknown="the repository on this machine is shallow: it lacks commits between them")
    sides = {sign: [line[1:] for line in listed if line[0] == sign] for sign in "<>"}
    changes = repo.commit(first).diff(second)
    names = ((change.rename_from, change.rename_to) for change in changes if change.renamed_file)
    renames = sorted((_printable(before), _printable(after)) for before, after in names)
    return History(
        added=tuple(_commit(repo, commit) for commit in sides[">"][:MAX_COMMITS]),
        added_count=len(sides[">"]),
        dropped=tuple(_commit(repo, commit) for commit in sides["<"][:MAX_COMMITS]),
        dropped_count=len(sides["<"]),
        renames=tuple(Rename(before=before, after=after) for before, after in renames[:MAX_RENAMES]),
    )


def _commit(repo: git.Repo, commit_id: str) -> Commit:
    commit = repo.commit(commit_id)
    return Commit(
        id=commit.hexsha,
        author=_printable(commit.author.name or commit.author.email or "unknown"),
        date=commit.authored_datetime.isoformat(),
        subject=_printable(commit.summary),
    )


def _printable(text: object) -> str:
    """Return text that JSON can hold: a commit may decode to lone surrogates, as UTF-7 does."""
    return one_line(str(text).encode(errors="replace").decode())


@contextmanager
def _opened(location: RepositoryLocation) -> Iterator[git.Repo]:
    """Open a repository with GitPython. Raises SourceError for all that goes wrong in it."""
    with _client(location) as client:
        import git

        class Repo(git.Repo):
            GitCommandWrapperType = type(client)

        with Repo(location.directory, expand_vars=False) as repo:
            yield repo


@contextmanager
def _client(location: RepositoryLocation) -> Iterator[git.Git]:
    """Give GitPython's wrapper of the git command. What goes wrong in the block is a SourceError."""
    try:
        import git
        from git.exc import GitError
    except ImportError as error:  # GitPython runs `git version` when it is imported
        reason = str(error).splitlines()[0]
        raise SourceError(
            f"GitPython cannot be used: {reason}", "install git and see that it is on PATH"
        ) from None

    class Client(git.Git):
        def execute(  # type: ignore[override]
            self, command: Sequence[str], istream: int | None = None, as_process: bool = False, **_: Any
        ) -> Any:
            if istream is not None:  # PIPE: `git cat-file --batch`, which ends when the Repo is closed
                argv = ["git", *OPTIONS, *command[1:]]
                process = start_process(
                    argv, Path("/"), location.environ, istream, istream, istream, explained=False
                )
                return self.AutoInterrupt(process, argv)
            answer = run_git(*command[1:], cwd=Path("/"), environ=location.environ, errors="surrogateescape")
            if not answer.ok:
                raise git.GitCommandError(list(command), answer.code, answer.stderr)
            return _Finished(answer.stdout) if as_process else answer.stdout.removesuffix("\n")

    try:
        yield Client()
    except (LaunchError, UnavailableError) as error:
        raise SourceError(error.message, error.hint) from None
    except (GitError, ValueError, LookupError, OverflowError, OSError) as error:  # a commit may hold anything
        reason = one_line(str(error), 200)
        raise SourceError(f"{location.directory} cannot be read: {reason}", "see `git log` in it") from None


class _Finished:
    """A process that has ended, as GitPython reads one."""

    def __init__(self, stdout: str) -> None:
        self.stdout = io.BytesIO(stdout.encode(errors="surrogateescape"))
        self.stderr = io.BytesIO()

    def wait(self, **_: object) -> int:
        return 0
