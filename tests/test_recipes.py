"""The recipes of CONTRIBUTING.md: their modules work, and their tables name every member of the contracts."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest
from click.testing import CliRunner

from projrun.backends import Backend
from projrun.environments import EnvironmentManager
from projrun.errors import ParameterError
from projrun.inputs import InputKind
from tests.support.repository import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text()


def section(heading: str) -> str:
    return PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


def module_in(heading: str) -> ModuleType:
    """Execute the module that a recipe shows."""
    found = re.search(r"^ *```python\n(.*?)^ *```$", section(heading), re.MULTILINE | re.DOTALL)
    assert found
    module = ModuleType("recipe")
    exec(dedent(found[1]), vars(module))
    return module


def members(contract: type) -> set[str]:
    return {name for name in {*vars(contract), *contract.__annotations__} if not name.startswith("_")}


@pytest.mark.parametrize(
    ("heading", "contract"),
    [
        ("Adding an environment manager", EnvironmentManager),
        ("Adding a backend", Backend),
        ("Adding a place that inputs come from", InputKind),
    ],
)
def test_the_table_of_a_recipe_names_every_member(heading: str, contract: type) -> None:
    cells = [line.split("|") for line in section(heading).splitlines() if line.startswith("|")]
    column = 2 if contract is EnvironmentManager else 1
    named = {name for row in cells for name in re.findall(r"`(\w+)(?:\([\w, ]*\))?`", row[column])}
    assert named == members(contract)


def test_the_verb_of_the_recipe_prints_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    assert CliRunner().invoke(module_in("Adding a verb").whoami).output == "ada\n"


def test_the_backend_of_the_recipe_has_every_member() -> None:
    assert members(Backend) <= set(vars(module_in("Adding a backend")))


def test_the_input_of_the_recipe_is_fetched(tmp_path: Path) -> None:
    kind = module_in("Adding a place that inputs come from")
    assert kind.claims("data:,a%20b") and not kind.claims("https://example.org/data:,")
    with pytest.raises(ParameterError):
        kind.check("data:,ä")
    kind.fetch("data:,a%20b", tmp_path / "data", None, None)
    assert (tmp_path / "data").read_text() == "a b"
