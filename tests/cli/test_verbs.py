"""`--help`: a page of a manual for every verb, whose examples are real."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from projrun.cli.run import run
from projrun.cli.verbs import OVERVIEW, VERBS, cli
from projrun.console import set_verbosity
from projrun.environments import KINDS
from tests.conftest import Projrun
from tests.support.manual import FILE
from tests.support.repository import ROOT

PACKAGE = ROOT / "projrun"
PAGES = [OVERVIEW, *VERBS.values()]


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    """Examples say how much is said."""
    yield
    set_verbosity("usual")


def parse(command: click.Command, name: str, arguments: list[str], parent: click.Context | None) -> None:
    context = command.make_context(name, arguments, parent)
    if isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        inner_name, inner, rest = command.resolve_command(context, rest)
        assert inner is not None and inner_name is not None
        parse(inner, inner_name, rest, context)


@pytest.mark.parametrize("example", [example for page in PAGES for example in page.examples])
def test_every_example_parses(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    program, *arguments = shlex.split(example)
    assert len(example) <= 78, "a screen of 80 columns would break it"
    assert program == "projrun"
    if "--help" in arguments:
        with pytest.raises(click.exceptions.Exit):
            parse(cli, program, arguments, None)
    else:
        parse(cli, program, arguments, None)


def test_an_example_that_does_not_parse_is_found() -> None:
    with pytest.raises(click.UsageError):
        parse(cli, "projrun", ["runs", "list", "--sideways"], None)


def test_the_manual_is_what_the_commands_say() -> None:
    # In a process of its own: click keeps a command's help option as the first context of the process had it.
    script = "from tests.support.manual import manual; print(manual(), end='')"
    text = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert FILE.read_text().splitlines() == text.stdout.splitlines(), "run: python -m tests.support.manual"


def test_every_environment_manager_is_in_the_help_and_on_its_page() -> None:
    (option,) = (option for option in run.params if option.name == "env_manager")
    page = (ROOT / "docs" / "environments.md").read_text()
    for name in KINDS:
        assert re.search(rf"\b{name}\b", str(getattr(option, "help", ""))), name
        assert f"| `{name}` |" in page, name


def test_documents_and_verbs_to_see_exist() -> None:
    for page in PAGES:
        for place in page.see_also:
            if place.endswith(".md"):
                assert (ROOT / place).is_file(), place
            elif place.startswith("projrun ") and place.split()[1].islower():
                assert place.split()[1] in VERBS


def test_variables_are_those_that_the_program_reads() -> None:
    sources = "".join(
        file.read_text() for file in (ROOT / "projrun").rglob("*.py") if file.name != "verbs.py"
    )
    for page in PAGES:
        for variable, _ in page.environment:
            assert re.search(rf"\b{variable}\b", sources), variable


def test_options_of_run_stand_by_subject(projrun: Projrun) -> None:
    text = projrun("run", "--help").stdout
    headings = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    assert headings == [
        *("What is run", "Source", "Environment", "Containers", "Backend", "Life of the run", "Tracking"),
        *("Other options", "Examples", "Exit codes", "Environment variables", "See also"),
    ]
