"""Measure the cost of a run over its own command.

`bash -c` (the floor), the bare interpreter, `projrun --help`, `projrun run` of a no-op in the local and in a
warm uv environment, and `mlflow run`.
"""

from __future__ import annotations

from benchmarks.measure import Bench, Measured, measured

TITLE = "Start-up and a warm run"
RUNS = 15
MLPROJECT = "name: noop\nentry_points:\n  main:\n    command: 'true'\n"


def measure(bench: Bench) -> Measured:
    project = bench.place / "noop"
    project.mkdir()
    (project / "MLproject").write_text(MLPROJECT)
    run = [bench.projrun, "run", str(project), "--env-manager"]
    commands = {
        "bash -c true": ["bash", "-c", "true"],
        "python -c pass": [bench.python, "-c", "pass"],
        "projrun --help": [bench.projrun, "--help"],
        "projrun run (local)": [*run, "local"],
        "projrun run (warm uv environment)": [*run, "uv"],
    }
    if bench.mlflow:
        commands["mlflow run (local)"] = [bench.mlflow, "run", str(project), "--env-manager", "local"]
    return measured(bench.in_turn(commands))
