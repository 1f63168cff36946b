"""Running what is recorded and nothing else."""

from __future__ import annotations

from projrun.errors import SourceError
from projrun.home import Home
from projrun.output import one_line
from projrun.plan import Checkout
from projrun.sources.closure import Captured
from projrun.sources.differences import name_in
from projrun.sources.localversion import tree_of
from projrun.sources.members import Limits
from projrun.sources.restoring import restore
from projrun.sources.revision import Revision
from projrun.sources.worktree import remote_in


def refuse_changes(checkout: Checkout) -> None:
    source, state = checkout.source, checkout.worktree
    if source.kind != "local" or source.version:
        return
    if state is None or not state.commit:
        raise SourceError(
            f"{checkout.root} has no commit, so --require-clean cannot hold", "commit the project to Git"
        )
    if state.changes:
        names = [name_in(change) for change in state.changes]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        raise SourceError(
            one_line(f"{checkout.root} is not as its commit: {', '.join(names[:5])}{more}"),
            "commit the changes, or leave --require-clean out",
        )


def apart(checkout: Checkout, captured: Captured, home: Home) -> Checkout:
    """The captured tree in a checkout of its own; of a repository, with the user's commit as its HEAD."""
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
        local = tree_of(checkout.root, revision, remote_in(state.settings, checkout.root))
    return restore(checkout.source, captured.closure, captured.file, home, Limits.none(), local)
