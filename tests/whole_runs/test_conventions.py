"""Stories of projects without an MLproject file: scripts, pyproject.toml, notebooks, R."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import MakeProject, Projrun

ENGINES = os.environ.get("PROJRUN_TEST_ENGINES") == "1"
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"

INLINE = """#!/usr/bin/env python
# /// script
# requires-python = ">=3.10"
# dependencies = [
#     "six==1.16.0",
# ]
# ///
import json, sys, six
print(json.dumps([six.__version__, *sys.argv[1:]]))
"""
PYPROJECT = """
[project]
name = "forecast"
version = "1"
requires-python = ">=3.10"
dependencies = ["six==1.16.0"]

[project.scripts]
forecast-train = "forecast.cli:App.train"
"""
CLI = """
import json, os, sys, six

class App:
    def train():
        print(json.dumps([six.__version__, *sys.argv]))
        return 3 if "fail" in sys.argv else 0
"""


def last_run(projrun: Projrun) -> dict[str, Any]:
    listed = json.loads(projrun("runs", "list", "--json").stdout)
    shown: dict[str, Any] = json.loads(projrun("runs", "show", listed[0]["run_id"], "--json").stdout)
    return shown


def environment(projrun: Projrun) -> dict[str, Any]:
    planned: dict[str, Any] = last_run(projrun)["record"]["plan"]["environment"]
    return planned


def notebook(*cells: str) -> str:
    """Cells as they come: the first has the parameters. Without a kernel, as tools write them."""
    tagged: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"cell{number}",
            "metadata": {"tags": ["parameters"] if number == 0 else []},
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(cells)
    ]
    return json.dumps({"cells": tagged, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def test_a_script_brings_its_own_environment(projrun: Projrun, make_project: MakeProject) -> None:
    project = make_project(**{"train.py": INLINE})
    done = projrun("run", project, "-e", "train.py", "-P", "alpha=0.5")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["1.16.0", "--alpha", "0.5"]
    planned = environment(projrun)
    assert planned["manager"] == "uv"
    descriptor = planned["descriptor"]
    assert (descriptor["kind"], descriptor["file"]) == ("script", "train.py")
    assert (descriptor["python"], descriptor["dependencies"]) == (">=3.10", ["six==1.16.0"])


def test_a_function_of_a_pyproject_is_an_entry_point(projrun: Projrun, make_project: MakeProject) -> None:
    project = make_project(
        **{"pyproject.toml": PYPROJECT, "src/forecast/__init__.py": "", "src/forecast/cli.py": CLI}
    )
    for entry_point in ("forecast-train", "main"):
        done = projrun("run", project, "-e", entry_point, "-P", "alpha=it's")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == ["1.16.0", "forecast-train", "--alpha", "it's"]
    shown = last_run(projrun)
    assert shown["record"]["plan"]["project"] == "forecast"
    assert environment(projrun)["descriptor"]["kind"] == "pyproject"
    assert str(project) not in shown["record"]["plan"]["command"]
    assert projrun("run", project, "-P", "fail=1", "-P", "x=fail").returncode == 3


def test_modules_beside_the_pyproject_are_found_and_pythonpath_is_kept(
    projrun: Projrun, make_project: MakeProject, tmp_path: Path
) -> None:
    scripts = '[project]\nname = "a"\n[project.scripts]\none = "tool:main"\ntwo = "tool:main"\n'
    code = "import helper, sys\ndef main():\n    print(helper.TEXT, sys.argv[0])\n"
    project = make_project(**{"pyproject.toml": scripts, "tool.py": code})
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "helper.py").write_text("TEXT = 'found'\n")
    environ = {"PYTHONPATH": str(tmp_path / "more")}
    done = projrun("run", project, "-e", "two", "--env-manager", "local", environ=environ)
    assert done.stdout == "found two\n", done.stderr
    no_main = projrun("run", project, "--env-manager", "local")
    assert no_main.returncode == 125
    assert "there is no entry point 'main'; choose one of one, two, or a script" in no_main.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[project\n", "pyproject.toml:1: is not valid TOML"),
        ("project = 1\n", "'project' is not a table"),
        ('[project]\n[project.scripts]\na = "b"\n', "the script 'a' is not 'module:function'"),
        ('[project]\n[project.scripts]\na = "b:c;import os"\n', "the script 'a' is not 'module:function'"),
        ('[project]\n[project.scripts]\na = "gone:main"\n', "the module 'gone' of script 'a' is neither in"),
        ('[project]\ndependencies = "six"\n', "'dependencies' is not a list of requirements"),
        ('[project]\ndependencies = ["-r x.txt"]\n', "'dependencies' is not a list of requirements"),
        ('[project]\nrequires-python = "three"\n', "requires-python: 'three' is not a Python version"),
        ('[project]\ndynamic = ["dependencies"]\n', "the dependencies are dynamic"),
        ("a = " + "[" * 5000 + "]" * 5000, "pyproject.toml: is n"),
    ],
)
def test_a_wrong_pyproject_is_one_line(
    projrun: Projrun, make_project: MakeProject, text: str, told: str
) -> None:
    project = make_project(**{"pyproject.toml": text, "run.sh": "echo yes\n"})
    done = projrun("run", project, "-e", "run.sh")
    assert done.returncode == 125
    assert told in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_mlprojects_run_beside_any_pyproject(projrun: Projrun, make_project: MakeProject) -> None:
    mlproject = "entry_points: {main: {command: 'echo ran'}}\n"
    for text in ("[project\n", '[project]\ndynamic = ["dependencies"]\n', "[tool.black]\n"):
        project = make_project(MLproject=mlproject, **{"pyproject.toml": text})
        done = projrun("run", project)
        assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
        assert environment(projrun)["descriptor"]["kind"] == "none"
        assert ("warning: pyproject.toml" in done.stderr) == ("black" not in text)


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("# /// script\n# a = [\n# ///\n", "train.py:"),
        ("# /// script\n# a = 1\n# a = 2\n# ///\n", "train.py:4: is not valid TOML"),
        ("# /// script\n# a = 1\n# ///\n\n# /// script\n# b = 1\n# ///\n", "train.py:6: has a second"),
        ("# /// script\n# dependencies = [1]\n# ///\n", "train.py: 'dependencies' is not a list"),
    ],
)
def test_wrong_metadata_in_a_script_is_one_line(
    projrun: Projrun, make_project: MakeProject, block: str, told: str
) -> None:
    done = projrun("run", make_project(**{"train.py": f"#!python\n{block}"}), "-e", "train.py")
    assert done.returncode == 125
    assert told in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_settings_of_uv_in_a_script_are_ignored_aloud(projrun: Projrun, make_project: MakeProject) -> None:
    text = "# /// script\n# dependencies = []\n# [tool.uv]\n# exclude-newer = '2024-01-01'\n# ///\n"
    project = make_project(**{"train.py": text})
    done = projrun("run", project, "-e", "train.py", "--env-manager", "local")
    assert done.returncode == 0
    assert "warning: train.py: [tool.uv] is ignored: exclude-newer" in done.stderr


def test_notebooks_are_checked_before_anything_is_built(projrun: Projrun, make_project: MakeProject) -> None:
    project = make_project(**{"a.ipynb": "not JSON", "b.ipynb": "[]"})
    for name in ("a.ipynb", "b.ipynb"):
        done = projrun("run", project, "-e", name)
        assert done.returncode == 125
        assert f"{name}: is not a notebook" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_notebook_without_papermill_is_one_clear_line(
    projrun: Projrun, make_project: MakeProject, bare_path: dict[str, str]
) -> None:
    project = make_project(**{"a.ipynb": notebook("x = 1")})
    done = projrun("run", project, "-e", "a.ipynb", "--env-manager", "local", environ=bare_path)
    assert done.returncode == 125
    assert "the run needs papermill, which is not in its environment; install papermill" in done.stderr
    assert last_run(projrun)["status"] == "FAILED"


def test_a_notebook_runs_with_parameters_and_is_kept(projrun: Projrun, make_project: MakeProject) -> None:
    """Real papermill from the index; python_env.yaml names ipykernel, so papermill alone is added."""
    analysis = notebook(
        "alpha = 0.1\nname = 'none'\nfail = False",
        "print('alpha', alpha * 2, name)",
        "import os; print(os.environ['MLFLOW_RUN_ID'], os.getcwd())",
        "assert not fail",
    )
    project = make_project(
        **{
            "sub/analysis.ipynb": analysis,
            "python_env.yaml": f"python: '{MINOR}'\ndependencies: [ipykernel]\n",
        }
    )
    command = ("run", project, "-e", "sub/analysis.ipynb", "-P", "alpha=0.5")
    done = projrun(*command, "-P", "name=two words")
    if done.returncode == 125 and not ENGINES:
        pytest.skip(f"papermill cannot be installed: {done.stderr}")
    assert done.returncode == 0, done.stderr
    assert "added to the environment for the entry point: papermill" in done.stderr
    shown = last_run(projrun)
    assert "alpha 1.0 two words" in done.stdout + done.stderr
    assert f"{shown['run_id']} {project}" in done.stdout + done.stderr
    executed = json.loads(kept_notebook(shown))
    assert "alpha 1.0 two words" in str(executed["cells"])
    assert sorted(path.name for path in project.rglob("*")) == ["analysis.ipynb", "python_env.yaml", "sub"]

    failed = projrun(*command, "-P", "fail=true")
    assert failed.returncode == 1
    shown = last_run(projrun)
    assert shown["status"] == "FAILED"
    assert "AssertionError" in kept_notebook(shown)


def kept_notebook(run: dict[str, Any]) -> str:
    artifacts = Path(urlsplit(run["artifact_uri"]).path)
    return (artifacts / "notebooks" / "analysis.ipynb").read_text()


@pytest.fixture
def bare_path(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "bin").mkdir()
    for program in ("bash", "git"):
        (tmp_path / "bin" / program).symlink_to(str(shutil.which(program)))
    return {"PATH": str(tmp_path / "bin")}


@pytest.mark.parametrize("mlproject", [{}, {"MLproject": "name: a\n"}], ids=["", "MLproject"])
def test_a_missing_rscript_is_one_clear_line(
    projrun: Projrun, make_project: MakeProject, bare_path: dict[str, str], mlproject: dict[str, str]
) -> None:
    project = make_project(**mlproject, **{"plot.R": "cat(1)\n"})
    done = projrun("run", project, "-e", "plot.R", "--env-manager", "local", environ=bare_path)
    assert done.returncode == 125
    assert len(done.stderr.splitlines()) == 1
    assert "the run needs Rscript, which is not in its environment; install R" in done.stderr
    assert last_run(projrun)["status"] == "FAILED"


def test_an_r_script_gets_its_arguments(projrun: Projrun, make_project: MakeProject, tmp_path: Path) -> None:
    """With R where it is; elsewhere a program in its place shows what it would get."""
    project = make_project(**{"plot.R": "cat(commandArgs(trailingOnly = TRUE), sep = '\\n')\n"})
    path = os.environ["PATH"]
    if shutil.which("Rscript") is None:
        (tmp_path / "bin").mkdir()
        stand_in = tmp_path / "bin" / "Rscript"
        stand_in.write_text('#!/bin/sh\n[ "$1" = plot.R ] && shift && printf "%s\\n" "$@"\n')
        stand_in.chmod(0o755)
        path = f"{tmp_path / 'bin'}{os.pathsep}{path}"
    arguments = ("--env-manager", "local", "-P", "title=two words")
    done = projrun("run", project, "-e", "plot.R", *arguments, environ={"PATH": path})
    assert done.stdout.splitlines() == ["--title", "two words"], done.stderr


def test_a_shell_script_needs_no_project_file(projrun: Projrun, make_project: MakeProject) -> None:
    project = make_project(**{"go.sh": 'echo "$@"\n'})
    done = projrun("run", project, "-e", "go.sh", "--env-manager", "local", "-P", "a=1")
    assert done.stdout == "--a 1\n"
    unknown = projrun("run", project, "-e", "go.exe")
    assert re.search("no MLproject file and 'go.exe' is no script", unknown.stderr)


def test_a_plain_project_reads_no_toml(make_project: MakeProject) -> None:
    project = make_project(
        MLproject="python_env: python_env.yaml\nentry_points: {main: {command: 'true'}}",
        **{"python_env.yaml": "dependencies: []\n", "pyproject.toml": PYPROJECT},
    )
    script = (
        "import sys; from projrun import run; run(sys.argv[1]);"
        "print([name for name in sys.modules if name in ('tomllib', 'tomli', 'projrun.documents.toml_file')"
        " or name.endswith('.conventions')])"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script, str(project)], capture_output=True, text=True, check=True
        )
    assert done.stdout.splitlines()[-1] == "[]"
