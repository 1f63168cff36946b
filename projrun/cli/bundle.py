"""projrun bundle"""

from __future__ import annotations

import click

from projrun.cli.verbs import Verb, size


@click.command(cls=Verb)
@click.argument("run")
@click.option(
    "-o", "--output", required=True, metavar="FILE", help="Write the bundle to FILE, for example run.zip."
)
@click.option(
    "--max-size",
    default="100MB",
    show_default=True,
    callback=size,
    metavar="SIZE",
    help="Leave out larger inputs and outputs, except for their size and digest; for example 2GB.",
)
@click.option(
    "--with-packages",
    is_flag=True,
    help="Include the files of the locked packages, so that no index is needed.",
)
def bundle(run: str, output: str, max_size: int, with_packages: bool) -> None:
    """Pack a run into one zip file, from which anyone can reproduce it.

    RUN is named as for `projrun reproduce`. The zip holds the source, the record, the lock, inputs, outputs
    and logs, and is a Workflow Run RO-Crate. `projrun reproduce`, `verify` and `diff` take it in place of
    a run, `projrun run` in place of a project; neither the repository nor the inputs need be there.

    \b
    projrun bundle 1f0c9a3e -o run.zip --with-packages
    projrun verify run.zip
    """
    from contextlib import ExitStack
    from pathlib import Path

    from projrun.console import say, warn
    from projrun.console.progress import format_size
    from projrun.disk import home_from
    from projrun.records.bundle_writer import BundleOptions, write_bundle
    from projrun.records.stored_runs import find_stored_run

    options = BundleOptions(packages=with_packages, max_size=max_size)
    home, target = home_from(), Path(output).absolute()
    if not output.endswith(".zip"):
        raise click.UsageError(f"-o {output}: a bundle is a zip; let its name end in .zip.")
    with ExitStack() as stack:
        stored_run = find_stored_run(run, home, stack)
        for line in write_bundle(stored_run, target, home, options):
            warn(line)
    say(f"run {stored_run.record.run_id[:8]} is in {output} ({format_size(target.stat().st_size)})")
