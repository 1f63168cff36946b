"""Stories of typed parameters, from the command line to the program's arguments."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Projrun

TYPED = """
name: typed
entry_points:
  main:
    parameters:
      epochs: {type: int, default: 3, min: 1, max: 10}
      mode: {type: string, choices: [fast, exact], default: fast}
      depth: {type: int, required: false}
      shuffle: {type: bool, flag: --shuffle}
      sizes: {type: "list[int]", default: [1, 2]}
      report: {type: path, output: true, default: report.txt}
      data: {type: path, default: data.csv}
    command: "python show.py --epochs {epochs} --mode {mode} --depth {depth} {shuffle} --sizes {sizes}
      --report {report} --data {data}"
  range:
    parameters:
      low: {type: int, required: false}
      high: {type: int, default: 9}
    command: "python show.py --range {low}:{high}"
"""
SHOW = "import json, sys; print(json.dumps(sys.argv[1:]))"


@pytest.fixture
def typed(make_project: MakeProject) -> Path:
    return make_project(**{"MLproject": TYPED, "show.py": SHOW, "here/data.csv": ""})


def test_defaults_optional_parameters_and_paths_of_the_caller(projrun: Projrun, typed: Path) -> None:
    here = typed / "here"
    done = projrun("run", typed, "--env-manager", "local", cwd=here)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        *("--epochs", "3", "--mode", "fast", "--sizes", "[1, 2]"),
        *("--report", f"{here}/report.txt", "--data", f"{here}/data.csv"),
    ]


def test_every_value_has_its_place(projrun: Projrun, typed: Path) -> None:
    values = {"epochs": "10", "mode": "exact", "depth": "2", "shuffle": "yes", "sizes": "3,4"}
    given = [word for name, value in values.items() for word in ("-P", f"{name}={value}")]
    done = projrun("run", typed, "--env-manager", "local", *given, cwd=typed / "here")
    assert done.returncode == 0, done.stderr
    words = json.loads(done.stdout)
    assert words[:9] == ["--epochs", "10", "--mode", "exact", "--depth", "2", "--shuffle", "--sizes", "3,4"]


def test_all_values_that_do_not_fit_are_told_in_one_line(projrun: Projrun, typed: Path) -> None:
    values = ("epochs=11", "mode=slow", "depth=deep", "shuffle=perhaps", "sizes=1,x", "data=no.csv")
    given = [word for value in values for word in ("-P", value)]
    done = projrun("run", typed, *given, cwd=typed)
    assert done.returncode == 125 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    for told in (
        "'epochs' (int): '11' is more than 10",
        "'mode' (string): 'slow' is not one of fast, exact",
        "'depth' (int): 'deep' is not an int",
        "'shuffle' (bool): 'perhaps' is not a bool",
        r"'sizes' (list[int]): 'x' is not an int, in '1,x'",
        "'data' (path): 'no.csv' does not exist",
    ):
        assert told in line


def test_a_value_that_shares_its_word_with_nothing_is_not_dropped_in_silence(
    projrun: Projrun, typed: Path
) -> None:
    run = ("run", typed, "--env-manager", "local", "-e", "range")
    assert json.loads(projrun(*run, "-P", "low=1", "-P", "high=2").stdout) == ["--range", "1:2"]
    refused = projrun(*run, "-P", "high=2")
    assert refused.returncode == 125
    assert re.search("'high' would be lost.*'low', which has no value; add -P low=VALUE", refused.stderr)
    by_default = projrun(*run)
    assert json.loads(by_default.stdout) == ["--range"]
    assert "warning: MLproject:19: the default of parameter 'high' is not in the command" in by_default.stderr
