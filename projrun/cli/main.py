"""The command line, and the one door that every error leaves by."""

from __future__ import annotations

import errno
import gc
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

import click

from projrun.cli.verb import HELP_WIDTH, VerbGroup, verbosity_options
from projrun.errors import ProjrunError
from projrun.output import complain, say
from projrun.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

VERBS = {
    "run": ("projrun.cli.run", "Run a project from a directory, a Git URL or an archive."),
    "init": ("projrun.cli.init", "Write an MLproject file for a directory, by looking at it."),
    "describe": (
        "projrun.cli.describe",
        "Show what a project offers: entry points, parameters, environment.",
    ),
    "validate": ("projrun.cli.validate", "Find what is wrong with a project's files."),
    "reproduce": ("projrun.cli.reproduce", "Do a run again, from its record alone."),
    "verify": ("projrun.cli.verify", "Do a run again and compare the results."),
    "diff": ("projrun.cli.diff", "Show two runs side by side: source, packages, results, surroundings."),
    "bundle": ("projrun.cli.bundle", "Pack a run into one zip, from which anyone can do it again."),
    "runs": ("projrun.cli.runs", "List and show runs, their output and their source."),
    "lock": ("projrun.cli.lock", "Write the lock of a project's environment, or check it."),
    "env": ("projrun.cli.env", "List, build, compare and remove environments."),
    "shell": ("projrun.cli.shell", "Open a shell in a project's environment."),
    "dockerfile": ("projrun.cli.dockerfile", "Write a Dockerfile of a project's environment."),
    "cache": ("projrun.cli.cache", "See what the cache holds, and take away what is not used."),
    "doctor": ("projrun.cli.doctor", "Say what of the things that projrun works with works."),
    "server": ("projrun.cli.server", "Serve the store of runs to mlflow clients."),
    "completion": ("projrun.cli.completion", "Print a script that completes projrun in a shell."),
}
"""Verb -> module that holds a command of that name, and its line in the help text."""


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

    Reads the MLproject format. Start with `projrun run DIRECTORY`, then `projrun runs list`.
    """


def main() -> None:
    gc.set_threshold(50_000)  # importing makes many objects that live on: looking through them is wasted
    code = guarded(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)  # all is closed by now; taking the interpreter apart would cost a tenth of a no-op run


def guarded(arguments: list[str]) -> int:
    """Run the command line; the exit code. No error of the user's shows a traceback."""
    from projrun.interrupts import raise_on_termination, signal_of

    raise_on_termination()
    if "_PROJRUN_COMPLETE" in os.environ:
        import_module("projrun.cli.completion")
    try:
        code = cli.main(arguments, prog_name="projrun", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ProjrunError as error:
        complain(str(error))
        return error.exit_code
    except click.Abort as abort:  # what click makes of KeyboardInterrupt
        cause = abort.__cause__
        say("interrupted")
        return 128 + signal_of(cause if isinstance(cause, KeyboardInterrupt) else KeyboardInterrupt())
    except BrokenPipeError:
        return 141
    except Exception as error:
        if isinstance(error, OSError) and (told := _of_our_places(error)):
            complain(told)
            return ProjrunError.exit_code
        complain(f"a bug in projrun: {type(error).__name__}: {error}; please report it with {_bug_report()}")
        return 3


def _of_our_places(error: OSError) -> str:
    """What to say of a directory of ours that cannot be written to; empty when that is not the trouble."""
    from pathlib import Path

    from projrun.home import home_from

    home = home_from()
    path = Path(str(error.filename or ""))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "make room there"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "make it writable"
    else:
        return ""
    for place, variable in ((home.cache, "PROJRUN_CACHE_DIR"), (home.data, "PROJRUN_HOME")):
        if path.is_relative_to(place):
            return f"cannot write {path}: {error.strerror}; {hint}, or name another place: {variable}"
    return ""


def _bug_report() -> Path:
    """A file that can be pasted into a bug report, and its path."""
    import platform
    import tempfile
    import traceback
    from pathlib import Path

    _, name = tempfile.mkstemp(prefix="projrun-bug-", suffix=".md")
    report = Path(name)
    report.write_text(
        f"projrun {__version__}, Python {platform.python_version()}, {platform.platform()}\n\n"
        f"    projrun {' '.join(sys.argv[1:2])}\n\n```\n{traceback.format_exc()}```\n"
    )
    return report
