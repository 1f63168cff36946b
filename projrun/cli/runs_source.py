"""projrun runs source, projrun runs path"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("run_id")
@click.option(
    "-o", "--output", required=True, metavar="DIR", help="Where to put it: a new or an empty directory."
)
def source_(run_id: str, output: str) -> None:
    """Give the source of a run back: the files that it started from, byte for byte.

    What the run did not keep itself is fetched from the Git remote that the record names.
    """
    from contextlib import ExitStack
    from pathlib import Path

    from projrun.home import home_from
    from projrun.output import say
    from projrun.runner.finding import find, restored

    target = Path(output).absolute()
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise click.UsageError(f"-o {output}: there is something already; name a new directory.")
    with ExitStack() as stack:
        found = find(run_id, home_from(), stack)
        files = _give_back(restored(found, home_from(), stack).root, target)
    say(f"{files} files of run {found.record.run_id[:8]} are in {output}")


def _give_back(root: Path, target: Path) -> int:
    """Put the tree at `target`, whole or not at all; how many files it has."""
    import os
    import shutil

    from projrun.files import beside

    with beside(target) as temporary:  # Git's own part borrows its objects from the cache, which may go
        shutil.copytree(root, temporary, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        os.replace(temporary, target)
    return sum(len(names) for _, _, names in os.walk(target))


@click.command()
@click.argument("run_id")
def path_(run_id: str) -> None:
    """Print the directory that a run's project is in: a local one, or a checkout kept with `run --keep`."""
    import os

    from projrun.cli.finding import opened_store
    from projrun.errors import TrackingError
    from projrun.output import data
    from projrun.tracking.lookup import find_run
    from projrun.tracking.tags import DIRECTORY

    with opened_store() as store:
        run = find_run(store, run_id)
    directory = run.tags.get(DIRECTORY, "")
    if not directory:
        raise TrackingError(f"run {run.run_id[:8]} has no project directory", "only runs of projrun have one")
    if not os.path.isdir(directory):
        raise TrackingError(
            f"{directory}, where run {run.run_id[:8]} found its project, is gone",
            "run it again, with --keep if its project is in Git",
        )
    data(directory)
