"""projrun.run takes the arguments of mlflow.projects.run and behaves as they promise."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import projrun
from projrun.errors import BuildError, ExecutionError, ParameterError, ProjrunError, UsageError
from projrun.request import Request
from tests.conftest import MakeProject, Projrun

PROJECT = """
entry_points:
  main:
    parameters: {code: {type: int, default: 0}}
    command: "exit {code}"
  sleep: {command: "echo started; sleep 600"}
"""


@pytest.fixture
def project(make_project: MakeProject) -> str:
    return str(make_project(MLproject=PROJECT))


def test_a_synchronous_run_has_finished(project: str) -> None:
    submitted = projrun.run(project, env_manager="local", run_name="named", parameters={"code": 0})
    assert submitted.wait()
    assert submitted.get_status() == "FINISHED"
    assert len(submitted.run_id) == 32


def test_a_failed_command_raises_and_says_where_to_look(project: str) -> None:
    with pytest.raises(ExecutionError, match=r"FAILED.*projrun runs logs") as caught:
        projrun.run(project, env_manager="local", parameters={"code": 3})
    assert caught.value.exit_code == 3


def test_errors_are_raised_before_anything_starts(project: str) -> None:
    with pytest.raises(ParameterError, match="code"):
        projrun.run(project, env_manager="local", parameters={"code": "many"})
    with pytest.raises(UsageError, match="containers"):
        projrun.run(project, env_manager="local", docker_args={"gpus": "all"})


def test_an_experiment_is_made_by_name_and_used_again(project: str, projrun_: Projrun) -> None:
    for _ in range(2):
        projrun.run(project, env_manager="local", experiment_name="trials")
    listed = json.loads(projrun_("runs", "list", "--experiment-name", "trials", "--json").stdout)
    assert len({run["experiment_id"] for run in listed}) == 1
    assert len(listed) == 2


@pytest.fixture
def projrun_(projrun: Projrun) -> Projrun:
    return projrun


def test_a_run_in_the_background_is_waited_for(project: str) -> None:
    submitted = projrun.run(project, env_manager="local", parameters={"code": 0}, synchronous=False)
    assert submitted.wait()
    failing = projrun.run(project, env_manager="local", parameters={"code": 4}, synchronous=False)
    assert not failing.wait()
    assert failing.get_status() == "FAILED"


def test_a_run_in_the_background_that_has_no_plan_is_settled(project: str) -> None:
    submitted = projrun.run(project, env_manager="local", parameters={"code": "x"}, synchronous=False)
    assert not submitted.wait()
    assert submitted.get_status() == "FAILED"


def test_a_run_in_the_background_can_be_cancelled(project: str, projrun_: Projrun) -> None:
    submitted = projrun.run(project, "sleep", env_manager="local", synchronous=False)
    while submitted.get_status() != "RUNNING":
        pass
    submitted.cancel()
    assert submitted.get_status() == "KILLED"
    submitted.cancel()


def test_a_run_inside_a_run_is_its_child(make_project: MakeProject, project: str, projrun_: Projrun) -> None:
    (Path(project) / "outer.py").write_text(
        f"import projrun; projrun.run({project!r}, env_manager='local', run_name='inner')"
    )
    command = f"{sys.executable} outer.py"
    outer = make_project("outer", MLproject=f"entry_points: {{main: {{command: 'cd {project}; {command}'}}}}")
    subprocess.run([sys.executable, "-m", "projrun", "run", outer, "--env-manager", "local"], check=True)
    inner, parent = json.loads(projrun_("runs", "list", "--json").stdout)
    assert inner["run_name"] == "inner"
    assert inner["tags"]["mlflow.parentRunId"] == parent["run_id"]
    assert (inner["status"], parent["status"]) == ("FINISHED", "FINISHED")


def test_importing_projrun_imports_nothing_else() -> None:
    script = "import projrun, sys; print([name for name in sys.modules if name.startswith('projrun.')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "['projrun.version']"


@pytest.mark.parametrize("synchronous", [True, False])
def test_the_options_of_the_command_line_count(synchronous: bool, make_project: MakeProject) -> None:
    from tests.support.git_server import run_git

    project = make_project(
        MLproject='entry_points: {main: {command: "test ! -e ignored"}}\n', **{".gitignore": "ignored\n"}
    )
    run_git("init", "--quiet", cwd=project)
    run_git("add", "--all", cwd=project)
    run_git("commit", "--quiet", "-m", "first", cwd=project)
    (project / "ignored").touch()
    options: dict[str, Any] = {"env_manager": "local", "synchronous": synchronous}
    assert projrun.run(str(project), isolated=True, require_clean=True, **options).wait()
    (project / "new").touch()
    if synchronous:
        with pytest.raises(ProjrunError, match="new"):
            projrun.run(str(project), require_clean=True, **options)
    else:
        assert not projrun.run(str(project), require_clean=True, **options).wait()


def test_everything_that_can_be_asked_for_can_be_asked_for_in_python() -> None:
    arguments = set(inspect.signature(projrun.run).parameters)
    assert arguments == set(Request.__struct_fields__) | {"synchronous"}


@pytest.mark.parametrize("synchronous", [True, False])
def test_strict_python_refuses_another_patch(synchronous: bool, make_project: MakeProject) -> None:
    minor = "{}.{}".format(*sys.version_info)
    project = make_project(
        MLproject="python_env: python_env.yaml\nentry_points: {main: {command: 'true'}}\n",
        **{"python_env.yaml": f"python: {minor}.99\n"},
    )
    assert projrun.run(str(project)).wait()
    if synchronous:
        with pytest.raises(BuildError, match=rf"the project wants Python {minor}\.99, and the nearest here"):
            projrun.run(str(project), strict_python=True)
    else:
        assert not projrun.run(str(project), strict_python=True, synchronous=False).wait()


def test_locked_refuses_to_resolve(make_project: MakeProject) -> None:
    project = make_project(
        MLproject='entry_points: {main: {command: "true"}}\n', **{"requirements.txt": "six\n"}
    )
    with pytest.raises(BuildError, match="there is no lock"):
        projrun.run(str(project), locked=True)
    assert not projrun.run(str(project), locked=True, synchronous=False).wait()
