"""Temporary checkouts: `checkouts-v1/ID/NAME` in the cache is a tree that belongs to one run.

Submodules are checked out too, at the commits that the tree names, from the cache like any repository.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from projrun.disk import Home, file_locks
from projrun.disk.repository_view import run_git
from projrun.errors import SourceError
from projrun.plan import Checkout, Source
from projrun.sources.git.address import Address, relative_to
from projrun.sources.git.git_command import failure
from projrun.sources.git.lfs import fill_lfs
from projrun.sources.git.repository_cache import Repository
from projrun.sources.git.tree import Tree, fill_tree
from projrun.sources.location import directory_within


def check_out(
    source: Source,
    tree: Tree,
    address: Address,
    environ: Mapping[str, str],
    home: Home,
    *,
    offline: bool = False,
) -> Checkout:
    """Check out `tree` with its submodules, or nothing if that fails. Raises SourceError.

    address: the repository of the tree, to which URLs of submodules may be relative.
    """
    with new_checkout_directory(home, address.name) as root:
        _fill(root, tree, address, environ, home, offline)
        tree_name = f"{address.url} at {source.version or source.commit}"
        directory = directory_within(root, source.subdirectory, tree_name)
        return Checkout(source=source, root=root, directory=directory, temporary=True)


@contextmanager
def new_checkout_directory(home: Home, name: str) -> Iterator[Path]:
    """Yield an empty directory called `name`, which stays after the block unless the block fails.

    It belongs to this process until `sources.release`.
    """
    home.mark_cache()
    claimed = file_locks.new_directory_name(home.checkouts)
    file_locks.claim_directory(claimed)
    try:
        root = claimed / name
        root.mkdir(parents=True)
        yield root
    except BaseException:
        file_locks.release_directory(claimed)
        raise


def _fill(
    root: Path, tree: Tree, address: Address, environ: Mapping[str, str], home: Home, offline: bool
) -> None:
    fill_tree(root, tree, environ)
    fill_lfs(root, tree, address, environ, home, offline=offline)
    listing = root / ".gitmodules"
    if listing.is_symlink() or not listing.is_file():  # git follows no link there either
        return
    for path, (url, commit) in _list_submodules(root).items():
        try:
            _fill_submodule(root, path, relative_to(address, url), commit, home, offline)
        except SourceError as error:
            raise SourceError(f"submodule '{path}': {error.message}", error.hint) from None


def _fill_submodule(root: Path, path: str, address: Address, commit: str, home: Home, offline: bool) -> None:
    directory = root / path
    # On a file system that ignores case, a link may stand in for one of the directories above.
    if os.path.realpath(directory) != os.path.join(os.path.realpath(root), path):
        raise SourceError("its path leads elsewhere", "do not run this project")
    repository = Repository(address, home, offline=offline)
    tree = repository.tree(repository.obtain(commit))
    _fill(directory, tree, address, repository.environ, home, offline)


def _list_submodules(root: Path) -> dict[str, tuple[str, str]]:
    """Return path -> URL and commit of the submodules that are in .gitmodules and in the commit.

    git has checked the paths in the commit; those that are in .gitmodules alone are not trusted.
    """
    urls = _read_urls(root)
    if not urls:
        return {}
    answer = run_git("--literal-pathspecs", "ls-files", "--stage", "-z", "--", *urls, cwd=root)
    entries = [entry.partition("\t") for entry in answer.stdout.split("\0") if entry.startswith("160000 ")]
    return {path: (urls[path], stage.split()[1]) for stage, _, path in entries if path in urls}


def _read_urls(root: Path) -> dict[str, str]:
    """Return path -> URL, as .gitmodules has them."""
    pattern = r"^submodule\..*\.(path|url)$"
    answer = run_git("config", "--file", ".gitmodules", "-z", "--get-regexp", pattern, cwd=root)
    if answer.code > 1:  # 1: there are none
        raise failure(answer, ".gitmodules")
    values = dict(entry.partition("\n")[::2] for entry in answer.stdout.split("\0"))
    paths = {key.removesuffix(".path"): path for key, path in values.items() if key.endswith(".path")}
    return {path: values.get(f"{name}.url", "") for name, path in paths.items()}
