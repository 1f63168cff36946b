"""projrun runs tag, delete, restore"""

from __future__ import annotations

import click

from projrun.cli.runs.table import opened_store


@click.command("tag")
@click.argument("run_id")
@click.argument("tags", nargs=-1, metavar="[KEY=VALUE]…")
@click.option(
    "--remove", "removed", multiple=True, metavar="KEY", help="Remove this tag; may be given again."
)
def tag_(run_id: str, tags: tuple[str, ...], removed: tuple[str, ...]) -> None:
    """Set and remove tags of a run."""
    from projrun.errors import UsageError

    given = dict(tag.split("=", 1) for tag in tags if "=" in tag)
    if wrong := [tag for tag in tags if "=" not in tag]:
        raise UsageError(f"'{wrong[0]}' is no tag", "write KEY=VALUE, or --remove KEY")
    if not tags and not removed:
        raise UsageError("there is nothing to do", "give KEY=VALUE, or --remove KEY")
    from projrun.records.stored_runs import find_run

    with opened_store() as store:
        run = find_run(store, run_id)
        if given:
            store.log_batch(run.run_id, tags=given)
        for key in removed:
            store.delete_tag(run.run_id, key)


@click.command("delete")
@click.argument("run_ids", nargs=-1, required=True, metavar="RUN_ID…")
def delete_(run_ids: tuple[str, ...]) -> None:
    """Mark runs as deleted. Nothing is removed: `runs restore` brings them back."""
    from projrun.console import say
    from projrun.errors import TrackingError
    from projrun.records.stored_runs import find_run
    from projrun.tracking.entities import TERMINATED

    with opened_store() as store:
        runs = [find_run(store, run_id) for run_id in run_ids]
        if active := [run.run_id for run in runs if run.status not in TERMINATED]:
            raise TrackingError(f"run {active[0]} has not ended", "wait for its end")
        for run in runs:
            store.delete_run(run.run_id)
            say(f"deleted run {run.run_id} ({run.run_name})")


@click.command("restore")
@click.argument("run_ids", nargs=-1, required=True, metavar="RUN_ID…")
def restore_(run_ids: tuple[str, ...]) -> None:
    """Bring deleted runs back; `runs search --deleted` lists them."""
    from projrun.console import say
    from projrun.records.stored_runs import find_run

    with opened_store() as store:
        for run in [find_run(store, run_id, "DELETED_ONLY") for run_id in run_ids]:
            store.restore_run(run.run_id)
            say(f"restored run {run.run_id} ({run.run_name})")
