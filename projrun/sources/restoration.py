"""Restore the tree of a closure; check that a tree can be recorded as it is."""

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
from projrun.sources.git.repository import local_tree
from projrun.sources.git.repository_cache import Repository
from projrun.sources.git.tree import Revision, Tree, fill_tree
from projrun.sources.git.worktree import changed_path, main_remote
from projrun.sources.location import directory_within
from projrun.sources.plain_files import REMOVED, TREE

# Attributes that have git write its blobs unchanged; `info/attributes` wins over every other file of them
RAW = "* -text -ident -filter !eol !crlf !working-tree-encoding\n"
MAX_REMOVED = 100_000_000  # bytes of the list of removed files


def restore(
    source: Source,
    closure: SourceClosure,
    artifact: Path | None,
    home: Home,
    limits: ArchiveLimits,
    tree: Tree | None = None,
) -> Checkout:
    """Check out the tree of a closure temporarily, to be given back with `release`.

    artifact: the file that `closure.artifact` names. tree: the commit of the user's repository that was
    checked out; without it, the remote is asked for what the cache lacks. Raises SourceError, also when files
    are missing because they were too large to keep.
    """
    _check(closure, artifact)
    is_used_in_place = source.kind == "local" and not source.version
    if not closure.artifact and not is_used_in_place:
        repository = Repository(address_of(closure.remote), home)
        revision = Revision(repository.obtain(closure.commit).commit, source.branch)
        return check_out(source, repository.tree(revision), repository.address, repository.environ, home)
    with new_checkout_directory(home, _directory_name(source)) as root:
        if tree is None and closure.commit:
            repository = Repository(address_of(closure.remote), home)
            tree = repository.tree(repository.obtain(closure.commit))
        if tree is not None:
            _fill_unconverted(root, tree)
        if closure.artifact:
            assert artifact is not None
            _apply_artifact(root, artifact, not closure.commit, limits)
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


def _directory_name(source: Source) -> str:
    parts = (source.repository or source.uri.partition("#")[0]).rstrip("/.").split("/")
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in parts[-1]).strip(".-") or "project"


def _fill_unconverted(root: Path, tree: Tree) -> None:
    """Lay out a tree without the conversions of line ends and filters that its attributes ask for."""
    from projrun.disk.repository_view import QUIET
    from projrun.processes import merge_environ

    attributes = root / ".git/info/attributes"
    attributes.parent.mkdir(parents=True)
    attributes.write_text(RAW)
    fill_tree(root, tree, merge_environ(os.environ, QUIET))
    attributes.unlink()


def _apply_artifact(root: Path, artifact: Path, is_complete: bool, limits: ArchiveLimits) -> None:
    """Remove, replace and add the files that the artifact lists. All names are checked before any is written.

    is_complete: the artifact holds the whole tree, so all other files are removed.
    """
    try:
        with open_tar(artifact) as archive:
            members, removed = _read_members(archive, Members(limits, artifact.stat().st_size))
            if is_complete:
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


def _read_members(archive: tarfile.TarFile, members: Members) -> tuple[Members, list[str]]:
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
    """Raise SourceError for a working tree that differs from its commit, or has none."""
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
    """Check out the captured tree. Its HEAD is the user's commit, which perhaps no remote has."""
    state = checkout.worktree
    if captured.closure is None:
        reason = "; ".join((*captured.notices, *checkout.notices))
        raise SourceError(
            f"--isolated runs what is recorded, but {reason}",
            "commit what the project consists of, or leave --isolated out",
        )
    tree = None
    if state is not None and state.commit:
        revision = Revision(state.commit, state.branch)
        tree = local_tree(checkout.root, revision, main_remote(state.settings, checkout.root))
    return restore(checkout.source, captured.closure, captured.file, home, ArchiveLimits.none(), tree)
