"""Timing whole commands in turn, so that a drift of the machine's speed meets all of them alike."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Wall-clock times of one command, in milliseconds."""

    name: str
    times_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        return statistics.median(self.times_ms)


def in_turn(
    commands: Mapping[str, Sequence[str]], runs: int, environ: Mapping[str, str] | None = None, cwd: str = "."
) -> list[Timing]:
    """Run A B C A B C …, `runs` times after one warm-up; every command must succeed."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, argv in commands.items():
            started = time.perf_counter()
            subprocess.run(argv, check=True, capture_output=True, env=environ, cwd=cwd)
            if number:
                times[name].append((time.perf_counter() - started) * 1000)
    return [Timing(name, tuple(values)) for name, values in times.items()]


def report(timings: Sequence[Timing]) -> str:
    """A Markdown table: median, spread, and ratio and difference to the first row."""
    floor = timings[0].median_ms
    lines = [
        f"| command | median ms | min–max ms | × {timings[0].name} | ms over it |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for timing in timings:
        low, high = min(timing.times_ms), max(timing.times_ms)
        lines.append(
            f"| {timing.name} | {timing.median_ms:.1f} | {low:.1f}–{high:.1f} "
            f"| {timing.median_ms / floor:.1f} | {timing.median_ms - floor:.1f} |"
        )
    return "\n".join(lines)
