"""Install what is released as strangers do: on every Python here, and with the oldest dependencies."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from uv import find_uv_bin

from projrun.environments import interpreters
from projrun.errors import ProjrunError
from tests.support.repository import ROOT

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
IMPORT_ALL = """
import importlib, pkgutil, projrun
for module in pkgutil.walk_packages(projrun.__path__, "projrun."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            # what runs inside the process that has rattler
            assert error.name == "rattler" and ".rattler" in module.name, module.name
"""
SCRIPT = """
from pathlib import Path

import projrun
from projrun.errors import ProjrunError


def train(project: Path, alpha: float) -> str:
    submitted = projrun.run(str(project), parameters={"alpha": alpha}, env_manager="local")
    reveal_type(submitted)
    reveal_type(submitted.get_status())
    if not submitted.wait():
        raise SystemExit(submitted.run_id)
    return submitted.run_id


try:
    print(train(Path("."), 0.5))
except ProjrunError as error:
    print(error.hint)
"""


def run(*command: str | Path, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if "Could not connect" in done.stderr and not os.environ.get("PROJRUN_TEST_ENGINES"):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def uv(*arguments: str | Path, environ: Mapping[str, str] | None = None) -> str:
    return run(find_uv_bin(), "--quiet", *arguments, environ=environ)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the sdist."""
    directory = tmp_path_factory.mktemp("dist")
    run(find_uv_bin(), "--quiet", "build", "--out-dir", directory, ROOT)
    return directory


@pytest.fixture(scope="module")
def wheel(released: Path) -> Path:
    (found,) = released.glob("*.whl")
    return found


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_package_alone(wheel: Path) -> None:
    names = names_in(wheel)
    package = {name for name in names if name.startswith("projrun/")}
    assert all(".dist-info/" in name for name in names - package)
    assert "projrun/py.typed" in package
    assert not {name for name in package if "__pycache__" in name or "/tests/" in name}
    listed = run("git", "-C", ROOT, "ls-files", "projrun").split()
    assert package == set(listed)


def test_the_sdist_makes_the_same_wheel(released: Path, wheel: Path, tmp_path: Path) -> None:
    (sdist,) = released.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        top = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert {
        "projrun",
        "tests",
        "examples",
        "schemas",
        "docs",
        "README.md",
        "LICENSE",
        "pyproject.toml",
    } <= top
    uv("build", "--wheel", "--out-dir", tmp_path, sdist)
    (again,) = tmp_path.glob("*.whl")
    assert names_in(again) == names_in(wheel)


@pytest.mark.parametrize("version", PYTHONS)
def test_its_dependencies_have_wheels(version: str, wheel: Path, tmp_path: Path) -> None:
    uv("pip", "install", "--python-version", version, "--only-binary", ":all:", "--target", tmp_path, wheel)


@pytest.mark.parametrize("version", PYTHONS)
def test_it_works_where_only_the_wheel_is_installed(version: str, wheel: Path, tmp_path: Path) -> None:
    """Without extras: every module can be imported, and a project runs."""
    python = environment(tmp_path, version, wheel)
    run(python, "-I", "-W", "error::SyntaxWarning", "-c", IMPORT_ALL)
    runs_a_project(python, tmp_path)


def test_it_works_with_the_oldest_dependencies_that_it_names(wheel: Path, tmp_path: Path) -> None:
    python = environment(tmp_path, "<3.12", wheel, "--resolution", "lowest-direct")
    run(python, "-I", "-c", IMPORT_ALL)
    runs_a_project(python, tmp_path)


def environment(place: Path, version: str, *install: str | Path) -> Path:
    """The Python of a new environment. Skips where there is no such version."""
    try:
        found, _ = interpreters.choose(version)
    except ProjrunError:
        pytest.skip(f"Python {version} is not on this machine")
    uv("venv", "--python", found.path, place / "venv")
    python = place / "venv" / "bin" / "python"
    uv("pip", "install", "--python", python, *install)
    return python


def runs_a_project(python: Path, place: Path) -> None:
    project = place / "project"
    project.mkdir()
    (project / "MLproject").write_text(
        "name: released\npython_env: python_env.yaml\nentry_points:\n  main:\n"
        "    parameters: {x: {type: int, default: 1}}\n    command: python -c 'print(1 + int({x}))'\n"
    )
    (project / "python_env.yaml").write_text("dependencies: []\n")
    projrun = python.with_name("projrun")
    assert run(projrun, "run", project, "-P", "x=41") == "42\n"
    assert "FINISHED" in run(projrun, "runs", "list")
    assert run(projrun, "--version").startswith("projrun ")


def test_a_script_of_a_user_is_typed(wheel: Path, tmp_path: Path) -> None:
    python = environment(tmp_path, HERE, wheel)
    (tmp_path / "script.py").write_text(SCRIPT)
    told = run(
        *(sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--python-executable", python),
        "script.py",
        cwd=tmp_path,
    )
    assert 'Revealed type is "projrun.' in told and "Any" not in told, told


def test_uv_installs_it_as_a_tool(wheel: Path, tmp_path: Path) -> None:
    places = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    uv("tool", "install", "--python", sys.executable, wheel, environ=places)
    assert run(tmp_path / "bin" / "projrun", "--version").startswith("projrun ")


def test_pipx_installs_it(wheel: Path, tmp_path: Path) -> None:
    pipx = environment(tmp_path, HERE, "pipx").with_name("pipx")
    places = {"PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    run(pipx, "install", "--python", sys.executable, wheel, environ=places)
    assert run(tmp_path / "bin" / "projrun", "--version").startswith("projrun ")
