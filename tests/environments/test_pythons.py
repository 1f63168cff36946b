from __future__ import annotations

import sys
from pathlib import Path

import pytest

from projrun.environments import pythons
from projrun.errors import BuildError

RUNNING = ".".join(map(str, sys.version_info[:3]))


@pytest.fixture
def three_pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 3.8.5, 3.8.18 and 3.9.1 under pyenv, and the running one."""
    for version in ("3.8.5", "3.8.18", "3.9.1"):
        python = tmp_path / "pyenv" / "versions" / version / "bin" / "python3"
        python.parent.mkdir(parents=True)
        python.write_text("#!/bin/sh\nexit 99\n")
    (tmp_path / "pyenv" / "versions" / "my-project").mkdir()
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("three_pythons")
@pytest.mark.parametrize(
    ("wanted", "version", "notice"),
    [
        ("3.8.5", "3.8.5", ""),
        ("3.8", "3.8.18", ""),
        ("3.8.16", "3.8.18", "Python 3.8.16 is not on this machine; using 3.8.18"),
        ("3.8.1", "3.8.5", "Python 3.8.1 is not on this machine; using 3.8.5"),
        (">=3.8,<3.9", "3.8.18", ""),
        ("~=3.9.0", "3.9.1", ""),
        ("", RUNNING, ""),
        (">=3.10", RUNNING, ""),
    ],
)
def test_the_wantednames_the_interpreter(wanted: str, version: str, notice: str) -> None:
    python, said = pythons.choose(wanted)
    assert (python.version_text, said) == (version, notice)


@pytest.mark.usefixtures("three_pythons")
@pytest.mark.parametrize("wanted", ["2.7", "3.7.1", ">=4", "3.99"])
def test_a_python_that_is_not_there_names_those_that_are(wanted: str) -> None:
    with pytest.raises(BuildError, match=r"3\.8\.5, 3\.8\.18, 3\.9\.1"):
        pythons.choose(wanted)


def test_what_is_no_version_is_said_so() -> None:
    with pytest.raises(BuildError, match="'three' is not a Python version"):
        pythons.choose("three")


def test_pythons_on_path_are_asked_and_shims_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for directory, version in (("bin", "3.88.1"), ("shims", "3.88.2")):
        python = tmp_path / directory / "python3.88"
        python.parent.mkdir()
        python.write_text(f"#!/bin/sh\necho {version}\n")
        python.chmod(0o755)
    broken = tmp_path / "bin" / "python3.77"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:{tmp_path / 'bin'}:/bin")
    assert pythons.choose("3.88")[0].version_text == "3.88.1"


@pytest.mark.usefixtures("home")
def test_every_interpreter_found_is_listed_once() -> None:
    found = [python.path.resolve() for python in pythons.installed()]
    assert len(found) == len(set(found))
