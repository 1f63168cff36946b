"""Profile a warm `projrun run`: imports by package, and functions."""

from __future__ import annotations

import os
import pstats
import re
import subprocess
from collections import Counter
from io import StringIO

from benchmarks.measure import Bench
from benchmarks.startup import MLPROJECT

SHOWN = 20
LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| +(\S+)$", re.MULTILINE)
GROUPED = ("projrun", "click", "yaml", "msgspec", "encodings", "re", "importlib", "collections")


def of_a_warm_run(bench: Bench) -> str:
    project = bench.place / "noop"
    project.mkdir()
    (project / "MLproject").write_text(MLPROJECT)
    run = ["-m", "projrun", "run", str(project), "--env-manager", "local"]
    subprocess.run([bench.python, *run], check=True, env=bench.environ, capture_output=True)
    return f"{_imports(bench, run)}\n\n{_functions(bench, run)}"


def _imports(bench: Bench, run: list[str]) -> str:
    """A table of the fastest import of each module, own time, summed by package."""
    fastest: dict[str, int] = {}
    for _ in range(bench.runs):
        done = subprocess.run(
            [bench.python, "-X", "importtime", *run],
            check=True,
            env=bench.environ,
            capture_output=True,
            text=True,
        )
        for microseconds, name in LINE.findall(done.stderr):
            fastest[name] = min(int(microseconds), fastest.get(name, int(microseconds)))
    summed: Counter[str] = Counter()
    modules: Counter[str] = Counter()
    for name, microseconds in fastest.items():
        package = name.partition(".")[0]
        group = package if package in GROUPED else name
        summed[group] += microseconds
        modules[group] += 1
    total = sum(fastest.values())
    lines = ["| imports | modules | ms | of all |", "| --- | ---: | ---: | ---: |"]
    for name, microseconds in summed.most_common(SHOWN):
        lines.append(f"| {name} | {modules[name]} | {microseconds / 1000:.1f} | {microseconds / total:.0%} |")
    return "\n".join([*lines, f"| all | {len(fastest)} | {total / 1000:.1f} | |"])


def _functions(bench: Bench, run: list[str]) -> str:
    """The functions in which the time was spent, what they called included. The profiler slows them."""
    found = bench.place / "profile"
    # projrun leaves without taking the interpreter apart, so the profile is written before that.
    script = (
        "import cProfile, sys; from projrun.cli.main import guarded; profile = cProfile.Profile(); "
        f"profile.runcall(guarded, {run[2:]!r}); profile.dump_stats({os.fspath(found)!r})"
    )
    subprocess.run([bench.python, "-c", script], check=True, env=bench.environ, capture_output=True)
    said = StringIO()
    pstats.Stats(str(found), stream=said).strip_dirs().sort_stats("cumulative").print_stats(2 * SHOWN)
    return said.getvalue().strip()
