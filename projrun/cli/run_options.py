"""The options of `projrun run` by subject, as data for click and for the parser below, which is faster."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click


class Option:
    """names and settings are the arguments of `click.option`; name is the keyword that receives the value."""

    def __init__(self, *names: str, **settings: Any) -> None:
        self.names, self.settings = names, settings
        self.name = next(
            (name for name in names if not name.startswith("-")),
            names[-1].removeprefix("--").replace("-", "_"),
        )


class Group:
    """Options that stand below one heading, the subject, in the help."""

    def __init__(self, subject: str, *options: Option) -> None:
        self.subject, self.options = subject, options


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_time(value: str | None, unit: str) -> float | None:
    """Return seconds. unit: that of a bare number, one of s, m, h, d and w. Raises click.BadParameter."""
    if not value:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", value.strip().lower())
    if match is None:
        import click

        raise click.BadParameter(f"{value!r} is not a time such as 90s, 5m, 12h, 30d or 4w.")
    return float(match[1]) * _SECONDS[match[2] or unit]


def _time_s(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    return parse_time(value, "s")


ENTRY_POINT = Group(
    "What is run",
    Option(
        "-e",
        "--entry-point",
        default="main",
        show_default=True,
        metavar="NAME",
        help="Entry point of the project. A name that it does not declare and that is a .py, .sh, .R or "
        ".ipynb file in it is run as a script.",
    ),
    Option(
        "-P",
        "--param-list",
        multiple=True,
        metavar="NAME=VALUE",
        help="A parameter of the entry point; repeatable. One that it does not declare is appended to the "
        "command as `--NAME VALUE`.",
    ),
    Option(
        "--storage-dir",
        default="",
        metavar="DIR",
        help="Download remote values of path parameters to this directory and keep them. Default: a "
        "directory that is removed when the run ends.",
    ),
)

OFFLINE = Option(
    "--offline",
    is_flag=True,
    envvar="PROJRUN_OFFLINE",
    show_envvar=True,
    help="Use no network, only what was fetched and downloaded before. A branch is where it was when its "
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
        help="Run a local directory from a temporary checkout of exactly what is recorded of it, without "
        "ignored files.",
    ),
    Option(
        "--require-clean",
        is_flag=True,
        help="Refuse a local directory with changed, staged or untracked files.",
    ),
    Option("--sha256", default="", metavar="HEX", help="Refuse an archive with another sha256."),
    OFFLINE,
    Option(
        "--keep",
        is_flag=True,
        help="Keep the checkout of a project in Git when the run has ended; `projrun runs path` says where.",
    ),
)

STRICT_PYTHON = Option(
    "--strict-python",
    is_flag=True,
    help="Refuse another patch version of Python than the one that the project names.",
)

ENVIRONMENT = Group(
    "Environment",
    Option(
        "--env-manager",
        default="",
        metavar="MANAGER",
        help="local (no environment of its own), uv, virtualenv, conda, pixi or docker. Default: the one "
        "that the project is written for.",
    ),
    Option("--locked", is_flag=True, help="Refuse to resolve requirements: there must be a lock."),
    Option("--upgrade", is_flag=True, help="Resolve again, even if an earlier run left a lock."),
    Option("--as-of", default="", metavar="DATE|COMMIT", help="Resolve with the packages of that time."),
    STRICT_PYTHON,
    Option("--no-conda", is_flag=True, help="Deprecated: the same as --env-manager local."),
)

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
        help="Run in this image, or install the project's packages in it. Default: the project's, "
        "PROJRUN_DOCKER_BASE_IMAGE, or python:X.Y-slim.",
    ),
    Option(
        "--build-image",
        is_flag=True,
        help="Copy the project into an image of its own instead of mounting its directory.",
    ),
    Option("--read-only-source", is_flag=True, help="Mount the project's directory read-only."),
)

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

LIFE = Group(
    "Life of the run",
    Option(
        "--timeout",
        "timeout_s",
        callback=_time_s,
        metavar="TIME",
        help="Stop the command after this time (90, 5m, 2h). The run is then KILLED, the exit code 124.",
    ),
    Option(
        "--stop-timeout",
        "stop_timeout_s",
        default="10",
        show_default=True,
        callback=_time_s,
        metavar="TIME",
        help="Kill a command that has not ended this long after it was stopped.",
    ),
    Option(
        "--env",
        "env",
        multiple=True,
        metavar="NAME[=VALUE]",
        help="Set an environment variable for the command; without a value, take it from projrun's own "
        "environment. Repeatable. projrun neither stores nor prints these values.",
    ),
    Option(
        "--env-file",
        multiple=True,
        metavar="FILE",
        help="Read variables for the command from FILE, one NAME=VALUE per line, as with --env.",
    ),
    Option("--no-mask", is_flag=True, help="Do not mask the values of --env and --env-file in the output."),
    Option("--detach", is_flag=True, help="Start the run in the background, print its id and return."),
    Option("--dry-run", is_flag=True, help="Show what would be done and do nothing."),
    Option("--json", "as_json", is_flag=True, help="With --dry-run or --detach: print JSON."),
    Option("--supervision", default="", hidden=True),
    Option("--plan-fd", type=int, hidden=True),
)

TRACKING = Group(
    "Tracking",
    Option(
        "--experiment-name", default="", metavar="NAME", help="Experiment of the run; created if missing."
    ),
    Option("--experiment-id", default="", metavar="ID", help="Experiment of the run, by its id."),
    Option("--run-id", default="", metavar="ID", help="Use this run instead of creating a new one."),
    Option("--run-name", default="", metavar="NAME", help="Name of the run."),
)

GROUPS = (ENTRY_POINT, SOURCE, ENVIRONMENT, CONTAINERS, EXECUTION, LIFE, TRACKING)


# Settings that only click implements; an option that has one is left to it
_LEFT_TO_CLICK = {"callback", "hidden"}


def parse_run(arguments: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the arguments of `run_request.run`, or None for a command line that click must parse.

    Errors, help, completion and all that is doubtful are left to click. A test compares both parsers over
    thousands of command lines.
    """
    if arguments[:1] != ["run"] or "_PROJRUN_COMPLETE" in environ:
        return None
    known = {name: option for group in GROUPS for option in group.options for name in option.names}
    if any(option.settings.get("envvar", "") in environ for option in known.values()):
        return None
    values: dict[str, Any] = {}
    rest = list(reversed(arguments[1:]))
    while rest:
        word = rest.pop()
        if not word.startswith("-"):
            if "uri" in values:
                return None
            values["uri"] = word
            continue
        name, value = _split_option(word)
        option = known.get(name)
        if option is None or _LEFT_TO_CLICK & option.settings.keys():
            return None
        if option.settings.get("is_flag"):
            if value is not None:
                return None
            values[option.name] = True
            continue
        if value is None:
            if not rest or rest[-1].startswith("-"):
                return None
            value = rest.pop()
        before = values.get(option.name, ())
        values[option.name] = (*before, value) if option.settings.get("multiple") else value
    return values if "uri" in values else None


def _split_option(word: str) -> tuple[str, str | None]:
    """Return the name of an option and the value in the same word, as in `--name=value` and `-nvalue`."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    return word[:2], word[2:] or None
