"""The options of `projrun run`, by subject, as data: click is made of them, and what does without click."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click


class Option:
    """names, settings: as `click.option` takes them. name: of the argument that the value is given as."""

    def __init__(self, *names: str, **settings: Any) -> None:
        self.names, self.settings = names, settings
        self.name = next(
            (name for name in names if not name.startswith("-")),
            names[-1].removeprefix("--").replace("-", "_"),
        )


class Group:
    """subject: the heading that they stand under in the help."""

    def __init__(self, subject: str, *options: Option) -> None:
        self.subject, self.options = subject, options


def _time_s(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    from projrun.cli.quantities import time_s

    return time_s(context, parameter, value)


def _complete_entry_point(context: click.Context, parameter: click.Parameter, incomplete: str) -> Any:
    from projrun.cli.completion import entry_points

    return entry_points(context, incomplete)


def _complete_parameter(context: click.Context, parameter: click.Parameter, incomplete: str) -> Any:
    from projrun.cli.completion import parameters

    return parameters(context, incomplete)


ENTRY_POINT = Group(
    "What is run",
    Option(
        "-e",
        "--entry-point",
        shell_complete=_complete_entry_point,
        default="main",
        show_default=True,
        metavar="NAME",
        help="Entry point of the project. A name that it does not declare and that is a .py, .sh, .R or "
        ".ipynb file in it is run as a script.",
    ),
    Option(
        "-P",
        "--param-list",
        shell_complete=_complete_parameter,
        multiple=True,
        metavar="NAME=VALUE",
        help="A parameter of the entry point; repeatable. One that it does not declare is appended to the "
        "command as `--NAME VALUE`.",
    ),
    Option(
        "--storage-dir",
        default="",
        metavar="DIR",
        help="Where remote values of path parameters are downloaded to, to stay. Default: a directory that "
        "goes when the run ends.",
    ),
)
"""What of the project is run, with which values."""

OFFLINE = Option(
    "--offline",
    is_flag=True,
    envvar="PROJRUN_OFFLINE",
    show_envvar=True,
    help="Ask no network: what was fetched and downloaded before must do. A branch is what it was when its "
    "remote was last asked.",
)

SOURCE = Group(
    "Source",
    Option(
        "-v",
        "--version",
        default="",
        metavar="VERSION",
        help="Branch, tag or commit of a project in Git. A local repository is run from a separate checkout.",
    ),
    Option(
        "--isolated",
        is_flag=True,
        help="Run a local directory from a temporary checkout of exactly what is recorded of it, so that "
        "ignored files and the like cannot matter.",
    ),
    Option(
        "--require-clean",
        is_flag=True,
        help="Refuse a local directory that is not as its commit: changed, staged or untracked files.",
    ),
    Option("--sha256", default="", metavar="HEX", help="Refuse an archive whose sha256 is another."),
    OFFLINE,
    Option(
        "--keep",
        is_flag=True,
        help="Keep the checkout of a project in Git when the run has ended; `projrun runs path` says where.",
    ),
)
"""Which tree is run."""

STRICT_PYTHON = Option(
    "--strict-python",
    is_flag=True,
    help="Refuse another patch of Python than the one that the project names.",
)

ENVIRONMENT = Group(
    "Environment",
    Option(
        "--env-manager",
        default="",
        metavar="MANAGER",
        help="local (no environment of its own), uv, virtualenv, conda or docker. Default: what the project "
        "is written for.",
    ),
    Option("--locked", is_flag=True, help="Refuse to resolve: there must be a lock."),
    Option("--upgrade", is_flag=True, help="Resolve anew, though an earlier run left a lock."),
    Option("--as-of", default="", metavar="DATE|COMMIT", help="Resolve as the package index stood then."),
    STRICT_PYTHON,
    Option("--no-conda", is_flag=True, help="Deprecated: the same as --env-manager local."),
)
"""In which environment."""

CONTAINERS = Group(
    "Containers",
    Option(
        "-A",
        "--docker-args",
        multiple=True,
        metavar="NAME[=VALUE]",
        help="An argument for `docker run`, without its dashes (gpus=all, privileged, v=/a:/b); repeatable.",
    ),
    Option(
        "--docker-image",
        default="",
        metavar="IMAGE",
        help="The image to run in, or to install the project's packages in. Default: the project's, "
        "PROJRUN_DOCKER_BASE_IMAGE, or python:X.Y-slim.",
    ),
    Option(
        "--build-image",
        is_flag=True,
        help="Copy the project into an image of its own, instead of mounting its directory.",
    ),
    Option("--read-only-source", is_flag=True, help="The command may not write to the project's tree."),
)
"""In which container."""

EXECUTION = Group(
    "Backend",
    Option("-b", "--backend", default="local", show_default=True, help="Where to execute the run."),
    Option(
        "-c",
        "--backend-config",
        default="",
        metavar="FILE|JSON",
        help="A .json file or JSON text for the backend.",
    ),
)
"""Where and how the command executes."""


LIFE = Group(
    "Life of the run",
    Option(
        "--timeout",
        "timeout_s",
        callback=_time_s,
        metavar="TIME",
        help="Stop the command after this time (90, 5m, 2h); the run is KILLED, the exit code 124.",
    ),
    Option(
        "--stop-timeout",
        "stop_timeout_s",
        default="10",
        show_default=True,
        callback=_time_s,
        metavar="TIME",
        help="How long the command may take to end when it is stopped; then it is killed.",
    ),
    Option(
        "--env",
        "env",
        multiple=True,
        metavar="NAME[=VALUE]",
        help="An environment variable for the command; without a value, the one of projrun's own "
        "environment. Repeatable. Values are kept out of everything that projrun writes or prints.",
    ),
    Option(
        "--env-file",
        multiple=True,
        metavar="FILE",
        help="Variables for the command, one NAME=VALUE a line; treated as those of --env.",
    ),
    Option("--no-mask", is_flag=True, help="Leave those values in the output of the command as they are."),
    Option(
        "--detach",
        is_flag=True,
        help="Print the run's id and return; a process of its own supervises the run.",
    ),
    Option("--dry-run", is_flag=True, help="Show what would be done, and do nothing."),
    Option("--json", "as_json", is_flag=True, help="With --dry-run or --detach: print JSON."),
    Option("--supervision", default="", hidden=True),
    Option("--request-fd", type=int, hidden=True),
)
"""How long the run lives, what it is told, and who waits for it."""

TRACKING = Group(
    "Tracking",
    Option("--experiment-name", default="", metavar="NAME", help="Experiment of the run; made if missing."),
    Option("--experiment-id", default="", metavar="ID", help="Experiment of the run, by its id."),
    Option("--run-id", default="", metavar="ID", help="Use this run instead of creating one."),
    Option("--run-name", default="", metavar="NAME", help="Name of the run."),
)
"""Which run it is, of which experiment."""

GROUPS = (ENTRY_POINT, SOURCE, ENVIRONMENT, CONTAINERS, EXECUTION, LIFE, TRACKING)


_LEFT_TO_CLICK = {"callback", "hidden"}
"""Settings of an option that click follows."""


def options_of(arguments: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any] | None:
    """The arguments of `running.run` that the command line gives; None where click is to be asked."""
    if arguments[:1] != ["run"] or "_PROJRUN_COMPLETE" in environ:
        return None
    known = {name: option for group in GROUPS for option in group.options for name in option.names}
    if any(option.settings.get("envvar", "") in environ for option in known.values()):
        return None
    given: dict[str, Any] = {}
    rest = list(reversed(arguments[1:]))
    while rest:
        word = rest.pop()
        if not word.startswith("-"):
            if "uri" in given:
                return None
            given["uri"] = word
            continue
        name, value = _apart(word)
        option = known.get(name)
        if option is None or _LEFT_TO_CLICK & option.settings.keys():
            return None
        if option.settings.get("is_flag"):
            if value is not None:
                return None
            given[option.name] = True
            continue
        if value is None:
            if not rest or rest[-1].startswith("-"):
                return None
            value = rest.pop()
        before = given.get(option.name, ())
        given[option.name] = (*before, value) if option.settings.get("multiple") else value
    return given if "uri" in given else None


def _apart(word: str) -> tuple[str, str | None]:
    """The name of an option, and the value that is in one word with it: `--name=value`, `-nvalue`."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    return word[:2], word[2:] or None
