"""Restoring a recorded tree."""

from __future__ import annotations

import os
import tarfile
import zlib
from pathlib import Path

from projrun.console import one_line
from projrun.disk import Home, file_operations
from projrun.disk.file_operations import sha256_file
from projrun.disk.tree_writer import TreeWriter
from projrun.disk.unpack import ArchiveLimits, Members, is_git_directory, member_of, open_tar, parts_of
from projrun.errors import SourceError
from projrun.plan import Checkout, Source
from projrun.record import SourceClosure
from projrun.sources.checkouts import check_out, new_checkout_directory
from projrun.sources.closure import Captured
from projrun.sources.git.address import address_of
from projrun.sources.git.changes import changed_path
from projrun.sources.git.repository import local_tree
from projrun.sources.git.repository_cache import Repository
from projrun.sources.git.tree import Revision, Tree, fill_tree
from projrun.sources.git.worktree import main_remote
from projrun.sources.location import directory_within
from projrun.sources.plain_files import REMOVED, TREE

# Attributes under which git writes the bytes that it has; those of `info/attributes` win over all others
RAW = "* -text -ident -filter !eol !crlf !working-tree-encoding\n"
MAX_REMOVED = 100_000_000  # bytes of the list of removed files


def restore(
    source: Source,
    closure: SourceClosure,
    artifact: Path | None,
    home: Home,
    limits: ArchiveLimits,
    local: Tree | None = None,
) -> Checkout:
    """Check out the tree of a closure temporarily, to be given back with `release`.

    artifact: the file that `closure.artifact` names. local: a repository of this machine that has the commit
    which was checked out; without it the remote is asked for what the cache lacks. Raises SourceError, also
    when files are missing because they were too large to keep.
    """
    _check(closure, artifact)
    if not closure.artifact and not _is_used_in_place(source):
        return _from_remote(source, closure, home)
    with new_checkout_directory(home, _name(source)) as root:
        if base := local or _base(closure, home):
            _fill_raw(root, base)
        if closure.artifact:
            assert artifact is not None
            _lay_over(root, artifact, not closure.commit, limits)
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
    from projrun.disk.repository_view import QUIET
    from projrun.processes import merge_environ

    attributes = root / ".git/info/attributes"
    attributes.parent.mkdir(parents=True)
    attributes.write_text(RAW)
    fill_tree(root, tree, merge_environ(os.environ, QUIET))
    attributes.unlink()


def _lay_over(root: Path, artifact: Path, whole: bool, limits: ArchiveLimits) -> None:
    """Remove, replace and add what the artifact says, all names of which are checked first."""
    try:
        with open_tar(artifact) as archive:
            members, removed = _listed(archive, Members(limits, artifact.stat().st_size))
            if whole:
                for entry in os.scandir(root):
                    if entry.name != ".git":
                        file_operations.remove_tree(Path(entry.path))
            with TreeWriter(root, replace=True) as tree:
                for name in sorted(removed, reverse=True):
                    tree.remove(name)
                members.write(tree)
    except SourceError as error:
        raise SourceError(f"the artifact of the source is refused: {error.message}", error.hint) from None
    except (tarfile.TarError, OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        raise SourceError(
            f"the artifact of the source cannot be read: {error}",
            "see with `projrun runs artifacts` what is left of the run",
        ) from None


def _listed(archive: tarfile.TarFile, members: Members) -> tuple[Members, list[str]]:
    """Return the checked members of the tree and the checked names that are to be removed from it."""
    prefix, removed = TREE.decode(), b""
    for info in archive:
        if info.name.startswith(prefix):
            members.add(member_of(archive, info, prefix))
        elif info.name == REMOVED.decode() and info.isreg():
            if info.size > MAX_REMOVED:
                raise SourceError("the list of removed files in it is too long", "do not use this record")
            content = archive.extractfile(info)
            assert content is not None
            removed = content.read()
    members.check()
    names = os.fsdecode(removed).split("\0")[:-1]
    for name in names:
        parts = parts_of(name)
        if "/".join(parts) != name or not name or any(map(is_git_directory, parts)):
            raise SourceError(f"{name!r} is to be removed and is no file of a tree", "do not use this record")
    return members, names


def check_unchanged(checkout: Checkout) -> None:
    source, state = checkout.source, checkout.worktree
    if source.kind != "local" or source.version:
        return
    if state is None or not state.commit:
        raise SourceError(
            f"{checkout.root} has no commit, so --require-clean cannot hold", "commit the project to Git"
        )
    if state.changes:
        names = [changed_path(change) for change in state.changes]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        raise SourceError(
            one_line(f"{checkout.root} is not as its commit: {', '.join(names[:5])}{more}"),
            "commit the changes, or leave --require-clean out",
        )


def check_out_captured(checkout: Checkout, captured: Captured, home: Home) -> Checkout:
    """Check out the captured tree; of a repository, with the user's commit as its HEAD."""
    state = checkout.worktree
    if captured.closure is None:
        reason = "; ".join((*captured.notices, *checkout.notices))
        raise SourceError(
            f"--isolated runs what is recorded, but {reason}",
            "commit what the project consists of, or leave --isolated out",
        )
    local = None
    if state is not None and state.commit:
        revision = Revision(state.commit, state.branch)
        local = local_tree(checkout.root, revision, main_remote(state.settings, checkout.root))
    return restore(checkout.source, captured.closure, captured.file, home, ArchiveLimits.none(), local)
