"""The table of all verbs, and the group of click that holds them."""

from __future__ import annotations

import os
from importlib import import_module

import click

from projrun.cli.verb import HELP_WIDTH, VerbGroup, verbosity_options
from projrun.version import __version__

# Map each verb to the module that holds a command of that name, and to its line in the help
VERBS = {
    "run": ("projrun.cli.run", "Run a project from a directory, a Git URL or an archive."),
    "init": ("projrun.cli.init", "Write an MLproject file for a directory."),
    "describe": (
        "projrun.cli.describe",
        "Show what a project offers: entry points, parameters, environment.",
    ),
    "validate": ("projrun.cli.validate", "Find what is wrong with a project's files."),
    "reproduce": ("projrun.cli.reproduce", "Repeat a run, from its record alone."),
    "verify": ("projrun.cli.verify", "Repeat a run and compare the results."),
    "diff": ("projrun.cli.diff", "Show how two runs differ: source, packages, results, machine."),
    "bundle": ("projrun.cli.bundle", "Pack a run into one zip file, from which anyone can reproduce it."),
    "runs": ("projrun.cli.runs", "List and show runs, their output and their source."),
    "lock": ("projrun.cli.lock", "Write the lock of a project's environment, or check it."),
    "env": ("projrun.cli.env", "List, build, compare and remove environments."),
    "shell": ("projrun.cli.shell", "Open a shell in a project's environment."),
    "dockerfile": ("projrun.cli.dockerfile", "Write a Dockerfile of a project's environment."),
    "cache": ("projrun.cli.cache", "Show what is in the cache, and remove what is not used."),
    "doctor": ("projrun.cli.doctor", "Check the programs and services that projrun uses."),
    "server": ("projrun.cli.server", "Serve the store of runs to mlflow clients."),
    "completion": ("projrun.cli.completion", "Print a script that completes projrun in a shell."),
}


class _Verbs(VerbGroup):
    """Imports a verb's module only when the verb is called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command: click.Command = getattr(import_module(VERBS[name][0]), name)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


@click.group(
    "projrun",
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH},
)
@verbosity_options
@click.version_option(__version__, message="projrun %(version)s")
def cli() -> None:
    """Run projects in exactly the environment that they were made for, and keep a record of every run.

    Projects are described by MLproject files. Start with `projrun run DIRECTORY`, then `projrun runs list`.
    """


def run_with_click(arguments: list[str]) -> int:
    """Run a verb and return its exit code. The errors of the verb are raised."""
    if "_PROJRUN_COMPLETE" in os.environ:
        import_module("projrun.cli.completion")
        cli.main(arguments, prog_name="projrun")  # answers the shell, and exits
    try:
        with cli.make_context("projrun", list(arguments)) as context:
            code = cli.invoke(context)
    except click.exceptions.Exit as exit_request:
        return exit_request.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # ^C at a question
        raise KeyboardInterrupt from None
    return code if isinstance(code, int) else 0
