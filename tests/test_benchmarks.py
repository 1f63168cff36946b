"""The benchmarks' own parts: what they write, and that a short one works. Their numbers are not tested."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import pages
from benchmarks.__main__ import NAMES
from benchmarks.measure import Bench, Timing, measured
from benchmarks.programs import ROOT

FOUND = measured([Timing("floor & base", (10.0, 9.0, 12.0)), Timing("projrun run", (1000.0, 900.0, 1500.0))])


@pytest.mark.parametrize("name", NAMES)
def test_each_has_its_place_on_the_page(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    assert module.RUNS > 1 and module.TITLE and callable(module.measure)
    page = pages.PAGE.read_text()
    assert page.index(f"<!-- measured: {name} -->\n") < page.index(f"<!-- end: {name} -->\n")


def test_a_table_gives_medians_spread_and_ratios() -> None:
    assert FOUND.table.splitlines()[-1] == (
        "| projrun run | 1,000.0 | 900.0–1,500.0 | 100.00 (90.00–150.00) | 990.0 |"
    )


def test_only_its_own_part_of_the_page_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pages, "PAGE", tmp_path / "performance.md")
    monkeypatch.setattr(pages, "PLOTS", tmp_path / "performance")
    before = "# Head\n<!-- measured: loop -->\n<!-- end: loop -->\nText\n"
    pages.PAGE.write_text(f"{before}<!-- measured: startup -->\nold\n<!-- end: startup -->\nTail\n")
    pages.write("startup", "Start-up", FOUND, "A machine.")
    page = pages.PAGE.read_text()
    assert page.startswith(before) and page.endswith("A machine.\n<!-- end: startup -->\nTail\n")
    assert FOUND.table in page and "old" not in page
    drawn = ElementTree.parse(tmp_path / "performance" / "startup.svg")
    texts = {text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"floor & base", "projrun run", "1.00", "100"} <= texts
    with pytest.raises(SystemExit, match="no place for tracking"):
        pages.write("tracking", "Tracking", FOUND, "A machine.")


def test_a_command_that_fails_is_no_measurement(tmp_path: Path) -> None:
    bench = Bench("projrun", "", tmp_path, {}, 1)
    with pytest.raises(SystemExit, match=r"broken: exit code 3\nwhy"):
        bench.in_turn({"broken": ["/bin/sh", "-c", "echo why; exit 3"]})


def test_an_unknown_name_is_told_with_those_that_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "speed"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 2
    assert "no such benchmark: speed; there are startup," in done.stderr
