"""projrun reproduce"""

from __future__ import annotations

import click

from projrun.cli.verbs import Verb


@click.command(cls=Verb)
@click.argument("run")
@click.option(
    "--experiment-name", default="", metavar="NAME", help="Experiment of the new run. Default: the same."
)
@click.option("--run-name", default="", metavar="NAME", help="Name of the new run.")
@click.option(
    "--strict",
    is_flag=True,
    help="Refuse another Python than the first run's, even its nearest patch version.",
)
def reproduce(run: str, experiment_name: str, run_name: str, strict: bool) -> int:
    """Repeat a run, from its record alone.

    RUN is the id of a run or its beginning, URL_OF_A_SERVER#ID, a bundle, or the path of a
    `projrun/record.json`. Source, Python, packages, inputs, parameters and the variables that matter are
    those of the first run; nothing is taken from the project as it is now. projrun names what is no longer
    available before anything runs.

    The new run is linked to the first by its tag `projrun.reproduces`. projrun exits with the command's own
    exit code; 125 means that it could not be run.
    """
    from contextlib import ExitStack

    from projrun.cli.run_request import report_end
    from projrun.disk import home_from
    from projrun.records.stored_runs import find_stored_run
    from projrun.runner.reproduction import RepeatOptions, reproduce

    home = home_from()
    with ExitStack() as stack:
        first = find_stored_run(run, home, stack)
        options = RepeatOptions(experiment_name=experiment_name, run_name=run_name, strict=strict)
        record = reproduce(first, home, options)
    report_end(record, home)
    assert record.outcome.exit_code is not None
    return record.outcome.exit_code
