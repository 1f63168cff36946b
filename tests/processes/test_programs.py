"""Programs that run when the process that asked for them has ended."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.waiting import eventually

SCRIPT = """
import sys
from projrun.processes.programs import ExitProgram
program = ExitProgram(["sh", "-c", "echo ran | tee -a '{file}'"])
if "start" in sys.argv:
    program.start()
    program.start()
"""


@pytest.mark.parametrize("arguments", [["start"], []], ids=["started", "at the end"])
def test_an_exit_program_runs_once_and_python_warns_of_nothing(tmp_path: Path, arguments: list[str]) -> None:
    file = tmp_path / "ran"
    script = SCRIPT.format(file=file)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", script, *arguments], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert eventually(lambda: file.exists() and file.read_text())
    time.sleep(0.2)
    assert file.read_text() == "ran\n"
