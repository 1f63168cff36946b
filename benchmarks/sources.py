"""Measure the first and the next run of a Git URL against `git clone` of it.

The repository has 300 files and as many commits, and is served over HTTP on loopback, as a Git host would.
"""

from __future__ import annotations

import shlex
import subprocess

from benchmarks.measure import Bench, Measured, measured
from benchmarks.startup import MLPROJECT
from tests.support import git_server

TITLE = "A project at a Git URL"
RUNS = 7
COMMITS = 300


def measure(bench: Bench) -> Measured:
    bare = bench.place / "served" / "project.git"
    bare.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", "--bare", str(bare)], check=True)
    subprocess.run(["git", "-C", str(bare), "fast-import", "--quiet"], input=_history(), check=True)
    head = subprocess.check_output(["git", "-C", str(bare), "rev-parse", "main"], text=True).strip()
    cache, clone = (shlex.quote(str(bench.place / name)) for name in ("cache", "clone"))
    with git_server.serving(bare.parent) as server:
        url = f"{server.url}/project.git"
        run = shlex.join([bench.projrun, "run", url, "--env-manager", "local"])
        commands = {
            "git clone": f"rm -rf {clone}; git clone --quiet {url} {clone}",
            "projrun run URL, first": f"rm -rf {cache}; {run} -v main",
            "projrun run URL, a branch again": f"{run} -v main",
            "projrun run URL, a commit again": f"{run} -v {head}",
        }
        if bench.mlflow:
            commands["mlflow run URL"] = shlex.join(
                [bench.mlflow, "run", url, "-v", "main", "--env-manager", "local"]
            )
        return measured(bench.in_turn({name: ["bash", "-ec", each] for name, each in commands.items()}))


def _history() -> bytes:
    """A stream for `git fast-import`: a file more in each commit, the MLproject file in the first."""
    parts = []
    for number in range(COMMITS):
        name, text = (
            (f"src/module_{number}.py", f"VALUE = {number}\n" * 50) if number else ("MLproject", MLPROJECT)
        )
        committer = f"Benchmark <benchmark@example.org> {1_700_000_000 + number} +0000"
        parts.append(
            f"commit refs/heads/main\ncommitter {committer}\n"
            f"data 1\n.\nM 100644 inline {name}\ndata {len(text)}\n{text}\n"
        )
    return "".join(parts).encode()
