"""The table of all verbs with their help pages, and the classes and options that verbs share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

import click

from projrun.cli.run_options import OFFLINE, STRICT_PYTHON, Option, parse_time
from projrun.console import is_quiet, is_verbose, set_verbosity
from projrun.version import __version__

F = TypeVar("F", bound=Callable[..., Any])
Rows = tuple[tuple[str, str], ...]

HELP_WIDTH = 100  # longer lines are hard to read, however wide the terminal is


class Page(NamedTuple):
    """A verb in the list of commands, and the end of its help."""

    summary: str
    examples: tuple[str, ...]  # command lines; a test parses each of them
    see_also: tuple[str, ...]
    exit_codes: Rows = ()  # exit codes of this verb, in addition to COMMON
    environment: Rows = ()


COMMON: Rows = (
    ("0", "Success."),
    ("2", "The command line is wrong."),
    ("3", "A bug in projrun; the message names a file for the report."),
    ("125", "It could not be done; the message says why and what to do."),
    ("130, 143", "Interrupted, by ^C or SIGTERM."),
)
STORE: Rows = (
    ("PROJRUN_HOME", "Where runs are kept, without a tracking server."),
    ("MLFLOW_TRACKING_URI", "The MLflow server that keeps the runs instead."),
)
CACHE: Rows = (("PROJRUN_CACHE_DIR", "Where environments, repositories and downloads are kept."),)

OVERVIEW = Page(
    summary="",
    examples=(
        "projrun run examples/elasticnet -P alpha=0.05",
        "projrun runs list",
        "projrun verify 1f0c9a3e",
        "projrun -q run . -P alpha=0.5",
    ),
    see_also=("projrun COMMAND --help", "docs/cli.md"),
    environment=(
        *STORE,
        *CACHE,
        ("NO_COLOR", "Turns colours off, also on a terminal."),
        ("FORCE_COLOR", "Turns colours on, also in pipes."),
    ),
)
# The module projrun.cli.NAME holds a command of the name of each verb.
VERBS = {
    "run": Page(
        "Run a project from a directory, a Git URL or an archive.",
        examples=(
            "projrun run . -P alpha=0.5",
            "projrun run . -e validate --help",
            "projrun run https://git.example.org/team/models.git#churn -v v1.2 -e check",
            "projrun run . --env-manager local --timeout 2h --env-file .env",
            "projrun run . --dry-run --json",
        ),
        see_also=("projrun init", "projrun describe", "projrun runs", "docs/mlproject.md", "docs/sources.md"),
        exit_codes=(
            ("N", "The command's own exit code; 128 + n when it ended by signal n."),
            ("124", "It took longer than --timeout."),
        ),
        environment=(
            *STORE,
            *CACHE,
            ("PROJRUN_OFFLINE", "1: use no network, as with --offline."),
            ("PROJRUN_PYTHON_DOWNLOADS", "Whether a Python that is missing may be downloaded."),
            ("PROJRUN_DOCKER_BASE_IMAGE", "The image that containers start from."),
            ("PROJRUN_GIT_TIMEOUT", "Seconds that a fetch may take."),
            ("PROJRUN_HELPER_TIMEOUT", "Seconds that another helper program may take."),
            ("PROJRUN_LOCK_TIMEOUT", "Seconds to wait for another projrun."),
        ),
    ),
    "init": Page(
        "Write an MLproject file for a directory.",
        examples=("projrun init --dry-run", "projrun init churn --name churn-model"),
        see_also=("projrun validate", "projrun run", "docs/mlproject.md"),
    ),
    "describe": Page(
        "Show what a project offers: entry points, parameters, environment.",
        examples=("projrun describe", "projrun describe gh:team/models#churn -v v1.2 --json"),
        see_also=("projrun run URI -e NAME --help", "projrun validate"),
    ),
    "validate": Page(
        "Find what is wrong with a project's files.",
        examples=("projrun validate", "projrun validate . --format github"),
        see_also=("docs/validate.md", "docs/mlproject.md"),
        exit_codes=(("1", "There are errors in the project's files."),),
    ),
    "reproduce": Page(
        "Repeat a run, from its record alone.",
        examples=("projrun reproduce 1f0c9a3e", "projrun reproduce run.zip"),
        see_also=("projrun verify", "docs/reproducibility.md"),
        exit_codes=(("N", "The command's own exit code."),),
        environment=(*STORE, *CACHE),
    ),
    "verify": Page(
        "Repeat a run and compare the results.",
        examples=(
            "projrun verify 1f0c9a3e",
            "projrun verify 1f0c9a3e --metric rmse=rtol=1e-6 --report junit=report.xml",
            "projrun verify run.zip --format markdown",
        ),
        see_also=("projrun diff", "projrun bundle", "docs/reproducibility.md"),
        exit_codes=(("1", "The results differ."),),
        environment=(*STORE, *CACHE),
    ),
    "diff": Page(
        "Show how two runs differ: source, packages, results, machine.",
        examples=(
            "projrun diff 1f0c9a3e 8b21d07c",
            "projrun diff 1f0c9a3e 8b21d07c --format html -o diff.html",
        ),
        see_also=("projrun runs compare", "projrun verify"),
        exit_codes=(("1", "They differ."),),
    ),
    "bundle": Page(
        "Pack a run into one zip file, from which anyone can reproduce it.",
        examples=("projrun bundle 1f0c9a3e -o run.zip",),
        see_also=("projrun verify", "docs/reproducibility.md"),
    ),
    "runs": Page(
        "List and show runs, their output and their source.",
        examples=(
            "projrun runs list -n 20",
            "projrun runs show 1f0c9a3e --json",
            "projrun runs search \"metrics.rmse < 0.8 and params.alpha = '0.5'\"",
            "projrun runs compare 1f0c9a3e 8b21d07c",
            "projrun runs logs -f 1f0c9a3e",
        ),
        see_also=("projrun diff", "docs/tracking.md"),
        environment=STORE,
    ),
    "lock": Page(
        "Write the lock of a project's environment, or check it.",
        examples=("projrun lock", "projrun lock . --check"),
        see_also=("projrun env", "docs/environments.md"),
    ),
    "env": Page(
        "List, build, compare and remove environments.",
        examples=("projrun env list", "projrun env build .", "projrun env prune --older-than 30 --dry-run"),
        see_also=("projrun cache", "projrun shell", "docs/environments-build.md"),
        environment=CACHE,
    ),
    "shell": Page(
        "Open a shell in a project's environment.",
        examples=("projrun shell .",),
        see_also=("projrun env", "docs/environments-build.md"),
    ),
    "dockerfile": Page(
        "Write a Dockerfile of a project's environment.",
        examples=("projrun dockerfile . -o build",),
        see_also=("docker build", "docs/docker.md"),
    ),
    "cache": Page(
        "Show what is in the cache, and remove what is not used.",
        examples=("projrun cache info", "projrun cache prune --older-than 30d --max-size 5GB --dry-run"),
        see_also=("projrun env", "docs/sources.md"),
        environment=CACHE,
    ),
    "doctor": Page(
        "Check the programs and services that projrun uses.",
        examples=("projrun doctor", "projrun doctor --json"),
        see_also=("README.md",),
        exit_codes=(("1", "Something is broken."),),
    ),
    "server": Page(
        "Serve the store of runs to mlflow clients.",
        examples=("projrun server",),
        see_also=("docs/tracking.md",),
        environment=STORE,
    ),
    "completion": Page(
        "Print a script that completes projrun in a shell.",
        examples=("projrun completion bash",),
        see_also=("README.md",),
    ),
}


class Verb(click.Command):
    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        _write_page(self.name or "", formatter)


class VerbGroup(click.Group):
    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        _write_page(self.name or "", formatter)


def verbosity_options(function: F) -> F:
    verbose = click.option(
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_set_verbosity,
        help="Also show which commands are started, and what is taken from the cache and why, with times.",
    )
    quiet = click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_set_verbosity,
        help="Show only errors on stderr; stdout stays the same.",
    )
    return quiet(verbose(function))


def _set_verbosity(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    quiet = parameter.name == "quiet"
    if is_verbose() if quiet else is_quiet():
        raise click.UsageError("--quiet and --verbose exclude each other; leave one of them out.")
    set_verbosity("quiet" if quiet else "verbose")


def add_option(option: Option, **more: Any) -> Callable[[F], F]:
    return click.option(*option.names, **option.settings, **more)


offline_option = add_option(OFFLINE)
strict_python_option = add_option(STRICT_PYTHON)


def complete_uri(context: click.Context, parameter: click.Parameter, incomplete: str) -> Any:
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="dir")]


project_argument = click.argument("uri", default=".", shell_complete=complete_uri)
version_option = click.option(
    "-v", "--version", default="", metavar="VERSION", help="Branch, tag or commit of the project."
)


def json_option(text: str) -> Callable[[F], F]:
    return click.option("--json", "as_json", is_flag=True, help=text)


def csv_option(text: str = "Print CSV, a column per parameter, metric and tag.") -> Callable[[F], F]:
    return click.option("--csv", "as_csv", is_flag=True, help=text)


def age_s(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Return an age in seconds, as the callback of an option. A bare number means days."""
    return parse_time(value, "d")


_UNITS = "KMGT"


def size(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Return a size in bytes, as the callback of an option. A bare number means bytes."""
    return _parse_size(value, "")


def size_in_gb(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Return a size in bytes, as the callback of an option. A bare number means GB."""
    return _parse_size(value, "G")


def _parse_size(value: str | None, unit: str) -> int | None:
    if not value:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(I?)B?|(B?))", value.strip().upper())
    if match is None:
        raise click.BadParameter(f"{value!r} is not a size such as 500MB or 5GB.")
    # An explicit B means bytes, whatever the unit of a bare number is
    written = match[2] or ("" if match[4] else unit)
    power = _UNITS.index(written) + 1 if written else 0
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


def _write_page(name: str, formatter: click.HelpFormatter) -> None:
    """Write the end of the help of a verb; commands below a verb have none."""
    page = OVERVIEW if name == "projrun" else VERBS.get(name)
    if page is None:
        return
    with formatter.section("Examples"):
        for example in page.examples:  # not write_text, which would wrap them: they are to be copied
            formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
    with formatter.section("Exit codes"):
        formatter.write_dl(sorted((*COMMON, *page.exit_codes), key=_first_number))
    if page.environment:
        with formatter.section("Environment variables"):
            formatter.write_dl(page.environment)
    with formatter.section("See also"):
        formatter.write_text(", ".join(page.see_also))


def _first_number(row: tuple[str, str]) -> int:
    digits = row[0].split(",")[0]
    return int(digits) if digits.isdigit() else -1


class _Verbs(VerbGroup):
    """Import a verb's module only when the verb is called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command: click.Command = getattr(import_module(f"projrun.cli.{name}"), name)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, page.summary) for verb, page in VERBS.items()])


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
    # Not cli.main(), which would catch errors and exit: `main.guarded` reports them, and gets the exit code
    try:
        with cli.make_context("projrun", list(arguments)) as context:
            code = cli.invoke(context)
    except click.exceptions.Exit as exit_request:
        return exit_request.exit_code
    except click.ClickException as error:
        with suppress(OSError):  # nobody can read it
            error.show()
        return error.exit_code
    except click.Abort:  # ^C at a question
        raise KeyboardInterrupt from None
    return code if isinstance(code, int) else 0
