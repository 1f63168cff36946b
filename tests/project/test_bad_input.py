"""Mutated, malicious and monstrous files get an answer or an error with a place: no traceback, no flood.

PROJRUN_TEST_EXAMPLES=1000 reads 20,000 mutated files instead of 2,000.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.project.bad_input import HEAVY
from tests.project.test_arbitrary_input import EXAMPLES
from tests.support.repository import ROOT

BATCHES = 4
MOST_MEMORY = 100_000_000
KILLED_AFTER_S = 60 + EXAMPLES


def report_of(*arguments: str) -> dict[str, float]:
    """Run a process that reads such files, and return its report."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.project.bad_input", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=KILLED_AFTER_S,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("batch", range(BATCHES))
def test_mutated_files_get_an_answer(batch: int) -> None:
    count = 20 * EXAMPLES // BATCHES
    answer = report_of(str(batch), str(count))
    assert answer["read"] + answer["refused"] == count
    assert answer["read"] > 0
    assert answer["refused"] > 0
    assert answer["grown"] < MOST_MEMORY


@pytest.mark.parametrize("name", HEAVY)
def test_monstrous_files_get_an_answer(name: str) -> None:
    assert report_of(name)["grown"] < MOST_MEMORY
