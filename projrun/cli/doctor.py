"""projrun doctor"""

from __future__ import annotations

import click

from projrun.cli.options import json_option
from projrun.cli.verbs import Verb


@click.command(cls=Verb)
@json_option("Print a JSON array.")
def doctor(as_json: bool) -> int:
    """Check git, uv, Pythons, docker, conda, cgroups, the store, the disk and the network.

    The exit code is 1 if something is broken. A missing program that only some projects need leaves it 0.
    """
    from projrun.console import json_text, print_data
    from projrun.console.tables import format_table
    from projrun.disk import home_from
    from projrun.runner.installation import examine

    checks = examine(home_from())
    if as_json:
        print_data(json_text(checks))
    else:
        rows = [
            (check.name, check.state, f"{check.detail}; {check.hint}" if check.hint else check.detail)
            for check in checks
        ]
        print_data(format_table(("WHAT", "STATE", "DETAIL"), rows, states="STATE", wrapped=True))
    return int(any(check.state == "broken" for check in checks))
