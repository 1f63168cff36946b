"""Measure a run in a container against `docker run` of the same command in the same image.

The image is made of the running interpreter; it needs a Docker engine.
"""

from __future__ import annotations

from benchmarks.measure import Bench, Measured, measured
from tests.containers import slim_image

TITLE = "Containers"
RUNS = 15
IMAGE = "projrun-benchmark/python:base"
MLPROJECT = f"name: noop\ndocker_env: {{image: '{IMAGE}'}}\nentry_points:\n  main:\n    command: 'true'\n"


def measure(bench: Bench) -> Measured:
    slim_image.make(IMAGE)
    project = bench.place / "project"
    project.mkdir()
    (project / "MLproject").write_text(MLPROJECT)
    commands = {
        "docker run": ["docker", "run", "--rm", IMAGE, "bash", "-c", "true"],
        "projrun run": [bench.projrun, "run", str(project)],
    }
    return measured(bench.in_turn(commands))
