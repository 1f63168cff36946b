from __future__ import annotations

import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.environments import interpreters
from projrun.environments.lock_store import lock_once
from projrun.errors import BuildError
from projrun.plan import Descriptor, Lock
from tests.conftest import MakeProject, Projrun

FACTS = "pythons-v1.json"
RUNNING = ".".join(map(str, sys.version_info[:3]))


def stand_in(python: Path, version: str) -> None:
    """A program that says it is this Python."""
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f'#!/bin/sh\necho asked >> "$0.asked"\necho {version} "$0"\n')
    python.chmod(0o755)


def times_asked(python: Path) -> int:
    asked = Path(f"{python}.asked")
    return len(asked.read_text().splitlines()) if asked.exists() else 0


@pytest.fixture
def three_pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 3.8.5, 3.8.18 and 3.9.1 under pyenv, and the running one."""
    for version in ("3.8.5", "3.8.18", "3.9.1"):
        python = tmp_path / "pyenv" / "versions" / version / "bin" / "python3"
        stand_in(python, version)
    (tmp_path / "pyenv" / "versions" / "my-project").mkdir()
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "none"))


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
    python, said = interpreters.choose(wanted)
    assert (python.version_text, said) == (version, notice)


@pytest.mark.usefixtures("three_pythons")
@pytest.mark.parametrize("wanted", ["3.98.1", ">=4", "3.99"])
def test_a_python_that_is_not_there_names_those_that_are(wanted: str) -> None:
    with pytest.raises(BuildError, match=r"3\.8\.5, 3\.8\.18, 3\.9\.1"):
        interpreters.choose(wanted)


def test_what_is_no_version_is_said_so() -> None:
    with pytest.raises(BuildError, match="'three' is not a Python version"):
        interpreters.choose("three")


def test_pythons_on_path_are_asked_and_shims_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for directory, version in (("bin", "3.88.1"), ("shims", "3.88.2")):
        stand_in(tmp_path / directory / "python3.88", version)
    broken = tmp_path / "bin" / "python3.77"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:{tmp_path / 'bin'}:/bin")
    assert interpreters.choose("3.88")[0].version_text == "3.88.1"


def test_what_is_no_working_interpreter_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = tmp_path / "pyenv" / "versions"
    stand_in(versions / "3.77.1" / "bin" / "python3", "3.66.4")  # named for another version
    (versions / "3.77.2" / "bin").mkdir(parents=True)
    (versions / "3.77.2" / "bin" / "python3").symlink_to("/no/such/python")
    (versions / "3.77.3").mkdir()
    (versions / "3.77.4" / "bin").mkdir(parents=True)
    (versions / "3.77.4" / "bin" / "python3").write_text("no program")
    shim = versions / "3.77.5" / "bin" / "python3"
    stand_in(shim, "3.77.5")
    shim.write_text("#!/bin/sh\necho 3.77.5 /another/python3\n")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "none"))
    assert {python.version_text for python in interpreters.installed()} == {RUNNING, "3.66.4"}


@pytest.mark.usefixtures("three_pythons")
def test_an_interpreter_is_asked_again_only_when_its_file_changed(tmp_path: Path, home: Home) -> None:
    python = tmp_path / "pyenv" / "versions" / "3.8.5" / "bin" / "python3"
    for _ in range(3):
        assert interpreters.choose("3.8.5")[0].version_text == "3.8.5"
    assert times_asked(python) == 1
    stand_in(python, "3.8.6 ")
    assert interpreters.choose("3.8.6")[0].version_text == "3.8.6"
    assert times_asked(python) == 2
    (home.cache / FACTS).write_text("{")
    assert interpreters.choose("3.8.6")[0].version_text == "3.8.6"
    assert times_asked(python) == 3


@pytest.mark.parametrize("wanted", ["3.7", "3.6.15", "2.7"])
def test_a_python_too_old_to_make_environments_for_is_said_so(wanted: str) -> None:
    with pytest.raises(BuildError, match=rf"{wanted}, and environments can be made for 3\.8 and newer"):
        interpreters.choose(wanted)


@pytest.mark.usefixtures("three_pythons")
def test_strict_python_refuses_another_patch(make_project: MakeProject, projrun: Projrun) -> None:
    project = make_project(
        MLproject="name: p\npython_env: python_env.yaml\nentry_points: {main: {command: 'true'}}\n",
        **{"python_env.yaml": "python: 3.8.16\n"},
    )
    for verb in (("run",), ("env", "build"), ("shell",)):
        refused = projrun(*verb, "--strict-python", project)
        assert refused.returncode == 125
        assert "the project wants Python 3.8.16, and the nearest here is 3.8.18" in refused.stderr


@pytest.mark.parametrize(
    ("variable", "value", "asks"),
    [
        ("PROJRUN_PYTHON_DOWNLOADS", "1", True),
        ("UV_PYTHON_DOWNLOADS", "automatic", True),
        ("UV_PYTHON_DOWNLOADS", "manual", False),
        *(("PROJRUN_PYTHON_DOWNLOADS", no, False) for no in ("0", "false", "No", "off", "never")),
    ],
)
def test_a_python_is_downloaded_only_where_that_is_allowed(
    variable: str, value: str, asks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Mirror(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "managed"))
    monkeypatch.delenv("UV_PYTHON_DOWNLOADS", raising=False)
    monkeypatch.setenv(variable, value)
    absent = "3.9" if sys.version_info[:2] != (3, 9) else "3.10"
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(BuildError) as caught:
            interpreters.choose(absent)
        server.shutdown()
    assert bool(asked) == asks
    assert ("could not be downloaded" in str(caught.value)) == asks
    assert "\n" not in caught.value.message


@pytest.mark.usefixtures("home")
def test_every_interpreter_found_is_listed_once() -> None:
    found = [python.path.resolve() for python in interpreters.installed()]
    assert len(found) == len(set(found))


@pytest.mark.usefixtures("three_pythons")
def test_an_interpreter_that_was_upgraded_in_its_place_is_another_lock(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    def lock() -> Lock:
        descriptor = Descriptor(kind="none", python="3.9")
        return lock_once("uv", descriptor, tmp_path, home, tmp_path / "log")

    first = lock()
    python = Path(first.interpreter)
    os.utime(python)  # touched, and still the same
    assert lock() == first
    capsys.readouterr()
    stand_in(python, "3.9.22")
    upgraded = lock()
    assert (first.python, upgraded.python) == ("3.9.1", "3.9.22")
    assert f"{python} was Python 3.9.1 and is 3.9.22 now" in capsys.readouterr().err
    assert lock() == upgraded
