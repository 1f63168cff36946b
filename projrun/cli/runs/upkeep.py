"""projrun runs import, sync, check: bring runs to their store, and check it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from projrun.backends import reclaim_stored
from projrun.console import print_data, print_error, say, warn
from projrun.disk import home_from
from projrun.errors import TrackingError, UsageError
from projrun.tracking import open_store, sqlite
from projrun.tracking.supervision import settle_lost_runs

if TYPE_CHECKING:
    from projrun.tracking.mlflow_import.importer import Imported
    from projrun.tracking.rest import RestStore
    from projrun.tracking.rest.outbox import RunOutbox


@click.command("import")
@click.argument("source", metavar="DATABASE|DIRECTORY")
@click.option(
    "--experiment-name",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only this experiment; may be given again.",
)
@click.option(
    "--artifacts",
    "directories",
    multiple=True,
    metavar="DIR",
    help="Also take artifacts from DIR, besides the store itself and mlruns and mlartifacts beside it.",
)
def import_(source: str, names: tuple[str, ...], directories: tuple[str, ...]) -> None:
    """Import runs and models of mlflow into projrun's own store, from a SQLite file (mlflow.db) or a
    directory (mlruns).

    Runs, logged models and versions of registered models keep their ids; projrun skips those that it has
    already. The files of mlflow are not changed. With --experiment-name, registered models are left out.
    """
    from projrun.tracking.mlflow_import import open_mlflow_store

    # mlflow names its stores so in MLFLOW_TRACKING_URI
    path = Path(source.removeprefix("sqlite:///").removeprefix("file://")).absolute()
    # A database has its artifacts elsewhere: mlflow writes them to mlruns, its server to mlartifacts
    roots = [path] if path.is_dir() else [path.parent / "mlruns", path.parent / "mlartifacts"]
    seen: set[str] = set()
    with closing(sqlite.open_store(home_from())) as store:
        importer = store.importer([*roots, *(Path(directory).absolute() for directory in directories)])
        old = open_mlflow_store(path)
        for run in old.runs(path):
            seen.add(run.experiment.name)
            if not names or run.experiment.name in names:
                _try_to_add(f"run {run.run.run_id}", partial(importer.add, run))
        for logged in old.logged_models(path):
            seen.add(logged.experiment.name)
            if not names or logged.experiment.name in names:
                _try_to_add(f"model {logged.model.model_id}", partial(importer.add_logged_model, logged))
        # Registered models belong to no experiment
        for registered in old.registered_models(path) if not names else ():
            _try_to_add(
                f"model '{registered.model.name}'", partial(importer.add_registered_model, registered)
            )
    if unknown := sorted(set(names) - seen):
        raise UsageError(f"there are no runs of an experiment '{unknown[0]}' in {source}", "look at its name")
    _report_import(importer.result, roots)


def _try_to_add(name: str, add: Callable[[], None]) -> None:
    try:
        add()
    except TrackingError as error:
        # A name or value that projrun's store refuses must not stop the import of the others
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        warn(f"{name} is left out: {error}")


def _report_import(done: Imported, roots: Sequence[Path]) -> None:
    if done.elsewhere:
        warn(
            f"{len(done.elsewhere)} runs or models have come without their artifacts, which are not below"
            f" {' or '.join(str(root) for root in roots)}: {_first_names(done.elsewhere)};"
            " name their directory with --artifacts and delete nothing yet"
        )
    if done.others:
        warn(f"versions that are other ones in projrun's store are left out: {_first_names(done.others)}")
    if done.unfounded:
        warn(f"versions have come whose files are not in projrun's store: {_first_names(done.unfounded)}")
    say(
        f"imported {done.runs} runs and {done.experiments} experiments, {done.logged_models} logged models"
        f" and {done.versions} versions of registered ones; {done.known} runs were there already"
    )


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@click.command("sync")
def sync_() -> None:
    """Send results that runs could not deliver because the server of MLFLOW_TRACKING_URI was not reachable.

    The command may be repeated: nothing is delivered twice.
    """
    from projrun.tracking.rest import RestStore
    from projrun.tracking.rest.outbox import list_outboxes

    home = home_from()
    outboxes = list_outboxes(home.outbox)
    if not outboxes:
        say("nothing waits for a server")
        return
    with closing(open_store(home, os.environ.get("MLFLOW_TRACKING_URI", ""))) as store:
        settle_lost_runs(home, store, reclaim_stored)
        failed = 0
        for outbox in outboxes:
            if isinstance(store, RestStore) and outbox.server == store.uri:
                failed += not _deliver(store, outbox)
            else:
                failed += 1
                hint = "set MLFLOW_TRACKING_URI to that server"
                print_error(f"run {outbox.run_id} waits for {outbox.server}; {hint}")
    if failed:
        raise TrackingError(
            f"{failed} of {len(outboxes)} runs still wait in {home.outbox}", "try again later"
        )


def _deliver(store: RestStore, outbox: RunOutbox) -> bool:
    """Return False if updates stay in the outbox."""
    from projrun.tracking.rest.outbox import FINAL

    if not outbox.acquire():
        say(f"run {outbox.run_id} is still being performed")
        return True
    try:
        store.delivery.deliver(outbox)
    except TrackingError as error:
        outbox.release(keep=True)
        # These errors come again however often it is tried
        hint = f"; remove {outbox.directory} to give it up" if error.error_code in FINAL else ""
        print_error(f"run {outbox.run_id}: {error}{hint}")
        return False
    outbox.release(keep=False)
    say(f"delivered run {outbox.run_id} to {store.uri}")
    return True


@click.command("check")
def check_() -> None:
    """Check projrun's own store; the exit code is 1 if it is damaged.

    Also removes the remains of uploads that were killed more than a day ago.
    """
    home = home_from()
    with closing(sqlite.open_store(home)) as store:
        if swept := store.remove_abandoned_uploads():
            say(f"removed {swept} uploads that were broken off")
        faults = store.find_faults()
    for fault in faults:
        print_data(fault)
    if faults:
        click.get_current_context().exit(1)
    say(f"{home.tracking_db} is whole")
