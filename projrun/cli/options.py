"""The options of `projrun run`, by subject."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def _group(*options: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator of several, which show in the order given."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _complete_entry_point(context: click.Context, parameter: click.Parameter, incomplete: str) -> Any:
    from projrun.cli.completion import entry_points

    return entry_points(context, incomplete)


def _complete_parameter(context: click.Context, parameter: click.Parameter, incomplete: str) -> Any:
    from projrun.cli.completion import parameters

    return parameters(context, incomplete)


entry_point_options = _group(
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
    help="Ask no network: a commit that was fetched before, or what its branch was when it was last asked.",
)

source_options = _group(
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

environment_options = _group(
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

container_options = _group(
    click.option(
        "-A",
        "--docker-args",
        multiple=True,
        metavar="NAME[=VALUE]",
        help="An argument for `docker run`; repeatable.",
    ),
    click.option(
        "--build-image", is_flag=True, help="Build an image that holds the project (docker projects only)."
    ),
)
"""In which container."""

execution_options = _group(
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

tracking_options = _group(
    click.option(
        "--experiment-name", default="", metavar="NAME", help="Experiment of the run; made if missing."
    ),
    click.option("--experiment-id", default="", metavar="ID", help="Experiment of the run, by its id."),
    click.option("--run-id", default="", metavar="ID", help="Use this run instead of creating one."),
    click.option("--run-name", default="", metavar="NAME", help="Name of the run."),
)
"""Which run it is, of which experiment."""
