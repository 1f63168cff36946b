"""Test the cost of a warm run in a container: imports, processes and requests are counted, not seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import MakeProject
from tests.test_startup import (
    HEAVY,
    THIRD_PARTY,
    foreign,
    modules_after,
    traced,
    without_what_the_test_imports,
)


def test_a_warm_run_imports_no_sdk_asks_five_questions_and_starts_a_will(
    shell_image: str, make_project: MakeProject, tmp_path: Path
) -> None:
    mlproject = f"docker_env: {{image: '{shell_image}'}}\nentry_points: {{main: {{command: echo}}}}\n"
    project = make_project(MLproject=mlproject)
    modules_after("run", project)
    modules = without_what_the_test_imports(modules_after("run", project))
    assert foreign(modules) <= THIRD_PARTY
    assert not modules & HEAVY
    argv = [sys.executable, "-m", "projrun", "run", str(project)]
    subprocess.run(argv, check=True, capture_output=True, env=traced(tmp_path), stdin=subprocess.DEVNULL)
    events = (tmp_path / "trace").read_text().split()
    # what the tag means, which says that the image is there; then create, attach, wait, start
    assert events.count("socket.connect") == 5
    assert events.count("subprocess.Popen") == 1  # the last will
    assert len(events) == 6, os.linesep.join(events)
