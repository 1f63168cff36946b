"""Measure a hundred runs of a no-op in a row, from a shell and from one Python process.

A run must not become slower because of the runs before it.
"""

from __future__ import annotations

import os
import shlex

from benchmarks.measure import Bench, Measured, measured
from benchmarks.startup import MLPROJECT

TITLE = "A hundred runs in a loop"
RUNS = 2
TIMES = 100
API = """
import {module}
for number in range({times}):
    {module}.run({project!r}, parameters={{"number": number}}, env_manager="local")
"""


def measure(bench: Bench) -> Measured:
    project = bench.place / "noop"
    project.mkdir()
    (project / "MLproject").write_text(MLPROJECT)
    numbers = f"for number in $(seq {TIMES}); do"
    run = f"{shlex.join([bench.projrun, 'run', str(project), '--env-manager', 'local'])} -P number=$number"
    python = {
        module: API.format(module=module, times=TIMES, project=str(project))
        for module in ("projrun", "mlflow")
    }
    commands = {
        "bash -c true": ["bash", "-ec", f"{numbers} bash -c true; done"],
        "projrun run": ["bash", "-ec", f"{numbers} {run}; done"],
        "projrun.run()": [bench.python, "-c", python["projrun"]],
    }
    if bench.mlflow:
        commands["mlflow.run()"] = [
            os.path.join(os.path.dirname(bench.mlflow), "python"),
            "-c",
            python["mlflow"],
        ]
    return measured(bench.in_turn(commands))
