"""What a run in a container costs over `docker run`: `python -m benchmarks.docker [--runs N]`.

Both start `true` in the same image, in turn, in one run. The image is made of the running interpreter.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import in_turn, report
from tests.docker import baseimage

IMAGE = "projrun-benchmark/python:base"
MLPROJECT = f"name: noop\ndocker_env: {{image: '{IMAGE}'}}\nentry_points:\n  main:\n    command: 'true'\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    baseimage.make(IMAGE)
    with tempfile.TemporaryDirectory() as temporary:
        print(measured(Path(temporary), arguments.runs))


def measured(temporary: Path, runs: int) -> str:
    (temporary / "MLproject").write_text(MLPROJECT)
    projrun = str(Path(sys.executable).with_name("projrun"))
    commands = {
        "docker run": ["docker", "run", "--rm", IMAGE, "bash", "-c", "true"],
        "projrun run": [projrun, "run", str(temporary)],
    }
    environ = {
        **os.environ,
        "PROJRUN_HOME": str(temporary / "data"),
        "PROJRUN_CACHE_DIR": str(temporary / "cache"),
        "MLFLOW_TRACKING_URI": "",
    }
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return report(in_turn(commands, runs, environ, str(temporary)))


if __name__ == "__main__":
    main()
