"""Files in Git LFS: fetched into the cached repository, copied into the checkout.

git-lfs runs in the bare repository. It has no tree, and so no `.lfsconfig` that git-lfs would obey: a project
could name a server there that gets the user's credentials. Only the URL of a server on the repository's own
host is taken from it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from projrun.console import say
from projrun.disk import Home
from projrun.disk.file_locks import hold_lock
from projrun.disk.file_operations import temporary_beside
from projrun.disk.repository_view import run_git
from projrun.errors import SourceError
from projrun.sources.git.address import Address, address_of
from projrun.sources.git.git_command import failure, remote_failure, run_with_retries
from projrun.sources.git.tree import Tree

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d+)\n"
)
_MAX_POINTER = 1024
_MISSING = re.compile(r"'lfs' is not a git command|git-lfs: (command )?not found")
_FILTER = """[filter "lfs"]
clean = git-lfs clean -- %f
smudge = git-lfs smudge -- %f
process = git-lfs filter-process
"""


@dataclass(frozen=True)
class _Pointer:
    """The pointer that stands in the tree for a large file."""

    path: Path
    sha256: str
    size: int

    def in_store(self, store: Path) -> Path:
        return store / self.sha256[:2] / self.sha256[2:4] / self.sha256

    def is_in(self, store: Path) -> bool:
        try:
            return os.stat(self.in_store(store)).st_size == self.size
        except OSError:
            return False


def fill_lfs(
    root: Path, tree: Tree, address: Address, environ: Mapping[str, str], home: Home, *, offline: bool
) -> None:
    """Put the large files of the checkout `root` where their pointers stand."""
    if b".gitattributes" not in (root / ".git/index").read_bytes():
        return  # most projects, for which no process is started
    pointers = _pointers(root)
    if not pointers:
        return
    repository = tree.objects.parent
    store = repository / "lfs/objects"
    if missing := [pointer for pointer in pointers if not pointer.is_in(store)]:
        _check_may_fetch(missing, repository, address, home, offline)
        _fetch(root, tree.revision.commit, repository, address, environ, missing)
        missing = [pointer for pointer in missing if not pointer.is_in(store)]
        if missing:
            raise SourceError(
                f"{address.url} does not have {_list_names(missing)}, which Git LFS keeps",
                "ask its author to `git lfs push --all`",
            )
    for pointer in pointers:
        _copy_from_store(pointer, store)
    with open(root / ".git/config", "a") as config:
        config.write(_FILTER)
    _refresh_index(root, pointers)


def _pointers(root: Path) -> list[_Pointer]:
    answer = run_git("ls-files", "-z", "--", ":(top,attr:filter=lfs)", cwd=root)
    if not answer.ok:
        raise failure(answer, "the checkout")
    pointers = (_read_pointer(root / name) for name in answer.stdout.split("\0") if name)
    return [pointer for pointer in pointers if pointer]


def _read_pointer(path: Path) -> _Pointer | None:
    """Read a pointer; None for a file that was committed itself, and for a link."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    with open(fd, "rb") as file:
        match = _POINTER.fullmatch(file.read(_MAX_POINTER))
    return _Pointer(path, match[1].decode(), int(match[2])) if match else None


def _check_may_fetch(
    missing: list[_Pointer], repository: Path, address: Address, home: Home, offline: bool
) -> None:
    names = _list_names(missing)
    if repository.parent != home.git:  # the user's own repository, which is never written
        raise SourceError(
            f"{repository} does not have {names}, which Git LFS keeps", "run `git lfs fetch --all` in it"
        )
    if offline and not address.is_local:
        raise SourceError(
            f"offline, and the cache does not have {names} of {address.url}, which Git LFS keeps",
            "run it once with the network",
        )


def _fetch(
    root: Path,
    commit: str,
    repository: Path,
    address: Address,
    environ: Mapping[str, str],
    missing: list[_Pointer],
) -> None:
    total = sum(pointer.size for pointer in missing) / 1e6
    say(f"fetching {_list_names(missing)} ({total:.1f} MB) with Git LFS")
    remote = f"file://{address.url}" if address.url.startswith("/") else address.url
    settings = ["-c", f"remote.origin.url={remote}", "-c", "lfs.transfer.maxretries=2"]
    if server := _server(root, address):
        settings += ["-c", f"lfs.url={server}"]
    with hold_lock(repository.with_suffix(".lock")):
        answer = run_with_retries(
            address, *settings, "lfs", "fetch", "origin", commit, cwd=repository, environ=environ
        )
    if _MISSING.search(answer.stderr):
        raise SourceError(
            f"{address.url} keeps {_list_names(missing)} in Git LFS, and git-lfs is not installed",
            "install git-lfs (Debian: apt install git-lfs, macOS: brew install git-lfs)",
        )
    if "no such object" in answer.stderr or "missing object" in answer.stderr:
        return  # the caller names the files that did not arrive
    if not answer.ok and not all(pointer.is_in(repository / "lfs/objects") for pointer in missing):
        raise remote_failure(answer, address)


def _server(root: Path, address: Address) -> str:
    """Return the LFS server that the tree names, '' for none; one on another host is refused."""
    config = root / ".lfsconfig"
    if config.is_symlink() or not config.is_file():
        return ""
    for key in ("lfs.url", "remote.origin.lfsurl"):
        answer = run_git("config", "--file", ".lfsconfig", "--no-includes", "--get", key, cwd=root)
        if not answer.ok:
            continue
        server = address_of(answer.stdout.strip())
        if server.origin and server.origin == address.origin:
            return server.url
        raise SourceError(
            f"the .lfsconfig of {address.url} sends Git LFS to another place, {server.url}",
            "if you trust it, clone the repository with git lfs yourself and run the directory",
        )
    return ""


def _copy_from_store(pointer: _Pointer, store: Path) -> None:
    """Put the file in the place of its pointer."""
    import shutil

    # a copy, not a link: the run may write into the file, and that must not reach the cache
    mode = pointer.path.stat().st_mode
    with temporary_beside(pointer.path) as fresh:
        shutil.copyfile(pointer.in_store(store), fresh)
        fresh.chmod(mode & 0o777)
        os.replace(fresh, pointer.path)


def _refresh_index(root: Path, pointers: list[_Pointer]) -> None:
    """Store the new sizes in the index, else git would show the files as changed."""
    listing = root / ".git/large"
    listing.write_bytes(b"\0".join(os.fsencode(pointer.path.relative_to(root)) for pointer in pointers))
    paths = (f"--pathspec-from-file={listing}", "--pathspec-file-nul")
    real = ("-c", "filter.lfs.required=true", "-c", "filter.lfs.process=git-lfs filter-process")
    run_git("--literal-pathspecs", *real, "add", *paths, cwd=root)
    listing.unlink()


def _list_names(pointers: list[_Pointer]) -> str:
    names = [*(pointer.path.name for pointer in pointers[:3]), *["…"][: len(pointers) > 3]]
    return f"{len(pointers)} file{'s' * (len(pointers) != 1)} ({', '.join(names)})"
