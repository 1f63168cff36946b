"""Cached repositories: bare, append-only, one for each URL, shared by all runs.

`refs/commits/ID` is written when the commit and its whole tree are there; looking for it costs no process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from projrun import files
from projrun.digests import sha256_text
from projrun.errors import SourceError
from projrun.home import Home
from projrun.locking import locked
from projrun.output import say
from projrun.process import Answer
from projrun.sources.gitclient import environment_for, failure, git
from projrun.sources.giturl import Address
from projrun.sources.revision import EXPRESSION, FULL_ID, SHORT_ID, Revision, unknown_revision
from projrun.sources.tree import Tree

_REFUSES_COMMITS = re.compile(r"unadvertised object|not support shallow|shallow capabilities")
_IN_BETWEEN = re.compile(r"shallow file has changed|\.lock': File exists|cannot lock ref")
_LEFTOVERS = ("*.lock", "refs/commits/*.lock", "objects/pack/tmp_*", "objects/pack/.tmp-*")


class Repository:
    """A remote repository and what the cache has of it."""

    def __init__(self, address: Address, home: Home) -> None:
        self.address = address
        self.bare = home.git / f"{sha256_text(address.url)}.git"
        self._home = home

    def tree(self, revision: Revision) -> Tree:
        return Tree(revision, self.bare / "objects", self.bare / "shallow", self.address.url)

    @cached_property
    def environ(self) -> dict[str, str]:
        """For git where it may have to ask the remote."""
        return environment_for(self.address)

    def obtain(self, version: str) -> Revision:
        """Resolve `version` ('' is the default branch) and have it in the cache.

        A full id is looked for in the cache first. A name means what git lets it mean: a tag wins over a
        branch, `refs/…` may be given in full. Short ids and expressions (`v1~2`) need the whole history.
        """
        if FULL_ID.fullmatch(version):
            return Revision(self._provide(version.lower(), version))
        names = self._names("HEAD", *_patterns(version))
        ref = _meant_by(version, names)
        if ref:
            return Revision(self._provide(names.commit(ref), version), names.branch(ref))
        if not version:
            raise SourceError(
                f"{self.address.url} has no default branch", "push a commit to it, or name a branch with -v"
            )
        return Revision(self._search(version, names))

    def _names(self, *patterns: str) -> _Names:
        answer = self._git("ls-remote", "--symref", "--", self.address.url, *patterns, cwd=Path("/"))
        if not answer.ok:
            raise self._failure(answer)
        return _Names.parsed(answer.stdout)

    def _provide(self, commit: str, version: str) -> str:
        """The full id of the commit that `commit` is or, for a tag object, points to."""
        if known := self._known(commit):
            return known
        with self._fetching(commit):
            return self._known(commit) or self._fetched(commit, version)

    def _known(self, commit: str) -> str:
        if (self.bare / "refs/commits" / commit).is_file():
            return commit
        return self._found(commit) if self.bare.is_dir() else ""

    def _found(self, expression: str) -> str:
        """The commit that the cache knows under this expression; '' unless its whole tree is there too."""
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
            raise self._failure(answer)
        if known := self._found(commit):
            return known
        raise self._unknown(version)

    def _search(self, version: str, names: _Names) -> str:
        """A commit that no name of the remote stands for."""
        if SHORT_ID.fullmatch(version) and self.bare.is_dir() and (found := self._found(version)):
            return found
        if SHORT_ID.fullmatch(version) or EXPRESSION.match(version):
            # HEAD of the cached repository is not the remote's
            expression = re.sub(r"^(HEAD|@)(?=[~^])", names.ids.get("HEAD", "HEAD"), version)
            with self._fetching(names.ids.get("HEAD", "")):
                answer = self._fetch_history()
                if not answer.ok:
                    raise self._failure(answer)
                if found := self._found(expression):
                    return found
        raise self._unknown(version)

    def _fetch(self, *arguments: str) -> Answer:
        """Once more when a git that outlived its killed projrun came in between."""
        command = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", *arguments)
        answer = self._git(*command)
        return answer if answer.ok or not _IN_BETWEEN.search(answer.stderr) else self._git(*command)

    def _has_history(self) -> bool:
        """A shallow fetch into complete history would cut it."""
        heads = self.bare / "refs/heads"
        return not (self.bare / "shallow").exists() and any(heads.iterdir())

    def _fetch_history(self) -> Answer:
        """All branches and tags, whole."""
        deepen = ("--unshallow",) if (self.bare / "shallow").exists() else ()
        refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        return self._fetch("--prune", *deepen, "--", self.address.url, *refs)

    @contextmanager
    def _fetching(self, commit: str) -> Iterator[None]:
        """The cached repository is there and ours alone; what a killed fetch left in it is gone."""
        self._home.mark_cache()
        self._home.git.mkdir(mode=0o700, exist_ok=True)
        with locked(self.bare.with_suffix(".lock"), waiting=self._say_waiting):
            if self.bare.is_dir():
                for pattern in _LEFTOVERS:
                    for path in self.bare.glob(pattern):
                        files.remove(path)
            else:
                self._init(*(("--object-format=sha256",) if len(commit) == 64 else ()))
            yield

    def _init(self, *options: str) -> None:
        with files.beside(self.bare) as fresh:
            answer = git(
                "init", "--bare", "--quiet", "--template=", *options, "--", str(fresh), cwd=self._home.git
            )
            if not answer.ok:
                raise failure(answer, str(self.bare))
            os.rename(fresh, self.bare)

    def _say_waiting(self) -> None:
        say(f"waiting for another projrun that fetches {self.address.url}")

    def _unknown(self, version: str) -> SourceError:
        names = self._names("refs/heads/*", "refs/tags/*").short()
        return unknown_revision(version, self.address.url, names)

    def _git(self, *arguments: str, cwd: Path | None = None) -> Answer:
        return git(*arguments, cwd=cwd or self.bare, environ=self.environ)

    def _failure(self, answer: Answer) -> SourceError:
        return failure(answer, self.address.url, self.address.password or self.address.user)


@dataclass(frozen=True)
class _Names:
    """What `git ls-remote --symref` said."""

    ids: dict[str, str]
    symbolic: dict[str, str]

    @staticmethod
    def parsed(text: str) -> _Names:
        ids, symbolic = {}, {}
        for line in filter(None, text.split("\n")):
            what, _, name = line.partition("\t")
            if what.startswith("ref: "):
                symbolic[name] = what.removeprefix("ref: ")
            else:
                ids[name] = what
        return _Names(ids, symbolic)

    def commit(self, ref: str) -> str:
        return self.ids.get(f"{ref}^{{}}") or self.ids[ref]

    def branch(self, ref: str) -> str:
        """The branch that `ref` is or, for HEAD, stands for."""
        name = self.symbolic.get(ref, ref)
        is_branch = name.startswith("refs/heads/") and name.isprintable()
        return name.removeprefix("refs/heads/") if is_branch else ""

    def short(self) -> list[str]:
        return [re.sub(r"^refs/(heads|tags)/", "", name) for name in self.ids if not name.endswith("^{}")]


def _patterns(version: str) -> tuple[str, ...]:
    plain = version and not re.search(r"[*?\[~^:\\\s]", version)
    return (version, f"{version}^{{}}") if plain else ()


def _meant_by(version: str, names: _Names) -> str:
    """The ref that git would take `version` for; '' when there is none."""
    shapes = ("{}", "refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}")
    candidates = [shape.format(version or "HEAD") for shape in shapes]
    return next((ref for ref in candidates if ref in names.ids), "")
