"""Every trap is found, all at once, each at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from projrun.project.validate import check_project
from projrun.project.validate.findings import MAX_FINDINGS, RULES
from tests.project.rule_examples import EXAMPLES, WITHOUT_EXAMPLE, complete
from tests.support.manual import RULES_FILE, rules
from tests.support.repository import ROOT


def write(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (directory / name).write_text(text)
    return directory


def found(directory: Path) -> list[tuple[str, str]]:
    return [(f"{one.file}:{one.line}:{one.column}", one.rule) for one in check_project(directory)]


def found_in(directory: Path, text: str) -> list[tuple[str, str]]:
    """Return the findings of an MLproject file, apart from those of its environment."""
    return found(write(directory, {"MLproject": text, "python_env.yaml": "python: '3.11'\n"}))


@pytest.mark.parametrize("rule", EXAMPLES)
def test_each_rule_finds_its_example_and_nothing_else(rule: str, tmp_path: Path) -> None:
    directory = write(tmp_path, complete(rule))
    assert found(directory) == [(EXAMPLES[rule][1], rule)]
    assert check_project(directory)[0].fix


def test_every_rule_is_in_the_documentation_with_its_example() -> None:
    assert set(RULES) == set(EXAMPLES) | set(WITHOUT_EXAMPLE)
    assert RULES_FILE.read_text() == rules(), "run: python -m tests.support.manual"


def test_a_good_project_has_no_findings() -> None:
    examples = [place for place in (ROOT / "examples").iterdir() if place.is_dir()]
    assert examples
    for example in examples:
        assert [one for one in check_project(example) if one.severity != "note"] == []


def test_a_link_that_leads_nowhere_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "MLproject").symlink_to("nowhere")
    assert found(tmp_path) == [("MLproject:1:1", "unreadable")]


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    text = """\
name: demo
author: me
conda_env: env.yaml
entry_points:
  main:
    parameters:
      alpha: {type:float, default:10}
      gamma: {type: flaot, min: low, flag: shuffle}
      data: 5
    command: >
      python train.py --alpha {alhpa}
        --gamma "{gamma}" {data}
  second: ls
  third:
    comand: ls
name: x
"""
    env = "channels: [x]\ndependencies: [numpy, 'scipy=1.2', {pip: [six, 'a==1', '-r nowhere.txt']}, 7]\n"
    assert found(write(tmp_path, {"MLproject": text, "env.yaml": env})) == [
        ("MLproject:2:1", "unknown-key"),
        ("MLproject:7:15", "glued-key"),
        ("MLproject:7:27", "glued-key"),
        ("MLproject:8:28", "wrong-shape"),
        ("MLproject:8:38", "wrong-shape"),
        ("MLproject:9:7", "wrong-shape"),
        ("MLproject:11:31", "undeclared-placeholder"),
        ("MLproject:12:9", "second-command"),
        ("MLproject:12:18", "quoted-placeholder"),
        ("MLproject:13:3", "wrong-shape"),
        ("MLproject:14:3", "no-command"),
        ("MLproject:15:5", "unknown-key"),
        ("MLproject:16:1", "duplicate-key"),
        ("env.yaml:2:1", "python-unpinned"),
        ("env.yaml:2:16", "unpinned-dependency"),
        ("env.yaml:2:43", "unpinned-dependency"),
        ("env.yaml:2:56", "missing-file"),
        ("env.yaml:2:76", "wrong-shape"),
    ]


@pytest.mark.parametrize(
    ("command", "place"),
    [
        ("p {a} {x}", "4:20"),
        ('"p {a} {x}"', "4:21"),
        ('"p \\"{a}\\" \\x41 {x}"', "4:30"),
        ("'p it''s {a} '' {x}'", "4:30"),
        ("p {a}\n      b\n      {x}", "6:7"),
        ('"p {a} \\\n      {x}"', "5:7"),
        ("|\n      p {a}\n      é {x}", "6:9"),
        (">-\n      p {a}\n\n\n      {x}", "8:7"),
        ("!!str |  # why\n      p {a} {x}", "5:13"),
        ("&anchor p {a} {x}", "4:28"),
    ],
)
def test_placeholders_are_found_in_every_kind_of_text(tmp_path: Path, command: str, place: str) -> None:
    text = f"entry_points:\n  main:\n    parameters: {{a: str}}\n    command: {command}\n"
    places = [where for where, rule in found_in(tmp_path, text) if rule == "undeclared-placeholder"]
    assert places == [f"MLproject:{place}"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_places_count_characters_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    text = "entry_points: {main: {command: 'é € {x}'}}\r\n"
    (tmp_path / "python_env.yaml").write_text("python: '3.11'\n")
    (tmp_path / "MLproject").write_bytes(text.encode(encoding))
    assert found(tmp_path) == [("MLproject:1:37", "undeclared-placeholder")]


def test_a_missing_blank_in_every_key_is_told(tmp_path: Path) -> None:
    text = "entry_points: {main: {command: 'p {a}', parameters: {a: {type:int, min:1}}}}\n"
    assert found_in(tmp_path, text) == [("MLproject:1:58", "glued-key"), ("MLproject:1:68", "glued-key")]


def test_parameters_that_cannot_be_read_are_not_called_undeclared(tmp_path: Path) -> None:
    text = "entry_points: {main: {command: 'p {a}', parameters: {a: 5}}}\n"
    assert found_in(tmp_path, text) == [("MLproject:1:54", "wrong-shape")]


def test_pins_in_other_files_count(tmp_path: Path) -> None:
    files = {
        "MLproject": "python_env: env.yaml\n",
        "env.yaml": "python: '3.11'\ndependencies: [-r more.txt, -c pins.txt, ./here, 'a @ https://x/a.whl']\n",
        "more.txt": "# these\nnumpy\nscipy == 1.2 ; python_version > '3'\nsix==1.* \npandas\n",
        "pins.txt": "Pandas==2.0\n",
    }
    assert found(write(tmp_path, files)) == [
        ("more.txt:2:1", "unpinned-dependency"),
        ("more.txt:4:1", "unpinned-dependency"),
    ]


def test_continued_requirements_are_read_as_one(tmp_path: Path) -> None:
    files = {
        "MLproject": "python_env: env.yaml\n",
        "env.yaml": "python: '3.11'\ndependencies:\n- a==1 \\\n- '--hash=sha256:ab'\n",
    }
    assert found(write(tmp_path, files)) == []


def test_findings_have_an_end(tmp_path: Path) -> None:
    keys = "".join(f"key{number}: 1\n" for number in range(MAX_FINDINGS + 100))
    assert len(found_in(tmp_path, keys)) == MAX_FINDINGS


def test_a_project_by_convention_needs_no_file(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n[project.scripts]\ngo = 'x:main'\n")
    (tmp_path / "x.py").write_text("def main(): pass\n")
    assert [finding.rule for finding in check_project(tmp_path)] == []
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n[project.scripts]\ngo = 3\n")
    (finding,) = check_project(tmp_path)
    assert (finding.file, finding.severity) == ("pyproject.toml", "error")


LOOSE = {
    "pyproject.toml": "[project]\nname = 'x'\ndependencies = ['numpy', 'scipy==1.15.0',\n  'mlflow>=3']\n",
    "MLproject": "name: x\n",
}
NAMED_LOOSE = {
    "env.yaml": "python: '3.11'\ndependencies: [numpy]\n",
    "MLproject": "python_env: env.yaml\n",
}


@pytest.mark.parametrize(
    ("files", "lock", "places"),
    [
        (LOOSE, "uv.lock", ["pyproject.toml:3:18", "pyproject.toml:4:4"]),
        ({"requirements.txt": "numpy\n", "MLproject": "name: x\n"}, "pylock.toml", ["requirements.txt:1:1"]),
        (NAMED_LOOSE, "pylock.env.toml", ["env.yaml:2:16"]),
    ],
)
def test_packages_without_a_version_are_noted_where_no_lock_has_one(
    files: dict[str, str], lock: str, places: list[str], tmp_path: Path
) -> None:
    assert found(write(tmp_path, files)) == [(place, "unpinned-dependency") for place in places]
    assert found(write(tmp_path, {lock: ""})) == []
