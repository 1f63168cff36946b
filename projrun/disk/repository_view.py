"""Reading a repository on this machine without its own settings.

A repository's configuration can name programs (filters, an fsmonitor, hooks, transports of a partial clone)
and further files with such names. Git has no option that leaves that configuration out, and a filter cannot
be turned off without its name. So git is given a directory of ours in the place of the repository's: objects,
refs and index are borrowed by links, and the configuration holds the values of `KEPT` alone. The user's own
settings, those of the machine and of the environment, count as always.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from projrun.disk.file_operations import temporary_directory
from projrun.errors import LaunchError, SourceError, UnavailableError
from projrun.processes import Variables, merge_environ
from projrun.processes.programs import ProgramResult, run_program

OPTIONS = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "gc.auto=0"),
    *("-c", "maintenance.auto=false"),
    *("-c", "submodule.recurse=false"),
    *("-c", "core.logAllRefUpdates=false"),
    # a signature is not asked for, and would be checked by a program
    *("-c", "log.showSignature=false"),
    # the files of Git LFS are fetched and laid out by `lfs`, not by what a checkout starts
    *("-c", "filter.lfs.smudge=", "-c", "filter.lfs.process=", "-c", "filter.lfs.required=false"),
)
QUIET: Variables = {
    # set when we are run inside a hook or an alias; they would redirect every command
    "GIT_DIR": None,
    "GIT_WORK_TREE": None,
    "GIT_INDEX_FILE": None,
    "GIT_OBJECT_DIRECTORY": None,
    "GIT_ALTERNATE_OBJECT_DIRECTORIES": None,
    "GIT_COMMON_DIR": None,
    "GIT_NAMESPACE": None,
    "GIT_PREFIX": None,
    "GIT_SHALLOW_FILE": None,
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
    "LANGUAGE": None,
}
# Settings of a repository that change the answer and name neither a program nor a file
KEPT = frozenset(
    (
        *("core.autocrlf", "core.eol", "core.filemode", "core.ignorecase", "core.symlinks"),
        *("core.precomposeunicode", "core.trustctime", "core.checkstat"),
        *("core.sparsecheckout", "core.sparsecheckoutcone"),
        *("extensions.objectformat", "extensions.refstorage"),
    )
)
_CONVERTING = re.compile(r"(filter\..+\.(clean|process))|include\.path|includeif\..*")
_OWN = ("index",)
_SHARED = ("objects", "refs", "packed-refs", "reftable", "shallow", "logs")
_SHARED_INFO = ("exclude", "attributes", "grafts")
_OWN_INFO = ("sparse-checkout",)


def run_git(
    *arguments: str,
    cwd: Path,
    environ: Mapping[str, str] | None = None,
    errors: str = "replace",
    timeout_s: float | None = None,
    on_terminal: bool = False,
) -> ProgramResult:
    """Run git to its end with `OPTIONS`. Raises SourceError when there is no git, TimeoutError.

    environ: without it, the caller's own without what would redirect git.
    """
    # A git process costs about a millisecond, importing GitPython 100. `sources/git/library` uses it
    # for histories and dates, which no run needs.
    environ = environ or merge_environ(os.environ, QUIET)
    command = ["git", *OPTIONS, *arguments]
    try:
        return run_program(
            command, cwd=cwd, environ=environ, errors=errors, timeout_s=timeout_s, on_terminal=on_terminal
        )
    except LaunchError as error:
        raise SourceError(error.message, "install git and see that it is on PATH") from None
    except UnavailableError as error:
        raise SourceError(error.message, error.hint) from None


class View(NamedTuple):
    """A repository that git reads without the repository's own settings."""

    top: Path
    environ: dict[str, str]  # with it git reads the repository by our directory
    remotes: dict[str, str]  # `remote.NAME.url` -> URL, as written
    # The repository's settings that may change what a status says and are not followed
    converting: tuple[str, ...]

    def ask(self, *arguments: str, errors: str = "replace") -> ProgramResult:
        """Run a git command that only reads. Raises SourceError when there is no git."""
        return run_git(*arguments, cwd=self.top, environ=self.environ, errors=errors)


def git_directories(top: Path) -> tuple[Path, Path]:
    """Return Git's directory of a working tree, and the one that all worktrees of the repository share."""
    own = top / ".git"
    if own.is_file():
        own = top / own.read_text(errors="surrogateescape").removeprefix("gitdir:").strip()
    shared = own / "commondir"
    return own, own / shared.read_text().strip() if shared.is_file() else own


@contextmanager
def open_view(top: Path) -> Iterator[View]:
    """Open a view of the repository of the working tree `top`, for as long as the block lasts.

    Raises SourceError where there is none, or where git refuses it because it belongs to somebody else.
    """
    own, shared = (Path(os.path.realpath(directory)) for directory in git_directories(top))
    head = own / "HEAD"
    if not (os.path.islink(head) or head.is_file()) or not (shared / "objects").is_dir():
        raise SourceError(f"not a git repository: {own}", f"see what `git status` says in {top}")
    _check_owner(top, own)
    settings = _settings(own, shared)
    with temporary_directory() as temporary:
        directory = temporary / "git"
        _borrow(directory, shared, _SHARED)
        _borrow(directory, own, _OWN + tuple(path.name for path in own.glob("sharedindex.*")))
        _borrow(directory / "info", shared / "info", _SHARED_INFO)
        _borrow(directory / "info", own / "info", _OWN_INFO)
        # git accepts HEAD as a symbolic link only if it leads to `refs/…`, so its target is written instead
        text = f"ref: {os.readlink(head)}\n" if os.path.islink(head) else head.read_text()
        (directory / "HEAD").write_text(text)
        (directory / "config").write_text(_config(settings))
        location: Variables = {
            "GIT_DIR": str(directory),
            "GIT_WORK_TREE": str(top),
            "GIT_NO_LAZY_FETCH": "1",
        }
        yield View(
            top,
            merge_environ(os.environ, QUIET, location),
            {key: value for key, value in settings if re.fullmatch(r"remote\..+\.url", key, re.DOTALL)},
            tuple(dict.fromkeys(key for key, _ in settings if _CONVERTING.fullmatch(key))),
        )


def _borrow(directory: Path, lender: Path, names: tuple[str, ...]) -> None:
    """Link to those names of `lender` that are regular files or directories."""
    directory.mkdir(exist_ok=True)
    for name in names:
        path = lender / name
        if path.is_file() or path.is_dir():
            (directory / name).symlink_to(path)


def _settings(own: Path, shared: Path) -> list[tuple[str, str]]:
    """Read the settings in the repository's own files; included files are not read."""
    settings: list[tuple[str, str]] = []
    for file in dict.fromkeys((shared / "config", own / "config.worktree")):
        if not file.is_file():
            continue
        listing = ("config", "--file", str(file), "--no-includes", "-z", "--list")
        answer = run_git(*listing, cwd=Path("/"), errors="surrogateescape")
        if not answer.ok:
            raise SourceError(_last_line(answer), f"mend {file}")
        pairs = (entry.partition("\n") for entry in answer.stdout.split("\0") if entry)
        settings += [(key, value if newline else "true") for key, newline, value in pairs]
    return settings


def _config(settings: list[tuple[str, str]]) -> str:
    lines = ["[core]", "\trepositoryformatversion = 1", "\tbare = false"]
    for key, value in settings:
        if key in KEPT and re.fullmatch(r"\w*", value, re.ASCII):
            section, _, name = key.partition(".")
            lines += [f"[{section}]", f"\t{name} = {value}"]
    return "\n".join([*lines, ""])


def _check_owner(top: Path, own: Path) -> None:
    """Refuse a repository of another user, whose settings could run programs (CVE-2022-24765)."""
    # git checks the owner only of a directory that it finds by itself, not of one in GIT_DIR
    if all(os.stat(path).st_uid == os.geteuid() for path in (top, top / ".git", own)):
        return
    answer = run_git("rev-parse", "--git-dir", cwd=top)
    if not answer.ok:
        raise SourceError(
            f"{top} belongs to another user, so git refuses to read it ({_last_line(answer)})",
            "trust it with: git config --global --add safe.directory DIRECTORY",
        )


def _last_line(answer: ProgramResult) -> str:
    lines = [line for line in answer.stderr.splitlines() if line.startswith(("fatal: ", "error: "))]
    return lines[0].partition(" ")[2] if lines else f"git failed with exit code {answer.code}"
