"""projrun shell"""

from __future__ import annotations

from typing import Any

import click

from projrun.cli.verbs import Verb, complete_uri, strict_python_option, version_option


@click.command(cls=Verb)
@click.argument("uri", shell_complete=complete_uri)
# The options of COMMAND are its own: without UNPROCESSED, click would look for them among ours
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "-e",
    "--entry-point",
    default="main",
    show_default=True,
    metavar="NAME",
    help="Open the environment of this entry point, where they have their own.",
)
@version_option
@click.option("--env-manager", default="", metavar="MANAGER", help="As for `projrun run`.")
@strict_python_option
def shell(uri: str, command: tuple[str, ...], **options: Any) -> int:
    """Open $SHELL, or run COMMAND, in the environment and the directory of the project at URI.

    projrun builds the environment if it is missing and keeps it while the shell is open. It records no run
    and exits with the exit code of the shell or the command.

    \b
    projrun shell .
    projrun shell . --env-manager uv -- python -c 'import sys; print(sys.prefix)'
    """
    from projrun.disk import home_from
    from projrun.request import Request
    from projrun.runner.environment_use import shell as open_shell

    return open_shell(Request(uri=uri, **options), command, home_from())
