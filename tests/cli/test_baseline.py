"""The project as it is now against a run in a file; and what CI servers make of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.conftest import MakeProject, Projrun
from tests.support.repository import ROOT

MLPROJECT = """
name: demo
entry_points:
  main: {parameters: {alpha: {type: float, default: 1}}, command: 'python main.py {alpha}'}
  other: {command: 'exit 3'}
verify: {outputs: {"*.csv": {rtol: 1e-3}}}
"""
MAIN = "import sys\nopen('out.csv', 'w').write(sys.argv[1] + '\\n')\n"
LOCAL = ("--env-manager", "local")


@pytest.fixture
def project(make_project: MakeProject) -> Path:
    return make_project(MLproject=MLPROJECT, **{"main.py": MAIN})


@pytest.mark.parametrize("name", ["baseline.zip", "baseline.json"])
def test_the_first_run_is_the_baseline_and_later_ones_are_held_to_it(
    name: str, projrun: Projrun, project: Path
) -> None:
    command = ("verify", "--baseline", name, ".", *LOCAL, "-P", "alpha=0.5")
    done = projrun(*command, cwd=project)
    assert done.returncode == 0, done.stderr
    assert f"keep {name}" in done.stderr
    assert re.search(
        r"\nthe baseline was written: later runs are held to 2 results of run \w{8}\n$", done.stdout
    )
    before = (project / name).read_bytes()
    (project / "main.py").write_text(MAIN + "# a comment\n")
    done = projrun(*command, cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    (project / "main.py").write_text(MAIN.replace("sys.argv[1]", "str(2 * float(sys.argv[1]))"))
    done = projrun(*command, "--format", "json", cwd=project)
    assert done.returncode == 1
    verdicts = {one["name"]: one["verdict"] for one in json.loads(done.stdout)["findings"]}
    assert (verdicts["status"], verdicts["out.csv"]) == ("same", "different")
    assert (project / name).read_bytes() == before


def test_outputs_are_compared_by_value_with_the_content_in_the_zip(projrun: Projrun, project: Path) -> None:
    command = ("verify", "--baseline", "b.zip", ".", *LOCAL, "-P", "alpha=0.5")
    assert projrun(*command, cwd=project).returncode == 0
    (project / "main.py").write_text(MAIN.replace("sys.argv[1]", "'0.50001'"))
    done = projrun(*command, "--format", "json", cwd=project)
    assert done.returncode == 0, done.stdout
    verdicts = {one["name"]: one["verdict"] for one in json.loads(done.stdout)["findings"]}
    assert verdicts["out.csv"] == "within"


def test_digests_alone_never_pass_for_what_lies_beside_the_file(projrun: Projrun, project: Path) -> None:
    """The files that a baseline tells of have names that the new run's files have too."""
    (project / "projrun" / "outputs").mkdir(parents=True)
    command = ("verify", "--baseline", "projrun/record.json", ".", *LOCAL)
    assert projrun(*command, cwd=project).returncode == 0
    (project / "main.py").write_text(MAIN.replace("sys.argv[1]", "'7'"))
    (project / "projrun" / "outputs" / "out.csv").write_text("7\n")
    done = projrun(*command, cwd=project)
    assert done.returncode == 1
    assert "was not kept" in done.stdout


def test_another_question_than_the_baselines_is_refused(projrun: Projrun, project: Path) -> None:
    command = ("verify", "--baseline", "b.json", ".", *LOCAL)
    assert projrun(*command, "-P", "alpha=0.5", cwd=project).returncode == 0
    done = projrun(*command, "-P", "alpha=0.6", cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert "was made with alpha 0.5, not with 0.6" in done.stderr
    done = projrun(*command, "-e", "other", cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert "was made with entry point main" in done.stderr
    done = projrun(*command, "-P", "beta=1", cwd=project)
    assert "was made without beta" in done.stderr
    listed = json.loads(projrun("runs", "list", "--json").stdout)
    assert len(listed) == 1, "nothing was run"


def test_a_baseline_that_must_exist_is_not_made(projrun: Projrun, project: Path) -> None:
    done = projrun("verify", "--baseline", "b.zip", "--existing", ".", *LOCAL, cwd=project)
    assert done.returncode == 2
    assert "there is no such file" in done.stderr
    assert projrun("verify", "--baseline", "no/b.zip", ".", *LOCAL, cwd=project).returncode == 2
    assert projrun("verify", "--baseline", "b.txt", ".", *LOCAL, cwd=project).returncode == 2
    assert projrun("verify", ".", "--existing", cwd=project).returncode == 2
    assert "goes with --baseline FILE alone" in projrun("verify", "abc", "-P", "a=1", cwd=project).stderr
    assert not list(project.glob("b.*"))


def test_a_run_that_fails_is_no_baseline(projrun: Projrun, project: Path) -> None:
    done = projrun("verify", "--baseline", "b.zip", ".", "-e", "other", *LOCAL, cwd=project)
    assert done.returncode == 125
    assert "it is no baseline" in done.stderr
    assert not (project / "b.zip").exists()


def test_further_reports_are_written(projrun: Projrun, project: Path) -> None:
    reports = ("--report", "junit=a.xml", "--report", "json=b.json")
    done = projrun("verify", "--baseline", "b.zip", ".", *LOCAL, *reports, cwd=project)
    assert done.returncode == 0
    assert ElementTree.parse(project / "a.xml").getroot().get("tests") == "2"
    assert json.loads((project / "b.json").read_text())["same"]
    done = projrun("verify", "--baseline", "b.zip", ".", *LOCAL, "--report", "xml", cwd=project)
    assert done.returncode == 2
    assert "expected FORMAT=FILE" in done.stderr


# CI servers


def action() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
    return loaded


@pytest.fixture
def runner(tmp_path: Path) -> Path:
    """A directory that has projrun where the recipes install it."""
    program = tmp_path / "runner" / "projrun" / "bin" / "projrun"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m projrun "$@"\n')
    program.chmod(0o755)
    return tmp_path / "runner"


def step(name: str, runner: Path, cwd: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run a step of the action as GitHub would, its expressions replaced by the inputs."""
    content = action()
    [found] = [one for one in content["runs"]["steps"] if one["name"] == name]
    given = {key: value["default"] for key, value in content["inputs"].items()} | inputs
    environ = {}
    for key, text in found["env"].items():
        expression = re.fullmatch(r"\$\{\{ (inputs|github)\.([\w-]+) \}\}", text)
        assert expression, text
        environ[key] = given[expression[2]] if expression[1] == "inputs" else str(ROOT)
    assert "${{" not in found["run"], "an expression in the script would be text of the script"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", found["run"]],
        cwd=cwd,
        env={
            **os.environ,
            **environ,
            "RUNNER_TEMP": str(runner),
            "GITHUB_STEP_SUMMARY": str(runner / "summary"),
        },
        capture_output=True,
        text=True,
    )


def test_the_action_annotates_the_job_and_writes_its_summary(project: Path, runner: Path) -> None:
    inputs = {"baseline": "b.zip", "parameters": "alpha=0.5\n", "arguments": "--env-manager=local\n"}
    done = step("Verify", runner, project, **inputs)
    assert done.returncode == 0, done.stderr
    assert "::notice title=projrun verify::the baseline was written" in done.stdout
    (project / "main.py").write_text(MAIN.replace("sys.argv[1]", "'9; $(touch owned)'"))
    done = step("Verify", runner, project, **inputs, existing="true")
    assert done.returncode == 1
    assert "::error title=projrun verify::output out.csv is different" in done.stdout
    assert "**not the same**" in (runner / "summary").read_text()
    done = step("Verify", runner, project, baseline="none.zip", existing="true")
    assert done.returncode == 2


def test_what_the_actions_inputs_say_is_never_a_command(project: Path, runner: Path) -> None:
    attack = '"; touch owned; $(touch owned) `touch owned`'
    for name in ("run", "baseline", "entry-point", "parameters", "arguments"):
        done = step("Verify", runner, project, **{"baseline": "b.zip", name: attack})
        assert done.returncode != 0
    assert not list(project.rglob("owned"))


@pytest.mark.skipif(os.environ.get("PROJRUN_TEST_ENGINES") != "1", reason="installs projrun and all it needs")
def test_the_action_installs_projrun_from_its_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_COMPILE", "0")  # of all that it installs only --help is run
    done = step("Install projrun", tmp_path, tmp_path)
    assert done.returncode == 0, done.stderr
    program = tmp_path / "projrun" / "bin" / "projrun"
    help_text = subprocess.run([program, "--help"], capture_output=True, text=True).stdout
    assert "verify" in help_text
    assert list((tmp_path / "projrun" / "lib").glob("python*/site-packages/projrun/compare/diff.html"))


def recipes() -> dict[str, str]:
    manual = (ROOT / "docs" / "reproducibility.md").read_text()
    return dict(re.findall(r"^### (\w+)\n.*?```\w+\n(.*?)```", manual, re.MULTILINE | re.DOTALL))


def test_the_recipe_for_github_uses_inputs_that_the_action_has() -> None:
    steps = yaml.safe_load(recipes()["GitHub"])["jobs"]["verify"]["steps"]
    assert steps[-1]["with"].keys() <= action()["inputs"].keys()


def lines_of(server: str) -> list[str]:
    if server == "GitLab":
        script: list[str] = yaml.safe_load(recipes()["GitLab"])["verify"]["script"]
        return script
    return re.findall(r"sh '([^']+)'", recipes()["Jenkins"])


@pytest.mark.parametrize("server", ["GitLab", "Jenkins"])
def test_the_lines_of_the_recipes_do_what_is_said(
    server: str, projrun: Projrun, project: Path, runner: Path
) -> None:
    install, verify = lines_of(server)
    assert 'pip install "projrun[verify]"' in install
    place = runner / "projrun"
    (project / ".venv").symlink_to(place)
    environ = {**os.environ, "PATH": f"{place / 'bin'}:{os.environ['PATH']}"}
    (project / "python_env.yaml").write_text("dependencies: []\n")
    bash = ["bash", "-ec", verify]
    assert subprocess.run(bash, cwd=project, env=environ, capture_output=True).returncode == 2
    assert (
        projrun("verify", "--baseline", "baseline.zip", ".", "-P", "alpha=0.5", cwd=project).returncode == 0
    )
    done = subprocess.run(bash, cwd=project, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ElementTree.parse(project / "verify.xml").getroot().get("failures") == "0"
    (project / "main.py").write_text(MAIN.replace("sys.argv[1]", "'9'"))
    assert subprocess.run(bash, cwd=project, env=environ, capture_output=True).returncode == 1
    assert ElementTree.parse(project / "verify.xml").getroot().get("failures") == "1"
