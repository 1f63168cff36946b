"""Write the tables and plots of docs/performance.md."""

from __future__ import annotations

import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from benchmarks.measure import Measured
from benchmarks.programs import ROOT

PAGE = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "performance"
TEMPLATES = Path(__file__).parent


def write(name: str, title: str, measured: Measured, machine: str) -> None:
    """Put a table and the link to its plot between the page's marks for `name`."""
    page = PAGE.read_text()
    begin, end = f"<!-- measured: {name} -->\n", f"<!-- end: {name} -->\n"
    if begin not in page or end not in page:
        raise SystemExit(f"{PAGE}: no place for {name}: it needs the lines {begin.strip()} and {end.strip()}")
    head, rest = page.split(begin, 1)
    _, tail = rest.split(end, 1)
    plot = ""
    if measured.bars:
        PLOTS.mkdir(exist_ok=True)
        (PLOTS / f"{name}.svg").write_text(drawn(title, measured))
        plot = f"\n![{title}, as ratios](performance/{name}.svg)\n"
    PAGE.write_text(f"{head}{begin}{measured.table}\n{plot}\n{machine}\n{end}{tail}")


def drawn(title: str, measured: Measured) -> str:
    """Bars on a logarithmic axis, with whiskers from the fastest to the slowest."""
    values = [value for bar in measured.bars for value in (bar.low, bar.high)]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(*values, 10)))
    wide = 460

    def x(ratio: float) -> float:
        return round((math.log10(ratio) - low) / (high - low) * wide, 1)

    template = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return (
        template.get_template("plot.svg.j2").render(
            title=title, scale=measured.scale, bars=measured.bars, x=x, wide=wide, ticks=range(low, high + 1)
        )
        + "\n"
    )
