"""The command line and the Python face, held against the real mlflow."""

from __future__ import annotations

import inspect
import json
import re
import subprocess

import click
import pytest

import projrun
from projrun.cli.run import run
from tests.support.mlflow_clients import MLFLOW, Client
from tests.support.repository import ROOT

ASK = """
import inspect, json, click, mlflow.projects
from mlflow.cli import run
context = click.Context(run)
options = {p.name: sorted(p.opts) for p in run.params if isinstance(p, click.Option)}
print(json.dumps([options, list(inspect.signature(mlflow.projects.run).parameters)]))
"""
OURS_ALONE = {"no_conda"}
"""mlflow dropped it; commands that people kept still say it."""


@pytest.fixture(scope="module")
def mlflow_says(client_python: Client) -> tuple[dict[str, list[str]], list[str]]:
    python = client_python("", *MLFLOW)
    done = subprocess.run([python, "-c", ASK], capture_output=True, text=True, check=True)
    options, arguments = json.loads(done.stdout.splitlines()[-1])
    return options, arguments


def test_every_option_of_mlflow_run_is_there(mlflow_says: tuple[dict[str, list[str]], list[str]]) -> None:
    theirs, _ = mlflow_says
    ours = {option.name: sorted(option.opts) for option in run.params if isinstance(option, click.Option)}
    assert {name: ours.get(name) for name in theirs} == theirs
    assert set(ours) >= OURS_ALONE


def test_the_python_face_takes_the_same_arguments(
    mlflow_says: tuple[dict[str, list[str]], list[str]],
) -> None:
    _, theirs = mlflow_says
    ours = list(inspect.signature(projrun.run).parameters)
    assert ours[: len(theirs)] == theirs  # what mlflow does not know comes behind


MIGRATING = ROOT / "docs" / "migrating-from-mlflow.md"


def test_the_page_for_those_who_come_from_mlflow_names_all_of_it(
    mlflow_says: tuple[dict[str, list[str]], list[str]],
) -> None:
    """An option that a new mlflow adds is missing from the page, and fails this test."""
    options, arguments = mlflow_says
    spelled = {spelling for spellings in options.values() for spelling in spellings}
    assert spelled - described("Options") == set()
    assert set(arguments) - described("Python") == set()


def described(section: str) -> set[str]:
    """Return the names in the first column of the tables of a section."""
    _, rest = MIGRATING.read_text().split(f"\n## {section}\n")
    rows = re.findall(r"^\| (`.*?) \|", rest.split("\n## ")[0], re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^` ]+)`", row)}
