"""Values against types, and what the command gets for a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from projrun.project.mlproject import Parameter
from projrun.project.parameters import download_name, find_misfit, kind_of, local_path


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        *((name, "string") for name in ("str", "string", "STRING", " string ")),
        *((name, "float") for name in ("float", "number", "Float")),
        *((name, "int") for name in ("int", "integer")),
        *((name, "bool") for name in ("bool", "boolean")),
        ("path", "path"),
        ("uri", "uri"),
        ("list", "list"),
        ("list[int]", "list[int]"),
        ("List[ number ]", "list[float]"),
        *((name, "") for name in ("Path", "URI", "enum", "list[x]", "None", "")),
    ],
)
def test_kinds(written: str, kind: str) -> None:
    assert kind_of(Parameter(name="p", type=written)) == kind


@pytest.mark.parametrize(
    ("type", "good", "bad"),
    [
        ("int", ("0", "-3", "+3", "007", " 5 "), ("", "1.0", "1e3", "1_000", "٣", "x", "0x1")),
        (
            "float",
            ("0.1", ".5", "5.", "1e-3", "-1E+3", "nan", "-inf", "Infinity", "3"),
            ("", ".", "e3", "1_0", "1e", "0,5", "-"),
        ),
        ("bool", ("true", "FALSE", "1", "0", "Yes", "no"), ("", "on", "maybe", "2")),
        ("uri", ("s3://b/k", "mailto:x", "file:a"), ("", "a/b", "1a:b", "//host/x")),
        ("list[int]", ("1,2", "[1, 2]", "1 2", "", "[]", "(3,)", "['4']"), ("1,x", "[1.5]")),
        ("list", ("anything", ""), ()),
        ("str", ("", "\n"), ()),
    ],
)
def test_values_of_types(type: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    parameter = Parameter(name="p", type=type)
    assert [value for value in good if find_misfit(parameter, value)] == []
    assert [value for value in bad if not find_misfit(parameter, value)] == []


@pytest.mark.parametrize(
    ("parameter", "value", "reason"),
    [
        (Parameter(name="p", type="float"), "abc", "'abc' is not a float"),
        (Parameter(name="p", type="int", min=1), "0", "'0' is less than 1"),
        (Parameter(name="p", type="float", max=0.5), "0.51", "'0.51' is more than 0.5"),
        (Parameter(name="p", type="float", min=0), "nan", "'nan' is less than 0"),
        (Parameter(name="p", choices=("a", "b")), "c", "'c' is not one of a, b"),
        (Parameter(name="p", type="list[int]"), "1,x", "'x' is not an int, in '1,x'"),
        (Parameter(name="p", type="int"), "a\nb", "'a\\nb' is not an int"),
        (Parameter(name="p", type="float", choices=("0.1", "1")), "1.0", ""),
        (Parameter(name="p", type="bool", choices=("True",)), "yes", ""),
    ],
)
def test_reasons(parameter: Parameter, value: str, reason: str) -> None:
    assert find_misfit(parameter, value) == reason


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("a/b.csv", "/home/me/a/b.csv"),
        ("../x", "/home/x"),
        ("/a//b/../c/", "/a/c"),
        ("~", "/home/me/~"),
        ("50%25.csv", "/home/me/50%25.csv"),
        ("file:///a/b%20c", "/a/b c"),
        ("file:a", "/home/me/a"),
        ("file:/a", "/a"),
        ("file://localhost/a", "/a"),
    ],
)
def test_paths(value: str, path: str) -> None:
    assert local_path(value, Path("/home/me")) == path


@pytest.mark.parametrize("value", ["s3://b/k", "https://x/y", "runs:/1/m", "file://host/a", "dbfs:/x"])
def test_remote_paths_are_not_of_this_machine(value: str, tmp_path: Path) -> None:
    assert local_path(value, tmp_path) == ""


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x/a/b.csv", "b.csv"),
        ("https://x/a/b%20c.csv?version=2#part", "b c.csv"),
        ("s3://bucket/set/", "set"),
        ("https://x", "x"),
        ("https://me:pw@x", "x"),
        ("https://x/a/%2e%2e", "download"),
        ("https://x/%2fetc%2fpasswd", "download"),
        ("https://x/a%00b", "download"),
        ("runs:/1/m.bin", "m.bin"),
        ("zip://in/a.csv::file:///b.zip", "b.zip"),
    ],
)
def test_names_of_downloads(url: str, name: str) -> None:
    assert download_name(url) == name


def test_a_file_that_looks_like_a_uri_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a:b").touch()
    assert local_path("a:b", tmp_path) == f"{tmp_path}/a:b"
