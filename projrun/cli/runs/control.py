"""projrun runs logs, wait and stop: follow and control a run from another shell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from projrun.cli.runs.table import opened_store

if TYPE_CHECKING:
    from projrun.tracking.entities import Run


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
    from projrun.backends import reclaim_stored
    from projrun.console import say
    from projrun.disk import home_from
    from projrun.errors import UsageError
    from projrun.records.stored_runs import find_run
    from projrun.tracking.output_log import follow_output, read_output, read_stream
    from projrun.tracking.supervision import settle_lost_runs

    if follow and stream:
        raise UsageError("--follow and --stream exclude each other", "give one of them")
    home = home_from()

    with opened_store() as store:
        run = find_run(store, run_id)
        if follow:
            chunks = follow_output(store, run.run_id, lambda: settle_lost_runs(home, store, reclaim_stored))
        else:
            chunks = read_stream(store, run.run_id, stream) if stream else read_output(store, run.run_id)
        if not _print(chunks, raw) and not stream:
            say(f"run {run.run_id} has written nothing")


@click.command("wait")
@click.argument("run_id")
@click.option("--json", "as_json", is_flag=True, help="Print the run as `runs show --json` does, in short.")
def wait_(run_id: str, as_json: bool) -> int:
    """Wait until a run has ended, and exit with its exit code."""
    from projrun.disk import home_from
    from projrun.records.stored_runs import find_run
    from projrun.runner import detached

    with opened_store() as store:
        return _report(detached.wait(store, home_from(), find_run(store, run_id).run_id), as_json)


@click.command("stop")
@click.argument("run_id")
@click.option("--json", "as_json", is_flag=True, help="Print the run as `runs show --json` does, in short.")
def stop_(run_id: str, as_json: bool) -> None:
    """Stop a run on this machine with all its processes, and wait until it has ended.

    projrun asks the command to end. It kills the command after the run's --stop-timeout, or when you press
    ^C.
    """
    from projrun.disk import home_from
    from projrun.records.stored_runs import find_run
    from projrun.runner import detached

    with opened_store() as store:
        _report(detached.stop(store, home_from(), find_run(store, run_id)), as_json)


def _report(run: Run, as_json: bool) -> int:
    """Report how a run ended, and return its exit code; 125 if its command never started."""
    import json
    import sys

    from projrun.console import print_data, say, style_state
    from projrun.tracking.entities import EXIT_CODE_TAG, REASON_TAG

    text = run.tags.get(EXIT_CODE_TAG, "")
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
    import sys

    from projrun.console import is_terminal

    some = False
    plain = raw or not is_terminal(sys.stdout)
    if plain:
        for chunk in chunks:
            some = True
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        return some
    from projrun.console.tables import Printable

    printable = Printable()
    encoding = sys.stdout.encoding or "utf-8"
    for chunk in chunks:
        some = True
        text = printable.feed(chunk)
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    sys.stdout.write(printable.feed(b"", last=True))
    return some
