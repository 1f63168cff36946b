"""projrun diff"""

from __future__ import annotations

import click

from projrun.cli.verbs import Verb

FORMATS = ("text", "json", "html")


@click.command(cls=Verb)
@click.argument("first")
@click.argument("second")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("-o", "--output", default="", metavar="FILE", help="Write to FILE instead of stdout.")
def diff(first: str, second: str, form: str, output: str) -> int:
    """Show two runs side by side: exit code 0 if nothing differs, 1 if something does.

    FIRST and SECOND are named as for `projrun reproduce`. The report shows differing source files, packages,
    parameters, metrics and outputs, and what else determines results: inputs, Python, variables, machine.
    Nothing is run. Results are compared exactly.
    """
    from contextlib import ExitStack
    from pathlib import Path

    from projrun.compare.side_by_side import FORMATS as REPORTS
    from projrun.compare.side_by_side import text
    from projrun.console import print_data, say
    from projrun.disk import home_from
    from projrun.disk.file_operations import write_atomically
    from projrun.errors import RecordError
    from projrun.records.stored_runs import compare_stored_runs, find_stored_run

    home = home_from()
    with ExitStack() as stack:
        runs = [find_stored_run(name, home, stack) for name in (first, second)]
        comparison = compare_stored_runs(runs[0], runs[1], home)
    if not output:
        print_data(text(comparison, on_screen=True) if form == "text" else REPORTS[form](comparison))
        return 0 if comparison.same else 1
    report = REPORTS[form](comparison)  # without the colours that stdout may have
    try:
        write_atomically(Path(output), f"{report}\n")
    except OSError as error:
        raise RecordError(f"{output} cannot be written: {error.strerror}", "name another place") from None
    say(f"{'nothing differs' if comparison.same else 'they differ'}: see {output}")
    return 0 if comparison.same else 1
