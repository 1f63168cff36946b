"""Whatever stands in the files, the answer is a project or an error with a place: never a traceback."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projrun.errors import ProjectError, ProjrunError
from projrun.project import read_project
from projrun.project.command import render_command
from projrun.project.mlproject import EntryPoint, Parameter
from projrun.project.validate import check_project
from tests.project.corpus import CASES

EXAMPLES = int(os.environ.get("PROJRUN_TEST_EXAMPLES", "100"))
PARAMETERS = {"x": Parameter(name="x"), "y": Parameter(name="y", required=False)}
ANY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

TEXTS = sorted({text for case in CASES for text in case.files.values() if text})
WORDS = (
    *b"' \" { } [ ] : , - #  &a *a !!set ? <<: null ~ 1e999 2001-99-99 !!binary $( ` <<E \\ @ %".split(b" "),
    *b"parameters command type default python_env docker_env conda_env".split(),
    *(b"|\n", b">\n", b"\n", b"\t", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", "é\u2028".encode()),
    b"0x" + b"f" * 5000,
)
SHELL_WORDS = "{x} {y} ' \" $ $( ) (( )) ` \\ # <<E ${ } { {{ }} [[ ]] esac a -b = > | ; $' E $[ ]"
SHELL = [*SHELL_WORDS.split(), "\n", " ", "\nE\n", "case a in"]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
KEYS = (
    "name entry_points main parameters command type default choices min required flag python_env conda_env "
    "docker_env image volumes environment dependencies python pip channels"
)
keys = st.sampled_from(KEYS.split()) | scalars
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
yaml_files = documents.map(lambda data: yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode())


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    content = draw(st.sampled_from(TEXTS)).encode()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        cut = draw(st.integers(0, 6))
        content = content[:at] + draw(st.sampled_from(WORDS)) + content[at + cut :]
    return content


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("anything")


def answers(directory: Path) -> None:
    assert all(finding.line and finding.file for finding in check_project(directory))
    try:
        project = read_project(directory)
    except ProjectError as error:
        assert error.file
        assert "\n" not in str(error)
        return
    for name in project.entry_points:
        try:
            entry_point = project.entry_point(name)
            render_command(entry_point, dict.fromkeys(entry_point.parameters, "1"), caller=directory)
        except ProjrunError as error:
            assert str(error)


@ANY
@given(content=st.one_of(mutated(), yaml_files, st.binary(max_size=60)))
def test_any_mlproject_file_gets_an_answer(directory: Path, content: bytes) -> None:
    (directory / "MLproject").write_bytes(content)
    answers(directory)


@ANY
@given(
    content=st.one_of(mutated(), yaml_files),
    name=st.sampled_from(["python_env", "conda_env"]),
)
def test_any_descriptor_gets_an_answer(directory: Path, name: str, content: bytes) -> None:
    (directory / "MLproject").write_text(f"{name}: env.yaml\n")
    (directory / "env.yaml").write_bytes(content)
    answers(directory)


@ANY
@given(command=st.lists(st.sampled_from(SHELL), max_size=25).map("".join))
def test_any_command_gets_an_answer(command: str) -> None:
    for values in ({"x": "a b"}, {"x": "1", "more": "2"}):
        try:
            render_command(
                EntryPoint(name="main", command=command, parameters=PARAMETERS), values, caller=Path("/")
            )
        except ProjrunError as error:
            assert str(error)


@pytest.mark.parametrize(
    "piece",
    [
        "{x} ",
        "'{x}' ",
        '"$({x})" ',
        "<<E ",
        "{",
        "}}",
        "$((",
        "\\\n",
        "[[ {x} ",
        "`{x}` ",
        "#{x}",
        "# {x}\n",
        "--a {y} ",
        "{x}",
        "{y}",
        "a[{x}]=",
        "<<E\n{x}\nE\n",
        " ",
    ],
)
def test_work_grows_with_the_length_of_a_command_and_no_faster(piece: str) -> None:
    short, long = calls_for(piece * (20_000 // len(piece))), calls_for(piece * (80_000 // len(piece)))
    assert long < 6 * short + 1000


def calls_for(command: str) -> int:
    """Count the function calls that rendering `command` takes."""
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        with contextlib.suppress(ProjrunError):
            render_command(
                EntryPoint(name="m", command=command, parameters=PARAMETERS), {"x": "1"}, caller=Path("/")
            )
    finally:
        sys.setprofile(None)
    return count
