"""projrun runs logs, wait, stop, tag, delete and restore: follow, control and edit runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import click

from projrun.backends import reclaim_stored
from projrun.cli.runs import opened_run, opened_store
from projrun.cli.verbs import json_option
from projrun.console import is_terminal, print_data, say, style_state, writing_data
from projrun.console.tables import Printable
from projrun.disk import home_from
from projrun.errors import TrackingError, UsageError
from projrun.tracking.entities import EXIT_CODE_TAG, REASON_TAG, TERMINATED, Run
from projrun.tracking.supervision import settle_lost_runs


@click.command("logs")
@click.argument("run_id")
@click.option("-f", "--follow", is_flag=True, help="Follow the output until the run ends.")
@click.option(
    "--stream",
    type=click.Choice(["out", "err"]),
    help="Print only its stdout or only its stderr. A run on a terminal has one stream for both.",
)
@click.option("--raw", is_flag=True, help="Print every byte as it is, on a terminal too.")
def logs_(run_id: str, follow: bool, stream: str | None, raw: bool) -> None:
    """Print the stdout and stderr of a run, in the order in which it was written.

    On a terminal, control characters that could confuse it are shown as visible signs.
    """
    from projrun.tracking.output_log import follow_output, read_output, read_stream

    if follow and stream:
        raise UsageError("--follow and --stream exclude each other", "give one of them")
    home = home_from()
    with opened_run(run_id) as (store, run):
        if follow:
            chunks = follow_output(store, run.run_id, lambda: settle_lost_runs(home, store, reclaim_stored))
        else:
            chunks = read_stream(store, run.run_id, stream) if stream else read_output(store, run.run_id)
        if not _print(chunks, raw) and not stream:
            say(f"run {run.run_id} has written nothing")


@click.command("wait")
@click.argument("run_id")
@json_option("Print the run as `runs show --json` does, in short.")
def wait_(run_id: str, as_json: bool) -> int:
    """Wait until a run has ended, and exit with its exit code."""
    from projrun.runner import detached

    with opened_run(run_id) as (store, run):
        return _report(detached.wait(store, home_from(), run.run_id), as_json)


@click.command("stop")
@click.argument("run_id")
@json_option("Print the run as `runs show --json` does, in short.")
def stop_(run_id: str, as_json: bool) -> None:
    """Stop a run on this machine with all its processes, and wait until it has ended.

    projrun asks the command to end. It kills the command after the run's --stop-timeout, or when you press
    ^C.
    """
    from projrun.runner import detached

    with opened_run(run_id) as (store, run):
        _report(detached.stop(store, home_from(), run), as_json)


def _report(run: Run, as_json: bool) -> int:
    """Report how a run ended, and return its exit code; 125 if its command never started."""
    text = run.tags.get(EXIT_CODE_TAG, "")
    # Runs of mlflow's clients have no exit code
    code = int(text) if text else 0 if run.status == "FINISHED" else 125
    reason = run.tags.get(REASON_TAG, "")
    if as_json:
        facts = {"run_id": run.run_id, "status": run.status, "exit_code": int(text) if text else None}
        print_data(json.dumps({**facts, "reason": reason}))
    else:
        status = style_state(run.status, sys.stderr)
        say(f"run {run.run_id[:8]}: {status}{f' ({reason})' if reason else ''}")
    return code


def _print(chunks: Iterable[bytes], raw: bool) -> bool:
    """Print the chunks; return False if there were none."""
    printable = None if raw or not is_terminal(sys.stdout) else Printable()
    encoding = sys.stdout.encoding or "utf-8"
    has_output = False
    for chunk in chunks:
        has_output = True
        with writing_data():
            if printable is None:
                sys.stdout.buffer.write(chunk)
            else:
                text = printable.feed(chunk)
                sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
            sys.stdout.flush()
    if printable is not None:
        sys.stdout.write(printable.feed(b"", last=True))
    return has_output


@click.command("tag")
@click.argument("run_id")
@click.argument("tags", nargs=-1, metavar="[KEY=VALUE]…")
@click.option(
    "--remove", "removed", multiple=True, metavar="KEY", help="Remove this tag; may be given again."
)
def tag_(run_id: str, tags: tuple[str, ...], removed: tuple[str, ...]) -> None:
    """Set and remove tags of a run."""
    given = dict(tag.split("=", 1) for tag in tags if "=" in tag)
    if wrong := [tag for tag in tags if "=" not in tag]:
        raise UsageError(f"'{wrong[0]}' is no tag", "write KEY=VALUE, or --remove KEY")
    if not tags and not removed:
        raise UsageError("there is nothing to do", "give KEY=VALUE, or --remove KEY")
    with opened_run(run_id) as (store, run):
        if given:
            store.log_batch(run.run_id, tags=given)
        for key in removed:
            store.delete_tag(run.run_id, key)


@click.command("delete")
@click.argument("run_ids", nargs=-1, required=True, metavar="RUN_ID…")
def delete_(run_ids: tuple[str, ...]) -> None:
    """Mark runs as deleted. Nothing is removed: `runs restore` brings them back."""
    from projrun.records.stored_runs import find_run

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
    from projrun.records.stored_runs import find_run

    with opened_store() as store:
        for run in [find_run(store, run_id, "DELETED_ONLY") for run_id in run_ids]:
            store.restore_run(run.run_id)
            say(f"restored run {run.run_id} ({run.run_name})")
