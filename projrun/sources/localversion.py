"""A version of a repository on this machine, checked out apart from the user's own tree."""

from __future__ import annotations

import os
import re
from pathlib import Path

from projrun.errors import SourceError
from projrun.gitview import View, git_directories, top_above, viewed
from projrun.home import Home
from projrun.plan import Checkout, Source
from projrun.sources.checkouts import check_out
from projrun.sources.gitclient import environment_for, failure
from projrun.sources.giturl import Address, address_of
from projrun.sources.revision import Revision, check_version, unknown_revision
from projrun.sources.tree import Tree
from projrun.sources.worktree import below, remote_in
from projrun.urls import without_credentials


def checkout_at(
    uri: str, version: str, start: Path, subdirectory: str, home: Home, *, offline: bool = False
) -> Checkout:
    """`subdirectory` below `start`, which may not be there now, as it is in `version`."""
    check_version(version)
    top = top_above(start)
    if top is None:
        raise SourceError(
            f"'{start}' is not a Git repository, so it has no version '{version}'",
            "leave the version out to run it as it lies",
        )
    with viewed(top) as view:
        revision, remote = _revision(view, version), remote_in(view.remotes, top)
    source = Source(
        kind="local",
        uri=uri,
        repository=without_credentials(remote),
        version=version,
        commit=revision.commit,
        branch=revision.branch,
        subdirectory="/".join(filter(None, (below(top, start), subdirectory.strip("/")))),
    )
    parent = _parent(top, remote)
    tree = tree_of(top, revision, remote)
    return check_out(source, tree, parent, environment_for(parent), home, offline=offline)


def _revision(view: View, version: str) -> Revision:
    """What `version` means here, or to the remote as it was fetched last."""
    for name in (version, f"refs/remotes/origin/{version}"):
        answer = view.ask("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if answer.ok:
            full_name = view.ask("rev-parse", "--symbolic-full-name", name).stdout.strip()
            branch = re.match(r"refs/(?:heads|remotes/origin)/(.+)", full_name)
            return Revision(answer.stdout.strip(), branch[1] if branch else "")
        if answer.stderr.strip():
            raise failure(answer, str(view.top))
    refs = view.ask("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads", "refs/tags")
    raise unknown_revision(version, str(view.top), refs.stdout.split())


def tree_of(top: Path, revision: Revision, remote: str) -> Tree:
    shared = Path(os.path.realpath(git_directories(top)[1]))
    return Tree(revision, shared / "objects", shared / "shallow", without_credentials(remote))


def _parent(top: Path, remote: str) -> Address:
    """What the URLs of submodules are relative to."""
    try:
        return address_of(remote or str(top))
    except SourceError:
        return Address(str(top))
