"""The tree of a commit, and how it is laid out on disk."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from projrun.disk.repository_view import run_git
from projrun.errors import SourceError
from projrun.sources.git.git_command import failure

FULL_ID = re.compile(r"[0-9a-fA-F]{40}(?:[0-9a-fA-F]{24})?")
SHORT_ID = re.compile(r"[0-9a-fA-F]{4,64}")
EXPRESSION = re.compile(r".*([~^]|@\{|-g[0-9a-f]{4,}$)")  # `v1~2`, `main^`, and what `git describe` prints


@dataclass(frozen=True)
class Revision:
    commit: str  # full id
    branch: str = ""  # the branch that was asked for or is the default; empty for tags and commits


def check_version(version: str) -> None:
    if version.startswith("-") or not version.isprintable() or len(version) > 1000:
        raise SourceError(f"{version!r} cannot be a version", "give a branch, a tag or a commit")


def unknown_revision(version: str, repository: str, names: Iterable[str]) -> SourceError:
    """Return the error for an unknown version. names: the branches and tags that there are."""
    from difflib import get_close_matches

    known = sorted(set(names))
    near = get_close_matches(version, known, 3, 0.5)
    quoted = ", ".join(f"'{name}'" for name in near or known[:5])
    if near:
        hint = f"did you mean {quoted}?"
    else:
        hint = f"it has, among others, {quoted}" if known else "it has none at all"
    return SourceError(f"{repository} has no branch, tag or commit '{version}'", hint)


@dataclass(frozen=True)
class Tree:
    """A commit and where its objects are."""

    revision: Revision
    objects: Path  # the object directory of the repository that has them
    shallow: Path  # that repository's list of commits without parents; need not exist
    remote: str  # URL that the checkout calls origin; no credentials; may be empty


def fill_tree(root: Path, tree: Tree, environ: Mapping[str, str]) -> None:
    """Lay the tree out in `root`: a repository of its own that borrows the objects.

    Project code can ask git and write to it; nothing of that reaches the cache, and a run's checkout costs
    its files and nothing else. Written by hand: `git clone --shared` takes more processes, and
    `git worktree add` leaves traces in the other repository, to which the project would then write.
    """
    own = root / ".git"
    (own / "objects/info").mkdir(parents=True)
    (own / "objects/info/alternates").write_text(f"{tree.objects}\n")
    (own / "refs").mkdir()
    (own / "config").write_text(_config(tree))
    if tree.shallow.exists():
        (own / "shallow").write_bytes(tree.shallow.read_bytes())
    commit, branch = tree.revision.commit, tree.revision.branch
    if branch:
        (own / "packed-refs").write_text(f"{commit} refs/heads/{branch}\n")
    (own / "HEAD").write_text(f"ref: refs/heads/{branch}\n" if branch else f"{commit}\n")
    answer = run_git("-c", "index.version=2", "read-tree", "--reset", "-u", commit, cwd=root, environ=environ)
    if not answer.ok:
        raise failure(answer, f"the checkout of {commit}")


def _config(tree: Tree) -> str:
    sha256 = len(tree.revision.commit) == 64
    lines = ["[core]", f"repositoryformatversion = {int(sha256)}", "bare = false", "filemode = true"]
    if sys.platform == "darwin":
        lines += ["ignorecase = true", "precomposeunicode = true"]
    if sha256:
        lines += ["[extensions]", "objectformat = sha256"]
    if tree.remote.isprintable() and tree.remote:
        quoted = tree.remote.replace("\\", "\\\\").replace('"', '\\"')
        lines += ['[remote "origin"]', f'url = "{quoted}"', "fetch = +refs/heads/*:refs/remotes/origin/*"]
    return "\n".join([*lines, ""])
