"""What a run costs over its own command: `python -m benchmarks.startup [--runs N] [--mlflow PATH]`.

Compares, in one run and in turn, `bash -c` (the floor), the bare interpreter, `projrun --help`,
`projrun run` of a no-op in the local and in a warm uv environment and from a commit of a Git URL that is in
the cache, and `mlflow run` if it is installed.
projrun is measured as it is installed beside the running Python: install it compiled, not editable
(`pip install .`), and leave PYTHONDONTWRITEBYTECODE unset.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
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
    url, commit = served(project)
    projrun = str(Path(sys.executable).with_name("projrun"))
    local = ("--env-manager", "local")
    commands = {
        "bash -c true": ["bash", "-c", "true"],
        "python -c pass": [sys.executable, "-c", "pass"],
        "projrun --help": [projrun, "--help"],
        "projrun run DIRECTORY (local)": [projrun, "run", str(project), *local],
        "projrun run DIRECTORY (warm uv environment)": [projrun, "run", str(project), "--env-manager", "uv"],
        "projrun run URL -v COMMIT (cached, local)": [projrun, "run", url, "-v", commit, *local],
    }
    if mlflow:
        commands["mlflow run DIRECTORY (local)"] = [mlflow, "run", str(project), *local]
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


def served(project: Path) -> tuple[str, str]:
    """A bare repository of the project's files: its URL and the commit."""
    bare = project.with_name("noop.git")
    author = ("-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.org")
    for command in (
        ("init", "--quiet", "--bare", str(bare)),
        ("--git-dir", str(bare), "--work-tree", str(project), "add", "--all"),
        ("--git-dir", str(bare), "--work-tree", str(project), *author, "commit", "--quiet", "-m", "noop"),
    ):
        subprocess.run(["git", *command], check=True)
    head = subprocess.run(
        ["git", "--git-dir", str(bare), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    )
    return f"file://{bare}", head.stdout.strip()


if __name__ == "__main__":
    main()
