"""What a run costs over its own command: `python -m benchmarks.startup [--runs N] [--mlflow PATH]`.

Compares, in one run and in turn, `bash -c` (the floor), the bare interpreter, `projrun --help`,
`projrun run` of a no-op in the local and in a warm uv environment, and `mlflow run` if it is installed.
projrun is measured as it is installed beside the running Python: install it compiled, not editable
(`pip install .`), and leave PYTHONDONTWRITEBYTECODE unset.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import in_turn, report

MLPROJECT = "name: noop\nentry_points:\n  main:\n    command: 'true'\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--mlflow", default=shutil.which("mlflow"), help="path of the mlflow command")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        print(measured(Path(temporary), arguments.runs, arguments.mlflow))


def measured(temporary: Path, runs: int, mlflow: str | None) -> str:
    project = temporary / "noop"
    project.mkdir()
    (project / "MLproject").write_text(MLPROJECT)
    projrun = str(Path(sys.executable).with_name("projrun"))
    commands = {
        "bash -c true": ["bash", "-c", "true"],
        "python -c pass": [sys.executable, "-c", "pass"],
        "projrun --help": [projrun, "--help"],
        "projrun run --env-manager local": [projrun, "run", str(project), "--env-manager", "local"],
        "projrun run (warm uv environment)": [projrun, "run", str(project), "--env-manager", "uv"],
    }
    if mlflow:
        commands["mlflow run --env-manager local"] = [mlflow, "run", str(project), "--env-manager", "local"]
    environ = {
        **os.environ,
        "PROJRUN_HOME": str(temporary / "data"),
        "PROJRUN_CACHE_DIR": str(temporary / "cache"),
        "MLFLOW_TRACKING_URI": "",
    }
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    timings = in_turn(commands, runs, environ, str(temporary))
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {runs} runs"
    return f"{machine}\n\n{report(timings)}"


if __name__ == "__main__":
    main()
