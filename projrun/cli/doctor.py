"""projrun doctor"""

from __future__ import annotations

import click

from projrun.cli.verb import Verb


@click.command(cls=Verb)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def doctor(as_json: bool) -> int:
    """Say what of git, uv, Pythons, docker, conda, cgroups, the store, the disk and the network works.

    The exit code is 1 when something is broken; what is missing and needed by some projects alone leaves
    it 0.
    """
    from projrun.console import json_text, print_data
    from projrun.console.tables import format_table
    from projrun.disk import home_from
    from projrun.runner.installation import examine

    found = examine(home_from())
    if as_json:
        print_data(json_text(found))
    else:
        rows = [
            (one.name, one.state, f"{one.detail}; {one.hint}" if one.hint else one.detail) for one in found
        ]
        print_data(format_table(("WHAT", "STATE", "DETAIL"), rows, states="STATE", wrapped=True))
    return int(any(one.state == "broken" for one in found))
