"""projrun verify --baseline: compare the project as it is now with a run in a file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from projrun.cli.run import add_options
from projrun.cli.run_options import Group, Option

if TYPE_CHECKING:
    from projrun.disk import Home
    from projrun.records.stored_runs import StoredRun

SUFFIXES = (".zip", ".json")

baseline_options = add_options(
    Group(
        "Baseline",
        Option(
            "--baseline",
            default="",
            metavar="FILE",
            help="Run the project at RUN as it is now and compare it with the run in FILE, a .zip (with the "
            "content of outputs, to compare them by value) or a .json (digests alone).",
        ),
        Option(
            "--existing",
            is_flag=True,
            help="With --baseline: it is an error, and no baseline is made, if FILE is missing.",
        ),
        Option("-e", "--entry-point", default="", metavar="NAME", help="With --baseline: as for `run`."),
        Option(
            "-P",
            "--param-list",
            multiple=True,
            metavar="NAME=VALUE",
            help="With --baseline: as for `run`; the same as when the baseline was made.",
        ),
        Option("-v", "--version", default="", metavar="VERSION", help="With --baseline: as for `run`."),
        Option("--env-manager", default="", metavar="MANAGER", help="With --baseline: as for `run`."),
    )
)


def refuse_project_options(project: Mapping[str, Any]) -> None:
    """Refuse options that belong to --baseline: a recorded run has its own values."""
    names = {"entry_point": "-e", "param_list": "-P"}
    for name, value in project.items():
        if value:
            option = names.get(name, f"--{name.replace('_', '-')}")
            raise click.UsageError(f"{option} goes with --baseline FILE alone: a run has its own.")


def against_baseline(
    file: str, uri: str, project: Mapping[str, Any], home: Home, stack: ExitStack
) -> tuple[StoredRun, StoredRun]:
    """Return the baseline and the project's new run; both are the new run where it becomes the baseline."""
    from pathlib import Path

    from projrun.cli.run_request import parse_parameters
    from projrun.net import is_offline
    from projrun.request import Request
    from projrun.runner.reproduction import against, make

    path = Path(file)
    if path.suffix.lower() not in SUFFIXES:
        raise click.UsageError(f"--baseline {file}: let its name end in .zip or .json.")
    request = Request(
        uri=uri,
        entry_point=project["entry_point"],
        version=project["version"],
        parameters=parse_parameters(project["param_list"]),
        env_manager=project["env_manager"],
        offline=is_offline(),
    )
    if path.exists():
        return against(path, request, home, stack)
    if project["existing"]:
        raise click.UsageError(f"--baseline {file}: there is no such file, and --existing wants one.")
    if not path.absolute().parent.is_dir():
        raise click.UsageError(f"--baseline {file}: there is no directory {path.parent}.")
    run = make(path, request, home, stack)
    return run, run


def write_reports(reports: Mapping[str, str]) -> None:
    from projrun.errors import RecordError

    for file, text in reports.items():
        try:
            with open(file, "w", encoding="utf-8") as target:
                target.write(f"{text}\n")
        except OSError as error:
            raise RecordError(
                f"--report: {file} cannot be written: {error.strerror}",
                "name a file in a directory that can be written to",
            ) from None
