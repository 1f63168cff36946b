"""Command lines that are read without click mean what click makes of them."""

from __future__ import annotations

import random
import shlex
from typing import Any

import click
import pytest

from projrun.cli.run import run
from projrun.cli.run_options import GROUPS, parse_run

NAMES = [name for group in GROUPS for option in group.options for name in option.names if name[0] == "-"]
VALUES = ["main", "a=1", "a=b=c", "", " ", "-1", "--x", "=", "é", "x y", ".", "https://example.org/p.git#d"]


def parse_with_click(arguments: list[str]) -> dict[str, Any] | None:
    """Parse arguments of `run` with click, and drop values that equal those of an absent option."""
    try:
        given = run.make_context("run", list(arguments)).params
    except click.ClickException:
        return None
    absent = run.make_context("run", ["."]).params
    return {name: value for name, value in given.items() if name == "uri" or value != absent[name]}


def plainly(arguments: list[str], **environ: str) -> dict[str, Any] | None:
    given = parse_run(["run", *arguments], environ)
    absent = run.make_context("run", ["."]).params
    return given and {name: value for name, value in given.items() if name == "uri" or value != absent[name]}


@pytest.mark.parametrize(
    "line",
    [
        ".",
        "-P alpha=0.5 . -P l1=0.1 -e train",
        "--env-manager=local -Pa=1 dir -A gpus=all --docker-args=v=/a:/b",
        "https://example.org/p.git#sub -v v1.0 --experiment-name e --run-name 'a b'",
        "--offline --locked --isolated . --keep --require-clean",
        "p --env A=1 --env B --env-file f -c '{}' -b local --no-conda --json --dry-run --detach",
    ],
)
def test_usual_lines_need_no_click(line: str) -> None:
    arguments = shlex.split(line)
    assert plainly(arguments) == parse_with_click(arguments) is not None


@pytest.mark.parametrize(
    "line",
    [
        "",
        ". .",
        "-h",
        ". --help",
        "--",
        "-- .",
        ". --timeout 5m",
        ". --no-such-option",
        ". -P",
        ". -P -e",
        ". --offline=1",
        ". -qe main",
        ". --quiet",
        ". --supervision x",
    ],
)
def test_what_is_special_is_left_to_click(line: str) -> None:
    assert parse_run(["run", *shlex.split(line)], {}) is None


def test_other_verbs_variables_and_completion_are_left_to_click() -> None:
    assert parse_run(["runs", "list"], {}) is None
    assert parse_run(["--verbose", "run", "."], {}) is None
    assert parse_run([], {}) is None
    assert plainly(["."], PROJRUN_OFFLINE="0") is None
    assert plainly(["."], _PROJRUN_COMPLETE="bash_complete") is None


def test_any_line_that_is_read_plainly_is_read_as_click_reads_it() -> None:
    chance = random.Random(7)
    plain = 0
    for _ in range(3000):
        arguments: list[str] = []
        for _ in range(chance.randint(1, 5)):
            name, value = chance.choice(NAMES), chance.choice(VALUES)
            joined = f"{name}={value}" if name.startswith("--") else f"{name}{value}"
            arguments += chance.choice([[name, value], [joined], [name], [value]])
        if (found := plainly(arguments)) is not None:
            plain += 1
            assert found == parse_with_click(arguments), arguments
    assert plain > 100
