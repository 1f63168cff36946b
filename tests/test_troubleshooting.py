"""Each error on docs/troubleshooting.md is made, and says what is shown there."""

from __future__ import annotations

import re

import pytest

from tests.conftest import MakeProject, Projrun
from tests.support.markdown import blocks
from tests.support.repository import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
SHOWN = [block.text.strip() for block in blocks(PAGE) if block.language == "text"]
PROJECT = {
    "MLproject": """
name: models
entry_points:
  main: {command: "echo {alpha}", parameters: {alpha: {type: float, default: 1}}}
  reads: {command: "cat {data}", parameters: {data: path}}
  typo:
    command: echo {alhpa}
    parameters: {alpha: float}
""".lstrip(),
    "python_env.yaml": "dependencies: [no-such-package-here==99]\n",
}
MADE: list[tuple[list[str], dict[str, str]]] = [
    (["-P", "alpha=abc"], {}),
    (["-e", "reads", "-P", "data=data.csv"], {}),
    (["-e", "typo", "-P", "alpha=1"], {}),
    (["-e", "trian"], {}),
    (["--offline"], {}),
    (["--locked"], {}),
    (["-e", "old.py"], {}),
    (["--env-manager", "docker"], {"DOCKER_HOST": "unix:///nowhere"}),
    ([], {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}),
    ([], {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}),
    (["-b", "slurm"], {}),
]
"""What makes the errors of the page, in their order."""


def test_there_is_one_for_each() -> None:
    assert len(SHOWN) == len(MADE)


@pytest.mark.parametrize(("shown", "made"), list(zip(SHOWN, MADE)), ids=[line[16:50] for line in SHOWN])
def test_an_error_says_what_the_page_shows(
    shown: str,
    made: tuple[list[str], dict[str, str]],
    make_project: MakeProject,
    projrun: Projrun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments, variables = made
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    script = '# /// script\n# requires-python = "==3.5.*"\n# ///\n'
    done = projrun("run", make_project(**PROJECT, **{"old.py": script}), *arguments)
    assert done.returncode == 125
    pattern = ".*".join(map(re.escape, shown.split("…")))
    assert re.search(f"^{pattern}", done.stderr, re.MULTILINE), done.stderr
