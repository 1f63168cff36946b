"""The options of `projrun run`, by subject."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from projrun.cli.durations import time_s

F = TypeVar("F", bound=Callable[..., Any])


SUBJECTS: dict[str, str] = {}
"""Name of an option -> the heading that it stands under in the help."""


def option_group(subject: str, *options: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator of several, which show in the order given."""

    def decorate(function: F) -> F:
        before = len(getattr(function, "__click_params__", ()))
        for option in reversed(options):
            function = option(function)
        for parameter in getattr(function, "__click_params__", ())[before:]:
            SUBJECTS[parameter.name] = subject
        return function

    return decorate


def _complete_entry_point(context: click.Context, parameter: click.Parameter, incomplete: str) -> Any:
    from projrun.cli.completion import entry_points

    return entry_points(context, incomplete)


def _complete_parameter(context: click.Context, parameter: click.Parameter, incomplete: str) -> Any:
    from projrun.cli.completion import parameters

    return parameters(context, incomplete)


entry_point_options = option_group(
    "What is run",
    click.option(
        "-e",
        "--entry-point",
        shell_complete=_complete_entry_point,
        default="main",
        show_default=True,
        metavar="NAME",
        help="Entry point of the project. A name that it does not declare and that is a .py, .sh, .R or "
        ".ipynb file in it is run as a script.",
    ),
    click.option(
        "-P",
        "--param-list",
        shell_complete=_complete_parameter,
        multiple=True,
        metavar="NAME=VALUE",
        help="A parameter of the entry point; repeatable. One that it does not declare is appended to the "
        "command as `--NAME VALUE`.",
    ),
    click.option(
        "--storage-dir",
        default="",
        metavar="DIR",
        help="Where remote values of path parameters are downloaded to, to stay. Default: a directory that "
        "goes when the run ends.",
    ),
)
"""What of the project is run, with which values."""

offline_option = click.option(
    "--offline",
    is_flag=True,
    envvar="PROJRUN_OFFLINE",
    show_envvar=True,
    help="Ask no network: what was fetched and downloaded before must do. A branch is what it was when its "
    "remote was last asked.",
)

source_options = option_group(
    "Source",
    click.option(
        "-v",
        "--version",
        default="",
        metavar="VERSION",
        help="Branch, tag or commit of a project in Git. A local repository is run from a separate checkout.",
    ),
    click.option(
        "--isolated",
        is_flag=True,
        help="Run a local directory from a temporary checkout of exactly what is recorded of it, so that "
        "ignored files and the like cannot matter.",
    ),
    click.option(
        "--require-clean",
        is_flag=True,
        help="Refuse a local directory that is not as its commit: changed, staged or untracked files.",
    ),
    click.option("--sha256", default="", metavar="HEX", help="Refuse an archive whose sha256 is another."),
    offline_option,
    click.option(
        "--keep",
        is_flag=True,
        help="Keep the checkout of a project in Git when the run has ended; `projrun runs path` says where.",
    ),
)
"""Which tree is run."""

strict_python_option = click.option(
    "--strict-python",
    is_flag=True,
    help="Refuse another patch of Python than the one that the project names.",
)

environment_options = option_group(
    "Environment",
    click.option(
        "--env-manager",
        default="",
        metavar="MANAGER",
        help="local (no environment of its own), uv, virtualenv, conda or docker. Default: what the project "
        "is written for.",
    ),
    click.option("--locked", is_flag=True, help="Refuse to resolve: there must be a lock."),
    click.option("--upgrade", is_flag=True, help="Resolve anew, though an earlier run left a lock."),
    click.option(
        "--as-of", default="", metavar="DATE|COMMIT", help="Resolve as the package index stood then."
    ),
    strict_python_option,
    click.option("--no-conda", is_flag=True, help="Deprecated: the same as --env-manager local."),
)
"""In which environment."""

container_options = option_group(
    "Containers",
    click.option(
        "-A",
        "--docker-args",
        multiple=True,
        metavar="NAME[=VALUE]",
        help="An argument for `docker run`, without its dashes (gpus=all, privileged, v=/a:/b); repeatable.",
    ),
    click.option(
        "--docker-image",
        default="",
        metavar="IMAGE",
        help="The image to run in, or to install the project's packages in. Default: the project's, "
        "PROJRUN_DOCKER_BASE_IMAGE, or python:X.Y-slim.",
    ),
    click.option(
        "--build-image",
        is_flag=True,
        help="Copy the project into an image of its own, instead of mounting its directory.",
    ),
    click.option("--read-only-source", is_flag=True, help="The command may not write to the project's tree."),
)
"""In which container."""

execution_options = option_group(
    "Backend",
    click.option("-b", "--backend", default="local", show_default=True, help="Where to execute the run."),
    click.option(
        "-c",
        "--backend-config",
        default="",
        metavar="FILE|JSON",
        help="A .json file or JSON text for the backend.",
    ),
)
"""Where and how the command executes."""


life_options = option_group(
    "Life of the run",
    click.option(
        "--timeout",
        "timeout_s",
        callback=time_s,
        metavar="TIME",
        help="Stop the command after this time (90, 5m, 2h); the run is KILLED, the exit code 124.",
    ),
    click.option(
        "--stop-timeout",
        "stop_timeout_s",
        default="10",
        show_default=True,
        callback=time_s,
        metavar="TIME",
        help="How long the command may take to end when it is stopped; then it is killed.",
    ),
    click.option(
        "--env",
        "env",
        multiple=True,
        metavar="NAME[=VALUE]",
        help="An environment variable for the command; without a value, the one of projrun's own "
        "environment. Repeatable. Values are kept out of everything that projrun writes or prints.",
    ),
    click.option(
        "--env-file",
        multiple=True,
        metavar="FILE",
        help="Variables for the command, one NAME=VALUE a line; treated as those of --env.",
    ),
    click.option(
        "--no-mask", is_flag=True, help="Leave those values in the output of the command as they are."
    ),
    click.option(
        "--detach",
        is_flag=True,
        help="Print the run's id and return; a process of its own supervises the run.",
    ),
    click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing."),
    click.option("--json", "as_json", is_flag=True, help="With --dry-run or --detach: print JSON."),
    click.option("--supervision", default="", hidden=True),
    click.option("--request-fd", type=int, hidden=True),
)
"""How long the run lives, what it is told, and who waits for it."""

tracking_options = option_group(
    "Tracking",
    click.option(
        "--experiment-name", default="", metavar="NAME", help="Experiment of the run; made if missing."
    ),
    click.option("--experiment-id", default="", metavar="ID", help="Experiment of the run, by its id."),
    click.option("--run-id", default="", metavar="ID", help="Use this run instead of creating one."),
    click.option("--run-name", default="", metavar="NAME", help="Name of the run."),
)
"""Which run it is, of which experiment."""
