"""Time whole commands in turn, so that a drift of the machine's speed affects all of them alike."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bench:
    """What a benchmark is given: the programs, a directory of its own, how often to measure."""

    projrun: str
    mlflow: str
    """Path of the mlflow command; empty: it is left out."""
    place: Path
    environ: Mapping[str, str]
    runs: int

    @property
    def python(self) -> str:
        """The interpreter beside projrun."""
        return str(Path(self.projrun).with_name("python"))

    def in_turn(self, commands: Mapping[str, Sequence[str]], runs: int | None = None) -> list[Timing]:
        """Run A B C A B C …, after one warm-up of each; every command must succeed."""
        times: dict[str, list[float]] = {name: [] for name in commands}
        for number in range((self.runs if runs is None else runs) + 1):
            for name, argv in commands.items():
                started = time.perf_counter()
                done = subprocess.run(
                    argv, capture_output=True, env=self.environ, cwd=self.place, check=False
                )
                if done.returncode:
                    said = (done.stdout + done.stderr).decode(errors="replace")
                    raise SystemExit(f"{name}: exit code {done.returncode}\n{said}")
                if number:
                    times[name].append((time.perf_counter() - started) * 1000)
        return [Timing(name, tuple(values)) for name, values in times.items()]


@dataclass(frozen=True)
class Timing:
    """Wall-clock times of one command, in milliseconds."""

    name: str
    times_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        return statistics.median(self.times_ms)


@dataclass(frozen=True)
class Bar:
    """One bar of the plot: how often the floor fits into it."""

    name: str
    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """What a benchmark found: a Markdown table, and the bars that show it."""

    table: str
    bars: tuple[Bar, ...]
    scale: str
    """What a ratio of 1 is."""


def measured(timings: Sequence[Timing]) -> Measured:
    """Median, spread, and the ratio to the first of them, which is the floor."""
    floor = timings[0].median_ms
    lines = [
        f"| command | median ms | min–max ms | × {timings[0].name} | ms over it |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    bars = []
    for timing in timings:
        low, high = min(timing.times_ms), max(timing.times_ms)
        bar = Bar(timing.name, timing.median_ms / floor, low / floor, high / floor)
        bars.append(bar)
        lines.append(
            f"| {timing.name} | {timing.median_ms:,.1f} | {low:,.1f}–{high:,.1f} "
            f"| {bar.ratio:.2f} ({bar.low:.2f}–{bar.high:.2f}) | {timing.median_ms - floor:,.1f} |"
        )
    return Measured("\n".join(lines), tuple(bars), timings[0].name)
