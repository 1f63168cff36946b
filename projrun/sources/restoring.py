"""Giving a recorded tree back."""

from __future__ import annotations

import contextlib
import os
import tarfile
from pathlib import Path

from projrun import files
from projrun.digests import sha256_file
from projrun.errors import SourceError
from projrun.home import Home
from projrun.plan import Checkout, Source
from projrun.record import SourceClosure
from projrun.sources.checkouts import check_out, new_place
from projrun.sources.gitcache import Repository
from projrun.sources.giturl import address_of
from projrun.sources.revision import Revision
from projrun.sources.subdirectory import directory_within
from projrun.sources.tree import Tree, fill
from projrun.sources.treearchive import REMOVED, TREE
from projrun.sources.unpack import Limits, unpack_members

RAW = "* -text -ident -filter !eol !crlf !working-tree-encoding\n"
"""Attributes under which git writes the bytes that it has; those of `info/attributes` win over all others."""


def restore(
    source: Source, closure: SourceClosure, artifact: Path | None, home: Home, local: Tree | None = None
) -> Checkout:
    """A temporary checkout with the tree that the closure tells of, to be given back with `release`.

    artifact: the file that `closure.artifact` names. local: a repository of this machine that has the commit
    which was checked out; without it the remote is asked for what the cache lacks. Raises SourceError, also
    when files are missing because they were too large to keep.
    """
    _check(closure, artifact)
    if not closure.artifact and not _is_used_in_place(source):
        return _from_remote(source, closure, home)
    with new_place(home, _name(source)) as root:
        if base := local or _base(closure, home):
            _fill_raw(root, base)
        if closure.artifact:
            assert artifact is not None
            _lay_over(root, artifact, whole=not closure.commit)
        directory = directory_within(root, source.subdirectory, "the recorded tree")
        return Checkout(source=source, root=root, directory=directory, temporary=True)


def _check(closure: SourceClosure, artifact: Path | None) -> None:
    if closure.unkept:
        names = ", ".join(file.path for file in closure.unkept[:3])
        raise SourceError(
            f"{len(closure.unkept)} large files of the source are recorded by digest alone: {names}",
            "have them ignored, or set PROJRUN_SOURCE_FILE_LIMIT and PROJRUN_SOURCE_LIMIT before the run",
        )
    if closure.artifact and (artifact is None or sha256_file(artifact) != closure.sha256):
        raise SourceError(
            f"the artifact {closure.artifact} is not what was recorded", "it was changed or lost"
        )


def _is_used_in_place(source: Source) -> bool:
    return source.kind == "local" and not source.version


def _name(source: Source) -> str:
    parts = (source.repository or source.uri.partition("#")[0]).rstrip("/.").split("/")
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in parts[-1]).strip(".-") or "project"


def _from_remote(source: Source, closure: SourceClosure, home: Home) -> Checkout:
    address = address_of(closure.remote)
    repository = Repository(address, home)
    revision = Revision(repository.obtain(closure.commit).commit, source.branch)
    return check_out(source, repository.tree(revision), address, repository.environ, home)


def _base(closure: SourceClosure, home: Home) -> Tree | None:
    if not closure.commit:
        return None
    repository = Repository(address_of(closure.remote), home)
    return repository.tree(repository.obtain(closure.commit))


def _fill_raw(root: Path, tree: Tree) -> None:
    from projrun.gitview import QUIET
    from projrun.starting import merged

    attributes = root / ".git/info/attributes"
    attributes.parent.mkdir(parents=True)
    attributes.write_text(RAW)
    fill(root, tree, merged(os.environ, QUIET))
    attributes.unlink()


def _lay_over(root: Path, artifact: Path, whole: bool) -> None:
    if whole:
        for entry in os.scandir(root):
            if entry.name != ".git":
                files.remove(Path(entry.path))
    try:
        with tarfile.open(artifact, "r:gz", encoding="utf-8", errors="surrogateescape") as archive:
            members = archive.getmembers()
            for member in members:
                if member.name == REMOVED.decode():
                    content = archive.extractfile(member)
                    assert content is not None
                    _remove(root, os.fsdecode(content.read()).split("\0")[:-1])
            prefix = TREE.decode()
            inside = [member for member in members if member.name.startswith(prefix)]
            unpack_members(archive, inside, root, prefix, Limits.none())
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SourceError(
            f"the artifact of the source cannot be read: {error}",
            "see with `projrun runs artifacts` what is left of the run",
        ) from None


def _remove(root: Path, names: list[str]) -> None:
    """With the directories that this leaves empty; a name that leads through a link or out is passed over."""
    for name in sorted(names, reverse=True):
        parts = name.split("/")
        above = [root.joinpath(*parts[:depth]) for depth in range(1, len(parts))]
        if ".." in parts or name.startswith("/") or parts[0] == ".git" or any(map(os.path.islink, above)):
            continue
        path = root / name
        if path.is_dir() and not path.is_symlink():
            _remove_if_empty(path)
        else:
            path.unlink(missing_ok=True)
        for directory in reversed(above):
            _remove_if_empty(directory)


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()
