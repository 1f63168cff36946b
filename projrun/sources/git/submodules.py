"""Submodules: at their commits, from the cache like any repository."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from projrun.disk import Home
from projrun.disk.repository_view import run_git
from projrun.errors import SourceError
from projrun.sources.git.address import Address, relative_to
from projrun.sources.git.git_command import failure
from projrun.sources.git.lfs import fill_lfs
from projrun.sources.git.repository_cache import Repository
from projrun.sources.git.tree import fill_tree


@dataclass(frozen=True)
class _Submodule:
    path: str
    url: str
    commit: str


def fill_submodules(root: Path, parent: Address, home: Home, *, offline: bool = False) -> None:
    """Fill every submodule below the checkout `root` of `parent`, and theirs."""
    listing = root / ".gitmodules"
    if listing.is_symlink() or not listing.is_file():  # git takes no link either
        return
    for submodule in _submodules(root):
        try:
            _fill_one(root, submodule, parent, home, offline)
        except SourceError as error:
            raise SourceError(f"submodule '{submodule.path}': {error.message}", error.hint) from None


def _fill_one(root: Path, submodule: _Submodule, parent: Address, home: Home, offline: bool) -> None:
    address = relative_to(parent, submodule.url)
    directory = root / submodule.path
    # on a file system that ignores case a link may stand in for one of the directories above
    if os.path.realpath(directory) != os.path.join(os.path.realpath(root), submodule.path):
        raise SourceError("its path leads elsewhere", "do not run this project")
    repository = Repository(address, home, offline=offline)
    tree = repository.tree(repository.obtain(submodule.commit))
    fill_tree(directory, tree, repository.environ)
    fill_lfs(directory, tree, address, repository.environ, home, offline=offline)
    fill_submodules(directory, address, home, offline=offline)


def _submodules(root: Path) -> list[_Submodule]:
    """List the submodules in both .gitmodules and the commit; git itself checks the paths in a commit."""
    urls = _urls(root)
    if not urls:
        return []
    answer = run_git("--literal-pathspecs", "ls-files", "--stage", "-z", "--", *urls, cwd=root)
    entries = [entry.partition("\t") for entry in answer.stdout.split("\0") if entry.startswith("160000 ")]
    return [_Submodule(path, urls[path], stage.split()[1]) for stage, _, path in entries if path in urls]


def _urls(root: Path) -> dict[str, str]:
    """Return path -> URL, as .gitmodules has them."""
    pattern = r"^submodule\..*\.(path|url)$"
    answer = run_git("config", "--file", ".gitmodules", "-z", "--get-regexp", pattern, cwd=root)
    if answer.code > 1:  # 1: there are none
        raise failure(answer, ".gitmodules")
    values: dict[str, str] = {}
    for entry in answer.stdout.split("\0"):
        key, _, value = entry.partition("\n")
        values[key] = value
    paths = {key.removesuffix(".path"): value for key, value in values.items() if key.endswith(".path")}
    return {path: values.get(f"{name}.url", "") for name, path in paths.items()}
