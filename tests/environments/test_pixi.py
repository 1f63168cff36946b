"""Projects of pixi: their pixi.lock, as `--env-manager pixi` builds, runs and reproduces it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.environments import pixi
from projrun.errors import BuildError
from projrun.plan import Descriptor
from projrun.project import read_project
from tests.conftest import MakeProject, Projrun
from tests.environments.test_environment_store import packages_of, provided, python_says

MANIFEST = '[{table}workspace]\nchannels = ["x"]\nplatforms = []\n[{table}activation.env]\nMODE = "fast"\n'
PYPROJECT = '[project]\nname = "here"\nversion = "1"\n[build-system]\nrequires = []\n'
RUN = "python -c 'import six, tinylib, os; print(six.__version__, os.environ[\"MODE\"])'"


@pytest.mark.parametrize("file", ["pixi.toml", "pyproject.toml"])
def test_a_run_of_a_pixi_project_is_reproduced_and_verified(
    file: str, pixi_lock: str, projrun: Projrun, make_project: MakeProject
) -> None:
    manifest = MANIFEST.format(table="" if file == "pixi.toml" else "tool.pixi.")
    manifest = manifest if file == "pixi.toml" else PYPROJECT + manifest
    project = make_project(
        MLproject=f"entry_points: {{main: {{command: {json.dumps(RUN)}}}}}\n",
        **{file: manifest, "pixi.lock": pixi_lock},
    )
    done = projrun("run", project, "--env-manager", "pixi")
    assert (done.returncode, done.stdout) == (0, "1.16.0 fast\n"), done.stderr
    run_id = json.loads(projrun("runs", "list", "--json").stdout)[0]["run_id"]
    verified = projrun("verify", run_id)
    assert verified.returncode == 0, verified.stderr
    assert "1.16.0 fast" in projrun("reproduce", run_id).stdout


def test_only_what_is_in_the_lock_is_installed(pixi_lock: str, home: Home, tmp_path: Path) -> None:
    (tmp_path / "pixi.toml").write_text(MANIFEST.format(table=""))
    (tmp_path / "pixi.lock").write_text(pixi_lock)
    made = provided(read_project(tmp_path).descriptor, home, tmp_path, "pixi")
    assert packages_of(made).keys() == {"python", "python_abi", "tinylib", "six"}
    assert packages_of(made)["tinylib"] == "1.0.0"
    assert made.launch.variables["MODE"] == "fast"
    assert python_says(made, "import six; print(six.__version__)") == "1.16.0"


def test_a_pixi_project_without_its_lock_is_refused(home: Home, tmp_path: Path) -> None:
    descriptor = Descriptor(kind="none")
    with pytest.raises(BuildError, match=r"no pixi\.toml and no \[tool\.pixi\]"):
        provided(descriptor, home, tmp_path, "pixi")
    (tmp_path / "pixi.toml").write_text(MANIFEST.format(table=""))
    (tmp_path / "pixi.lock").unlink(missing_ok=True)
    with pytest.raises(BuildError, match=r"the project has no pixi\.lock; run `pixi lock`"):
        provided(descriptor, home, tmp_path, "pixi")


def test_a_package_in_the_project_is_a_local_requirement(pixi_lock: str, home: Home, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT + MANIFEST.format(table="tool.pixi."))
    own = pixi_lock.replace("\npackages:\n", "\n      - pypi: ./\npackages:\n")
    (tmp_path / "pixi.lock").write_text(f"{own}- pypi: ./\n  name: here\n  version: '1'\n  editable: true\n")
    lock = pixi.lock(read_project(tmp_path).descriptor, tmp_path, tmp_path / "log")
    assert [(one.name, one.path) for one in lock.local] == [("here", ".")]
    assert "six" in lock.pylock


@pytest.mark.parametrize("text", ["[activation]\nenv = 3\n", "workspace = 1\n"])
def test_a_bad_manifest_is_one_line(text: str, home: Home, tmp_path: Path) -> None:
    (tmp_path / "pixi.toml").write_text(text)
    with pytest.raises(BuildError, match=r"pixi\.toml is no manifest of pixi"):
        provided(Descriptor(kind="none"), home, tmp_path, "pixi")
