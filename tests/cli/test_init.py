"""`projrun init`: an MLproject file for a directory, by looking at it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from projrun.project.propose.arguments import read_program
from tests.conftest import MakeProject, Projrun
from tests.support.mlflow_clients import MLFLOW, Client

REFERENCE = Path(__file__).parents[1] / "real_mlflow" / "project_script.py"
WITH_ARGPARSE = """
import argparse, json
from pathlib import Path
RATIO = 0.25
raise_when_imported = 1 / len(__name__)

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, help="The table to read")
    parser.add_argument("-a", "--alpha", type=float, default=0.1, help="Strength: 0 or more")
    parser.add_argument("--l1-ratio", type=float, default=RATIO)
    parser.add_argument("--steps", type=int, default=-3)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--mode", choices=["fast", "exact", "no"], default="no")
    parser.add_argument("--out-dir", type=Path, default=Path("out"))
    parser.add_argument("--note", default='it\\'s: "$5" #1 {x}')
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--shuffle", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--files", nargs="+", default=[])
    print(json.dumps(vars(parser.parse_args()), default=str))

if __name__ == "__main__":
    main()
"""
DEFAULTS: dict[str, Any] = {
    "alpha": 0.1,
    "l1_ratio": 0.25,
    "steps": -3,
    "seed": None,
    "mode": "no",
    "out_dir": "out",
    "note": 'it\'s: "$5" #1 {x}',
    "trace": False,
    "shuffle": True,
    "files": [],
}
WITH_CLICK = """
import click, json
@click.command()
@click.option("--count", default=3, help="How many")
@click.option("--rate", type=click.FloatRange(0, 1), default=0.5)
@click.option("--loud/--quiet", default=False)
@click.option("-k", "--kind", type=click.Choice(["a", "b"]), required=True)
@click.option("--level", type=int)
@click.argument("name")
def go(**values):
    print(json.dumps(values))

go() if __name__ != "__main__" else None
if "__main__" == __name__:
    go()
"""


def read(project: Path) -> Any:
    return yaml.safe_load((project / "MLproject").read_text())


def initialised(projrun: Projrun, project: Path) -> Any:
    """Read a file that `validate` accepts without a finding."""
    done = projrun("init", project)
    assert done.returncode == 0, done.stderr
    checked = projrun("validate", project, "--format", "json")
    assert [one for one in json.loads(checked.stdout) if one["severity"] != "note"] == []
    return read(project)


def run(projrun: Projrun, project: Path, *arguments: str) -> Any:
    done = projrun("run", project, "--env-manager", "local", *arguments, cwd=project)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def training(make_project: MakeProject) -> Path:
    return make_project(
        "training",
        **{"train.py": WITH_ARGPARSE, "predict.py": WITH_CLICK, "data.csv": "1\n", "lib.py": "x = 1\n"},
    )


def test_a_program_runs_with_its_own_defaults_and_with_others(projrun: Projrun, training: Path) -> None:
    assert set(initialised(projrun, training)["entry_points"]) == {"main", "predict"}
    data = str(training / "data.csv")
    assert run(projrun, training, "-P", "data=data.csv") == {"data": data, **DEFAULTS}
    given = ("alpha=0.5", "trace=true", "shuffle=false", "mode=fast", "note=a b", "seed=7")
    options = [word for pair in given for word in ("-P", pair)]
    expected = {"alpha": 0.5, "trace": True, "shuffle": False, "mode": "fast", "note": "a b", "seed": 7}
    assert run(projrun, training, "-P", "data=data.csv", *options) == {"data": data, **DEFAULTS, **expected}
    refused = projrun("run", training, "-P", "alpha=high", "-P", f"data={data}")
    assert refused.returncode == 125 and "'high' is not a float" in refused.stderr


def test_click_is_read_too(projrun: Projrun, training: Path) -> None:
    entry_point = initialised(projrun, training)["entry_points"]["predict"]
    assert entry_point["parameters"]["rate"] == {"type": "float", "default": 0.5, "min": 0, "max": 1}
    assert entry_point["parameters"]["count"] == {"type": "int", "default": 3, "description": "How many"}
    assert run(projrun, training, "-e", "predict", "-P", "name=x y", "-P", "kind=a", "-P", "loud=true") == {
        "count": 3,
        "rate": 0.5,
        "loud": True,
        "kind": "a",
        "level": None,
        "name": "x y",
    }


def test_the_real_mlflow_makes_the_same_of_it(
    projrun: Projrun, training: Path, client_python: Client
) -> None:
    initialised(projrun, training)
    runs = [
        {"entry": "main", "values": {"data": str(training / "data.csv"), "trace": "true"}},
        {"entry": "predict", "values": {"name": "x y", "kind": "b"}},
    ]
    done = subprocess.run(
        [client_python("", *MLFLOW), REFERENCE],
        input=json.dumps([{"directory": str(training), "runs": runs}]),
        cwd=training,
        capture_output=True,
        text=True,
    )
    (answer,) = json.loads(done.stdout)
    assert answer["project"]["entry_points"] == {"main": ["data"], "predict": ["kind", "name"]}
    said = [
        json.loads(subprocess.run(["bash", "-c", one["command"]], cwd=training, capture_output=True).stdout)
        for one in answer["runs"]
    ]
    assert said[0] == {"data": str(training / "data.csv"), **DEFAULTS, "trace": True}
    assert said[1] == {"count": 3, "rate": 0.5, "loud": False, "kind": "b", "level": None, "name": "x y"}


def test_requirements_become_a_python_env_that_mlflow_finds(
    projrun: Projrun, make_project: MakeProject
) -> None:
    files = {"main.py": "if __name__ == '__main__': print(1)", "requirements.txt": "six\n"}
    project = make_project(**files, **{".python-version": "3.12\n"})
    assert initialised(projrun, project)["python_env"] == "python_env.yaml"
    written = yaml.safe_load((project / "python_env.yaml").read_text())
    assert written == {"python": "3.12", "dependencies": ["-r requirements.txt"]}
    assert "six" in projrun("describe", project).stdout


@pytest.mark.parametrize(
    ("files", "key", "value"),
    [
        ({"python_env.yaml": "python: '3.11'\n"}, "python_env", "python_env.yaml"),
        ({"environment.yml": "dependencies: [python=3.11]\n"}, "conda_env", "environment.yml"),
        ({"Dockerfile": "FROM scratch\n"}, "docker_env", {"build": "."}),
        ({"pyproject.toml": "[project]\nname = 'deep'\nversion = '1'\n"}, "name", "deep"),
    ],
    ids=["python_env", "conda", "docker", "pyproject"],
)
def test_the_environment_is_the_one_that_is_described(
    projrun: Projrun, make_project: MakeProject, files: dict[str, str], key: str, value: object
) -> None:
    project = make_project(**files, **{"job.sh": "true\n"})
    written = initialised(projrun, project)
    assert written[key] == value
    assert written["entry_points"] == {"main": {"command": "bash job.sh"}}


def test_the_scripts_of_pyproject_stay_entry_points(projrun: Projrun, make_project: MakeProject) -> None:
    pyproject = "[project]\nname = 'deep'\nversion = '1'\nscripts.deep-train = 'deep:go'\n"
    project = make_project(**{"pyproject.toml": pyproject, "deep.py": "def go(): print('[1]')\n"})
    initialised(projrun, project)
    assert run(projrun, project) == [1]


def test_a_script_with_its_own_dependencies(projrun: Projrun, make_project: MakeProject) -> None:
    block = '# /// script\n# requires-python = ">=3.8"\n# dependencies = ["six>=1"]\n# ///\n'
    project = make_project(**{"go.py": f"{block}if __name__ == '__main__': pass\n"})
    assert initialised(projrun, project)["python_env"] == "python_env.yaml"
    assert yaml.safe_load((project / "python_env.yaml").read_text())["dependencies"] == ["six>=1"]


def test_packages_and_awkward_names(projrun: Projrun, make_project: MakeProject) -> None:
    say = "import sys, json\nif __name__ == '__main__': print(json.dumps(sys.argv[1:]))\n"
    files = {"it's {a} file.py": say, "pack/__main__.py": say, "pack/__init__.py": "", "test_a.py": say}
    project = make_project("yes", **files)
    written = initialised(projrun, project)
    assert written["name"] == "yes"
    assert set(written["entry_points"]) == {"it's {a} file", "pack"}
    for name in written["entry_points"]:
        assert run(projrun, project, "-e", name, "-P", "x=1") == ["--x", "1"]


def test_what_is_there_is_never_touched(projrun: Projrun, training: Path) -> None:
    (training / "MLPROJECT").write_text("name: mine\n")
    done = projrun("init", training)
    assert done.returncode == 125
    assert "there is one already; change that" in done.stderr
    assert (training / "MLPROJECT").read_text() == "name: mine\n"


def test_a_dry_run_prints_and_writes_nothing(projrun: Projrun, training: Path) -> None:
    before = sorted(training.iterdir())
    done = projrun("init", training, "--dry-run", "--name", "other")
    assert yaml.safe_load(done.stdout)["name"] == "other"
    assert sorted(training.iterdir()) == before


def test_where_nothing_can_be_run_the_next_step_is_named(projrun: Projrun, make_project: MakeProject) -> None:
    empty = projrun("init", make_project("empty", **{"notes.txt": ""}))
    assert empty.returncode == 125
    assert "nothing here that can be run; add a program" in empty.stderr
    notebook = projrun("init", make_project("note", **{"a.ipynb": "{}"}))
    assert "-e a.ipynb" in notebook.stderr
    assert "projrun init" in projrun("run", make_project("bare", **{"a.txt": ""})).stderr
    assert projrun("init", "nowhere").returncode == 125


def test_what_is_no_parameter_is_said(projrun: Projrun, make_project: MakeProject) -> None:
    text = (
        "import argparse\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--files', nargs='+', required=True)\nparser.parse_args()\n"
    )
    done = projrun("init", make_project(**{"go.py": text}))
    assert "--files is required and no parameter: it takes several values" in done.stderr
    subcommands = (
        "import argparse\np = argparse.ArgumentParser().add_subparsers()\nif '__main__' == __name__: 0"
    )
    done = projrun("init", make_project("sub", **{"go.py": subcommands}))
    assert "has commands of its own" in done.stderr


@pytest.mark.parametrize("text", ["def", "\0", "(" * 5000, "print 'old'"])
def test_what_is_no_python_of_today_is_no_program(text: str) -> None:
    assert read_program(text) is None


def test_nothing_is_imported(projrun: Projrun, make_project: MakeProject) -> None:
    project = make_project(**{"go.py": "open('canary', 'w')\nif __name__ == '__main__': pass\n"})
    assert projrun("init", project, cwd=project).returncode == 0
    assert not (project / "canary").exists()
