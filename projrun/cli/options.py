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

source_options = _group(
    click.option(
        "-v",
        "--version",
        default="",
        metavar="VERSION",
        help="Branch, tag or commit of a project in Git. A local repository is run from a separate checkout.",
    ),
)
"""Which tree is run."""

environment_options = _group(
    click.option(
        "--env-manager",
        default="",
        metavar="MANAGER",
        help="local (no environment of its own), uv, virtualenv, conda or docker. Default: what the project "
        "is written for.",
    ),
    click.option("--no-conda", is_flag=True, help="Deprecated: the same as --env-manager local."),
)
"""In which environment."""

container_options = _group(
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
