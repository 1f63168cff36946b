"""projrun init"""

from __future__ import annotations

import os
from pathlib import Path

import click

from projrun.cli.verbs import Verb, complete_uri
from projrun.console import print_data, say, warn
from projrun.disk.file_operations import temporary_beside
from projrun.errors import ProjectError


@click.command(cls=Verb)
@click.argument("directory", default=".", shell_complete=complete_uri)
@click.option(
    "--name", default="", help="The project's name. Default: as in pyproject.toml, or the directory's."
)
@click.option("--dry-run", is_flag=True, help="Print the MLproject file and write nothing.")
def init(directory: str, name: str, dry_run: bool) -> None:
    """Write an MLproject file for DIRECTORY (default: this directory), made from its files.

    Programs become entry points: .py files with a main, .R and .sh files, scripts of pyproject.toml. Options
    that a program declares with argparse or click become parameters, with types, defaults and choices.
    Nothing is run or imported. The environment is the one that the directory describes. For a
    requirements.txt projrun also writes a python_env.yaml that points to it, so that mlflow finds it too.
    """
    from projrun.project.propose import propose_mlproject

    root = Path(directory)
    if not root.is_dir():
        raise ProjectError(f"there is no directory '{directory}'", "name the project's directory")
    proposal = propose_mlproject(root, name)
    if dry_run:
        print_data(proposal.files["MLproject"].removesuffix("\n"))
        others = [file for file in proposal.files if file != "MLproject"]
        if others:
            say(f"it goes with {', '.join(others)}, which would be written too")
    else:
        for file, text in proposal.files.items():
            _write_new(root / file, text)
        say(f"wrote {' and '.join(str(root / file) for file in proposal.files)}")
    for note in proposal.notes:
        warn(note)
    if not dry_run:
        entry_point = "" if "main" in proposal.entry_points else f" -e {proposal.entry_points[0]}"
        say(f"look at it with: projrun describe {directory}; run it: projrun run {directory}{entry_point}")


def _write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet, whole or not at all."""
    try:
        with temporary_beside(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
            os.link(temporary, path)  # unlike a rename, it replaces nothing
    except OSError as error:
        hint = "see to it that the directory can be written to and has no such file"
        raise ProjectError(f"cannot be written: {error.strerror}", hint, file=str(path)) from None
