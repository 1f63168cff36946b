"""Cached repositories: bare, append-only, one for each URL, shared by all runs.

`refs/commits/ID` is written when the commit and its whole tree are there; looking for it costs no process.
Beside `X.git` lie two locks: `X.lock` is held by the one that fetches, `X.used` is shared by all that borrow,
so that a long run does not keep the next one from fetching, and pruning, which needs both, takes nothing in
use.

Commits are fetched whole and shallow, without a sparse checkout: one negotiation, and the recorded tree is
the one that runs. A project may read beside its own directory, and a partial clone would ask the network
again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import msgspec

from projrun.console import explain, say
from projrun.disk import Home, file_operations
from projrun.disk.file_locks import FileLock, hold_lock
from projrun.disk.file_operations import sha256_text, write_atomically
from projrun.disk.repository_view import run_git
from projrun.errors import SourceError
from projrun.processes.programs import ProgramResult
from projrun.sources.git.address import Address
from projrun.sources.git.git_command import (
    LOOK_TIMEOUT_S,
    environment_for,
    failure,
    progress_option,
    remote_failure,
    run_with_retries,
)
from projrun.sources.git.tree import EXPRESSION, FULL_ID, SHORT_ID, Revision, Tree, unknown_revision

_REFUSES_COMMITS = re.compile(r"unadvertised object|not support shallow|shallow capabilities")
_IN_BETWEEN = re.compile(r"shallow file has changed|\.lock': File exists|cannot lock ref")
_LEFTOVERS = ("*.lock", "refs/commits/*.lock", "objects/pack/tmp_*", "objects/pack/.tmp-*", ".*.tmp")
# Repositories that this process borrows from: nobody may prune them while it lives
_uses: dict[Path, FileLock] = {}


class Repository:
    """A remote repository and what the cache has of it.

    offline: what the cache has must do; a repository on this machine can be asked all the same.
    """

    def __init__(self, address: Address, home: Home, *, offline: bool = False) -> None:
        self.address = address
        self.bare = home.git / f"{sha256_text(address.url)}.git"
        self.offline = offline and not address.is_local
        self._home = home

    def tree(self, revision: Revision) -> Tree:
        return Tree(revision, self.bare / "objects", self.bare / "shallow", self.address.url)

    @cached_property
    def environ(self) -> dict[str, str]:
        """Return the environment of git commands that may ask the remote."""
        return environment_for(self.address)

    def obtain(self, version: str) -> Revision:
        """Resolve `version` ('' is the default branch) and have it in the cache.

        A full id is looked for in the cache first. A name means what git lets it mean: a tag wins over a
        branch, `refs/…` may be given in full. Short ids and expressions (`v1~2`) need the whole history.
        """
        self.hold()
        if FULL_ID.fullmatch(version):
            return Revision(self._provide(version.lower(), version))
        names = self.names("HEAD", *_patterns(version))
        if ref := names.meant_by(version):
            if self.offline:
                self._say_offline(version, names.commit(ref))
            revision = Revision(self._provide(names.commit(ref), version), names.branch(ref))
            write_names(self.bare, names)
            return revision
        if not version and not self.offline:
            raise SourceError(
                f"{self.address.url} has no default branch", "push a commit to it, or name a branch with -v"
            )
        return Revision(self._search(version, names))

    def names(self, *patterns: str) -> Names:
        """Return the refs of the remote that match; offline, all that it had when it was last asked."""
        if self.offline:
            return read_names(self.bare)
        look = ("ls-remote", "--symref", "--", self.address.url, *patterns)
        answer = run_with_retries(
            self.address, *look, cwd=Path("/"), environ=self.environ, timeout_s=LOOK_TIMEOUT_S
        )
        if not answer.ok:
            raise remote_failure(answer, self.address)
        return parse_names(answer.stdout)

    def hold(self) -> None:
        """Keep others from pruning the repository while this process lives, and note the time of its use."""
        if self.bare not in _uses:
            self._home.mark_cache()
            self._home.git.mkdir(mode=0o700, exist_ok=True)
            lock = FileLock(self.bare.with_suffix(".used"))
            lock.acquire(shared=True)
            _uses[self.bare] = lock
        os.utime(self.bare.with_suffix(".used"))

    def _provide(self, commit: str, version: str) -> str:
        """Fetch a commit if need be; return its full id or, for a tag object, that of its commit."""
        if known := self._known(commit):
            explain(f"commit {known} is in the cache: {self.bare}")
            return known
        if self.offline:
            raise self._not_cached(version)
        with self._fetching(commit):
            return self._known(commit) or self._fetched(commit, version)

    def _known(self, commit: str) -> str:
        if (self.bare / "refs/commits" / commit).is_file():
            return commit
        return self._found(commit) if self.bare.is_dir() else ""

    def _found(self, expression: str) -> str:
        """Return the commit that the cache has for an expression; '' unless its whole tree is there too."""
        answer = self._git("rev-parse", "--verify", "--quiet", f"{expression}^{{commit}}")
        commit = answer.stdout.strip()
        if not answer.ok or not self._git("rev-list", "--objects", "--no-walk", "--quiet", commit).ok:
            return ""
        self._git("update-ref", f"refs/commits/{commit}", commit)
        return commit

    def _fetched(self, commit: str, version: str) -> str:
        depth = () if self._has_history() else ("--depth=1",)
        answer = self._fetch(*depth, "--", self.address.url, commit)
        if not answer.ok and _REFUSES_COMMITS.search(answer.stderr):
            answer = self._fetch_history()
        if not answer.ok and "not our ref" not in answer.stderr:
            raise remote_failure(answer, self.address)
        if known := self._found(commit):
            return known
        raise self._unknown(version)

    def _search(self, version: str, names: Names) -> str:
        """Resolve a version that is no name of the remote: a short id or an expression."""
        if SHORT_ID.fullmatch(version) and self.bare.is_dir() and (commit := self._found(version)):
            return commit
        if self.offline:
            if self.bare.is_dir() and (commit := self._found_offline(version, names)):
                return commit
            raise self._not_cached(version)
        if SHORT_ID.fullmatch(version) or EXPRESSION.match(version):
            # HEAD of the cached repository is not the remote's
            expression = re.sub(r"^(HEAD|@)(?=[~^])", names.ids.get("HEAD", "HEAD"), version)
            with self._fetching(names.ids.get("HEAD", "")):
                answer = self._fetch_history()
                if not answer.ok:
                    raise remote_failure(answer, self.address)
                write_names(self.bare, names)
                if commit := self._found(expression):
                    return commit
        raise self._unknown(version)

    def _found_offline(self, version: str, names: Names) -> str:
        """Resolve `main~2` by the commit that `main` was when the remote was last asked."""
        base, steps = re.fullmatch(r"(.*?)((?:[~^].*)?)", version, re.DOTALL).groups()  # type: ignore[union-attr]
        ref = names.meant_by("" if base == "@" else base)
        if not steps or not EXPRESSION.match(version):
            return ""
        commit = self._found(f"{names.commit(ref) if ref else base}{steps}")
        if commit:
            self._say_offline(version, commit)
        return commit

    def _fetch(self, *arguments: str) -> ProgramResult:
        """Fetch, and once more where a git that outlived its killed projrun interfered."""
        command = ("fetch", *progress_option(), "--no-tags", "--no-recurse-submodules", *arguments)

        def attempt() -> ProgramResult:
            return run_with_retries(self.address, *command, cwd=self.bare, environ=self.environ)

        answer = attempt()
        return answer if answer.ok or not _IN_BETWEEN.search(answer.stderr) else attempt()

    def _has_history(self) -> bool:
        """Return True if the history is complete: a shallow fetch would cut it."""
        heads = self.bare / "refs/heads"
        return not (self.bare / "shallow").exists() and any(heads.iterdir())

    def _fetch_history(self) -> ProgramResult:
        """Fetch all branches and tags with their whole history."""
        deepen = ("--unshallow",) if (self.bare / "shallow").exists() else ()
        refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        return self._fetch("--prune", *deepen, "--", self.address.url, *refs)

    @contextmanager
    def _fetching(self, commit: str) -> Iterator[None]:
        """Lock the cached repository, making it if need be, and remove what a killed fetch left in it."""
        with hold_lock(self.bare.with_suffix(".lock"), waiting=self._say_waiting):
            if self.bare.is_dir():
                for pattern in _LEFTOVERS:
                    for path in self.bare.glob(pattern):
                        file_operations.remove_tree(path)
            else:
                self._init(*(("--object-format=sha256",) if len(commit) == 64 else ()))
            yield

    def _init(self, *options: str) -> None:
        with file_operations.temporary_beside(self.bare) as fresh:
            answer = run_git(
                "init", "--bare", "--quiet", "--template=", *options, "--", str(fresh), cwd=self._home.git
            )
            if not answer.ok:
                raise failure(answer, str(self.bare))
            os.rename(fresh, self.bare)

    def _say_waiting(self) -> None:
        say(f"waiting for another projrun that fetches {self.address.url}")

    def _say_offline(self, version: str, commit: str) -> None:
        name = version or "its default branch"
        say(f"offline: {self.address.url} is taken at {commit[:12]}, where {name} was when it was last asked")

    def _not_cached(self, version: str) -> SourceError:
        version_text = f"'{version}'" if version else "its default branch"
        return SourceError(
            f"offline, and the cache does not have {version_text} of {self.address.url}",
            "run it once with the network, or give a commit that was run before",
        )

    def _unknown(self, version: str) -> SourceError:
        names = self.names("refs/heads/*", "refs/tags/*").short()
        return unknown_revision(version, self.address.url, names)

    def _git(self, *arguments: str) -> ProgramResult:
        return run_git(*arguments, cwd=self.bare, environ=self.environ)


def _patterns(version: str) -> tuple[str, ...]:
    plain = version and not re.search(r"[*?\[~^:\\\s]", version)
    return (version, f"{version}^{{}}") if plain else ()


# In a cached repository: what the remote was heard to say, for when it cannot be asked. A file, not refs: a
# hostile name is text in it and nothing else
FILE = "names.json"


class Names(msgspec.Struct, frozen=True):
    """The refs that `git ls-remote --symref` listed."""

    ids: dict[str, str] = {}  # ref -> id; the commit that an annotated tag stands for is at `REF^{}`
    symbolic: dict[str, str] = {}

    def commit(self, ref: str) -> str:
        return self.ids.get(f"{ref}^{{}}") or self.ids[ref]

    def branch(self, ref: str) -> str:
        """Return the branch that `ref` is or, for HEAD, stands for."""
        name = self.symbolic.get(ref, ref)
        is_branch = name.startswith("refs/heads/") and name.isprintable()
        return name.removeprefix("refs/heads/") if is_branch else ""

    def short(self) -> list[str]:
        return [re.sub(r"^refs/(heads|tags)/", "", name) for name in self.ids if not name.endswith("^{}")]

    def meant_by(self, version: str) -> str:
        """Return the ref that git takes `version` ('' is the default branch) for; '' when there is none."""
        shapes = ("{}", "refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}")
        candidates = [shape.format(version or "HEAD") for shape in shapes]
        return next((ref for ref in candidates if ref in self.ids), "")


def parse_names(text: str) -> Names:
    ids, symbolic = {}, {}
    for line in filter(None, text.split("\n")):
        object_id, _, name = line.partition("\t")
        if object_id.startswith("ref: "):
            symbolic[name] = object_id.removeprefix("ref: ")
        else:
            ids[name] = object_id
    return Names(ids, symbolic)


def read_names(bare: Path) -> Names:
    """Read the refs that the remote had when it was last asked; none if it never was."""
    try:
        return msgspec.json.decode((bare / FILE).read_bytes(), type=Names)
    except (OSError, msgspec.MsgspecError):
        return Names()


def write_names(bare: Path, names: Names) -> None:
    """Add refs to those that are stored; unchanged ones are not written again."""
    known = read_names(bare)
    news = Names({**known.ids, **names.ids}, {**known.symbolic, **names.symbolic})
    if news != known and bare.is_dir():
        write_atomically(bare / FILE, msgspec.json.encode(news))
