"""Comparing results: metrics, files by value, and what determined them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import numpy
import pytest
from PIL import Image

from projrun.compare import Comparison
from projrun.compare.reports import FORMATS
from projrun.compare.results import compare
from projrun.compare.values import compare_files
from projrun.disk.file_tree import matches
from projrun.errors import UnavailableError
from projrun.plan import Rule, VerifyRules
from projrun.record import Output, Record, from_json

RECORD = from_json((Path(__file__).parents[1] / "records" / "first.json").read_bytes())
VALUE = Rule(how="value")
LOOSE = Rule(how="value", rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "pattern", "same"),
    [
        ("a.csv", "*.csv", True),
        ("deep/er/a.csv", "*.csv", True),
        ("deep/a.csv", "deep/*.csv", True),
        ("deep/er/a.csv", "deep/*.csv", False),
        ("deep/er/a.csv", "deep/**", True),
        ("deep/er/a.csv", "**/a.csv", True),
        ("a.csv", "**/a.csv", True),
        ("a.csv", "?.csv", True),
        ("ab.csv", "?.csv", False),
        ("a1", "a[0-9]", True),
        ("ax", "a[!0-9]", True),
        ("a+b(c).txt", "a+b(c).txt", True),
        ("a\nb", "*", True),
        ("[", "[", True),
    ],
)
def test_patterns(name: str, pattern: str, same: bool) -> None:
    assert matches(name, pattern) == same


@pytest.mark.parametrize(
    ("name", "first", "second", "rule", "expected"),
    [
        ("a.txt", "loss 0.5\n", "loss 0.5\r\n", VALUE, []),
        ("a.txt", "loss 0.5 at 3", "loss 0.5001 at 3", LOOSE, [("line 1: 0.5 and 0.5001", True)]),
        ("a.txt", "loss 0.5 at 3", "loss 0.6 at 3", LOOSE, [("line 1: 0.5 and 0.6", False)]),
        ("a.txt", "good 1", "bad 1", LOOSE, [("line 1: 'good 1' and 'bad 1'", False)]),
        ("a.txt", "1\n", "1\n2\n", LOOSE, [("line 2: nothing and '2'", False)]),
        ("a.txt", "nan", "nan", VALUE, []),
        ("a.json", '{"a": 1, "b": [1, 2]}', '{"b": [1.0, 2], "a": 1}', VALUE, []),
        ("a.json", '{"a": [1, 2]}', '{"a": [1, 3]}', VALUE, [("$.a[1]: 2 and 3", False)]),
        ("a.json", '{"a": true}', '{"a": 1}', VALUE, [("$.a: true and 1", False)]),
        ("a.json", "[]", "[null]", VALUE, [("$[0]: nothing and null", False)]),
        ("a.json", '{"a": 1.0}', '{"a": 1.0005}', LOOSE, [("$.a: 1.0 and 1.0005", True)]),
        ("a.jsonl", '{"a": 1}\n{"a": 2}\n', '{"a": 1}\n{"a": 2}', VALUE, []),
        ("a.csv", "x,y\n1,2\n", "x,y\r\n1.0,2\r\n", VALUE, []),
        ("a.csv", 'x,y\n1,"a,b"\n', "x,y\n1,ab\n", VALUE, [("row 2, column 2: 'a,b' and 'ab'", False)]),
        ("a.csv", "x;y\n1;2\n", "x;y\n1;2.001\n", LOOSE, [("row 2, column 2: 2.0 and 2.001", True)]),
        ("a.csv", "x\n1\n", "x\n1\n2\n", VALUE, [("row 3: nothing and ['2']", False)]),
        ("m/MLmodel", "run_id: a\nflavors: 1\n", "run_id: b\nflavors: 1\n", VALUE, []),
        (
            "m/MLmodel",
            "run_id: a\nflavors: x\n",
            "flavors: y\n",
            VALUE,
            [("line 1 without ids and times: 'flavors: x' and 'flavors: y'", False)],
        ),
    ],
)
def test_files_by_value(
    name: str, first: str, second: str, rule: Rule, expected: list[tuple[str, bool]], tmp_path: Path
) -> None:
    for side, text in (("first", first), ("second", second)):
        (tmp_path / side).write_bytes(text.encode())
    assert list(compare_files(name, tmp_path / "first", tmp_path / "second", rule)) == expected


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [("a.json", b"{", b"{}"), ("a.txt", b"\xff\xfe1", b"\xff\xfe2"), ("a.csv", b"\xff", b"\xfe")],
)
def test_what_is_not_what_its_name_says_is_compared_by_bytes(
    name: str, first: bytes, second: bytes, tmp_path: Path
) -> None:
    for side, content in (("first", first), ("second", second)):
        (tmp_path / side).write_bytes(content)
    [(detail, inside)] = compare_files(name, tmp_path / "first", tmp_path / "second", LOOSE)
    assert detail.startswith("byte ")
    assert "not readable as" in detail
    assert not inside


def record(**changes: Any) -> Record:
    return msgspec.structs.replace(RECORD, **changes)


def compared(first: Record, second: Record, rules: VerifyRules | None = None) -> Comparison:
    return compare(first, second, rules or VerifyRules(), (lambda _: None, lambda _: None))


def verdicts(comparison: Comparison) -> dict[str, str]:
    return {finding.name: finding.verdict for finding in comparison.findings}


def test_metrics_are_compared_exactly_unless_a_rule_says_otherwise() -> None:
    first = record(metrics={"a": 1.0, "b": 1.0, "c": 1.0, "n": "NaN", "t": 5.0, "gone": 1.0})
    second = record(metrics={"a": 1.0, "b": 1.0001, "c": 1.0001, "n": "NaN", "t": 9.0, "new": 1.0})
    rules = VerifyRules(metrics={"b": LOOSE, "t*": Rule(how="ignore")})
    assert verdicts(compared(first, second, rules)) == {
        "status": "same",
        "a": "same",
        "b": "within",
        "c": "different",
        "n": "same",
        "t": "ignored",
        "gone": "missing",
        "new": "extra",
    }
    assert not compared(first, second, rules).same


def test_outputs_are_compared_by_digest_and_then_by_content(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("x 0.5")
    (tmp_path / "other").write_text("x 0.50001")
    a, b = (Output(path="r.txt", change="made", size=5, sha256=digest) for digest in ("aa", "bb"))
    first, second = record(outputs=(a,)), record(outputs=(b,))
    places = (lambda _: tmp_path / "one", lambda _: tmp_path / "other")
    ignored = {"*": Rule(how="ignore")}
    for rules, verdict in (({}, "different"), ({"*.txt": LOOSE}, "within"), (ignored, "ignored")):
        comparison = compare(first, second, VerifyRules(outputs=rules), places)
        assert verdicts(comparison)["r.txt"] == verdict
    exact = compare(first, second, VerifyRules(), places).bad[0]
    assert exact.detail == "line 1: 0.5 and 0.50001"
    [gone] = compared(first, second).bad
    assert "was not kept" in gone.detail


def test_links_and_deleted_files_are_results_too() -> None:
    one = (Output(path="l", change="made", link="a"), Output(path="d", change="deleted"))
    other = (Output(path="l", change="made", link="b"), Output(path="d", change="deleted"))
    assert verdicts(compared(record(outputs=one), record(outputs=other))) == {
        "status": "same",
        "l": "different",
        "d": "same",
    }


def test_what_determined_the_results_is_told_apart() -> None:
    plan = RECORD.plan
    second = record(
        plan=msgspec.structs.replace(
            plan,
            source=msgspec.structs.replace(plan.source, commit="c" * 40),
            parameters={**plan.parameters, "alpha": "0.7", "random_seed": "3"},
        ),
        platform=msgspec.structs.replace(
            RECORD.platform,
            cpu="other",
            variables={"OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "1", "LANG": "C"},
        ),
        outcome=msgspec.structs.replace(RECORD.outcome, status="FAILED", exit_code=3, reason="no"),
    )
    comparison = compared(RECORD, second)
    assert [(one.determinant, one.name) for one in comparison.differences] == [
        *(("source", "commit"), ("parameters", "alpha"), ("seed", "random_seed")),
        *(("variables", "LANG"), ("threads", "OMP_NUM_THREADS")),
        *(("seed", "PYTHONHASHSEED"), ("cpu", "model")),
    ]
    assert comparison.findings[0].second == "FAILED, exit code 3"
    assert compared(RECORD, RECORD).same
    assert not compared(RECORD, RECORD).differences
    assert json.loads(msgspec.json.encode(comparison))["differences"]


def test_arrays_by_value(tmp_path: Path) -> None:
    numpy.save(tmp_path / "a.npy", numpy.array([1.0, 2.0, numpy.nan]))
    numpy.save(tmp_path / "b.npy", numpy.array([1.0, 2.0001, numpy.nan]))
    numpy.save(tmp_path / "c.npy", numpy.array([1.0, 2.0]))
    numpy.savez(tmp_path / "a.npz", x=numpy.arange(6).reshape(2, 3), y=numpy.array(3.0))
    numpy.savez(tmp_path / "b.npz", x=numpy.array([[0, 1, 2], [3, 9, 5]]), z=numpy.array(3.0))

    def found(a: str, b: str, rule: Rule) -> list[tuple[str, bool]]:
        return list(compare_files(a, tmp_path / a, tmp_path / b, rule))

    assert found("a.npy", "a.npy", VALUE) == []
    assert found("a.npy", "b.npy", LOOSE) == [("[1]: 2.0 and 2.0001 (1 of 3 differ)", True)]
    assert found("a.npy", "b.npy", VALUE) == [("[1]: 2.0 and 2.0001 (1 of 3 differ)", False)]
    assert found("a.npy", "c.npy", LOOSE) == [("(3,) float64 and (2,) float64", False)]
    assert found("a.npz", "b.npz", LOOSE) == [
        ("array 'x' [1, 1]: 4 and 9 (1 of 6 differ)", False),
        ("array 'y' is only in the first", False),
        ("array 'z' is only in the second", False),
    ]


def test_pictures_by_pixels(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 3), (10, 20, 30))
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "same.png", compress_level=0, dpi=(72, 72))
    picture.putpixel((2, 1), (10, 21, 30))
    picture.save(tmp_path / "b.png")

    def found(b: str, rule: Rule) -> list[tuple[str, bool]]:
        return list(compare_files("a.png", tmp_path / "a.png", tmp_path / b, rule))

    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "same.png").read_bytes()
    assert found("same.png", VALUE) == []
    difference = "pixel [1, 2, 1]: 20.0 and 21.0 (1 of 48 differ)"
    assert found("b.png", VALUE) == [(difference, False)]
    assert found("b.png", Rule(how="value", atol=1)) == [(difference, True)]


def test_a_missing_library_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "numpy", None)
    (tmp_path / "a").write_bytes(b"1")
    with pytest.raises(UnavailableError, match=r"needs numpy; install it: pip install 'projrun\[verify\]'"):
        list(compare_files("a.npy", tmp_path / "a", tmp_path / "a", LOOSE))


@pytest.fixture
def unlike() -> Comparison:
    first = record(metrics={"a|b": 1.0, "x\x00<y>": 1.0, "i": 1.0})
    plan = msgspec.structs.replace(RECORD.plan, parameters={**RECORD.plan.parameters, "seed": "100%"})
    second = record(metrics={"a|b": 2.0, "x\x00<y>": 1.0, "i": 2.0}, plan=plan)
    again = msgspec.structs.replace(second, run_id="b" * 32)
    return compared(first, again, VerifyRules(metrics={"i": Rule(how="ignore")}))


def test_reports_say_the_same_in_every_format(unlike: Comparison) -> None:
    shown = {name: report(unlike) for name, report in FORMATS.items()}
    assert "metric a|b" in shown["text"] and "not the same: 1 of 3 results" in shown["text"]
    assert "seed seed: not set, then 100%" in shown["text"]
    assert json.loads(shown["json"])["same"] is False
    suite = ElementTree.fromstring(shown["junit"])
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "1")
    assert "metric a\\|b" in shown["markdown"] and "&lt;y>" in shown["markdown"]
    assert shown["github"].splitlines()[0].startswith("::error title=projrun verify::metric a|b is different")
    assert "100%25" in shown["github"]


def test_reports_of_equal_runs_say_so() -> None:
    equal = compared(RECORD, msgspec.structs.replace(RECORD, run_id="b" * 32))
    assert "the same: 1 results" in FORMATS["text"](equal)
    assert FORMATS["github"](equal).startswith("::notice")
    assert ElementTree.fromstring(FORMATS["junit"](equal)).get("failures") == "0"


def test_a_run_that_has_become_the_baseline_is_not_compared_with_itself() -> None:
    itself = compared(RECORD, RECORD)
    for form in ("text", "github"):
        assert "the baseline was written: later runs are held to 1 results" in FORMATS[form](itself)
    assert f"### Run {RECORD.run_id[:8]}: the baseline\n" in FORMATS["markdown"](itself)
