"""Stories of `projrun run`: what a user types, sees and finds afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from projrun.disk import Home
from tests.conftest import MakeProject, Projrun
from tests.support.waiting import eventually

TYPED = """
name: typed
entry_points:
  main:
    parameters:
      alpha: {type: float, default: 0.1}
      text: {type: string, default: none}
      learning-rate: {type: float, default: 0.01}
    command: "python show.py --alpha {alpha} --text {text} --learning-rate {learning-rate}"
  fail:
    command: "echo before; exit 7"
  sleep:
    command: "echo started; sleep 600"
"""
MISSPELT = "entry_points: {main: {command: 'run {alpah}', parameters: {alpha: float}}}"
CONDA = "conda_env: conda.yaml\nentry_points: {main: {command: x}}"
SHOW = "import json, sys; print(json.dumps(sys.argv[1:]))"


@pytest.fixture
def typed(make_project: MakeProject) -> Path:
    return make_project(**{"MLproject": TYPED, "show.py": SHOW})


def argv_of(output: str) -> list[str]:
    words: list[str] = json.loads(output.splitlines()[-1])
    return words


def only_run(projrun: Projrun) -> dict[str, object]:
    """The one run in the store, whole."""
    listed = json.loads(projrun("runs", "list", "--json").stdout)
    assert len(listed) == 1
    shown: dict[str, object] = json.loads(projrun("runs", "show", listed[0]["run_id"], "--json").stdout)
    return shown


def no_run(projrun: Projrun) -> bool:
    return projrun("runs", "list", "--json").stdout == "[]\n"


def test_a_run_prints_the_programs_output_and_says_where_it_is_kept(projrun: Projrun, typed: Path) -> None:
    done = projrun("run", typed, "--env-manager", "local", "-P", "alpha=0.5")
    assert done.returncode == 0, done.stderr
    assert argv_of(done.stdout) == ["--alpha", "0.5", "--text", "none", "--learning-rate", "0.01"]
    run = only_run(projrun)
    assert f"projrun runs show {str(run['run_id'])[:8]}" in done.stderr
    assert os.environ["PROJRUN_HOME"] in done.stderr


def test_the_record_tells_what_was_run(projrun: Projrun, typed: Path) -> None:
    projrun("run", typed, "--env-manager", "local", "-P", "alpha=0.5", "-P", "extra=1", "--run-name", "first")
    run = only_run(projrun)
    assert run["status"] == "FINISHED"
    assert run["exit_code"] == 0
    assert run["run_name"] == "first"
    assert run["params"] == {"alpha": "0.5", "text": "none", "learning-rate": "0.01", "extra": "1"}
    tags, record = run["tags"], run["record"]
    assert isinstance(tags, dict) and isinstance(record, dict)
    assert tags["mlflow.source.type"] == "PROJECT"
    assert tags["mlflow.project.entryPoint"] == "main"
    assert tags["mlflow.project.env"] == "local"
    assert tags["mlflow.project.backend"] == "local"
    assert record["run_id"] == run["run_id"]
    assert record["plan"]["command"].startswith("python show.py --alpha 0.5")
    assert record["outcome"]["exit_code"] == 0
    assert run["start_time"] <= run["end_time"]  # type: ignore[operator]


def test_a_run_in_git_has_commit_branch_remote_and_state(projrun: Projrun, typed: Path) -> None:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=typed, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q", "-b", "trunk")
    git("add", "-A")
    git("commit", "-qm", "first")
    git("remote", "add", "origin", "https://user:secret@git.example.org/team/typed.git")
    projrun("run", typed, "--env-manager", "local")
    tags = only_run(projrun)["tags"]
    assert isinstance(tags, dict)
    assert tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD").strip()
    assert tags["mlflow.source.git.branch"] == "trunk"
    assert tags["mlflow.source.git.repoURL"] == "https://git.example.org/team/typed.git"
    assert tags["projrun.source.dirty"] == "false"


@pytest.mark.parametrize(
    "value",
    [
        "a=b=c",
        "two words",
        "it's",
        'say "hi"',
        "$HOME `id` $(id)",
        "one\ntwo",
        "",
        "-x",
        "ünï",
        "*",
        "a\\b",
        "{x}",
    ],
)
def test_values_arrive_exactly_as_given(projrun: Projrun, typed: Path, value: str) -> None:
    arguments = ("-P", f"text={value}", "-P", f"more={value}")
    done = projrun("run", typed, "--env-manager", "local", *arguments)
    assert done.returncode == 0, done.stderr
    words = argv_of(done.stdout)
    assert words[words.index("--text") + 1] == value
    assert words[words.index("--more") + 1] == value
    assert only_run(projrun)["params"]["text"] == value  # type: ignore[index]


def test_dashed_names_are_names(projrun: Projrun, typed: Path) -> None:
    done = projrun("run", typed, "--env-manager", "local", "-P", "learning-rate=1e-3", "-P", "new-one=2")
    assert argv_of(done.stdout)[-4:] == ["--learning-rate", "1e-3", "--new-one", "2"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-P", "alpha=abc"), "'alpha'.*float.*'abc'"),
        (("-e", "nothing"), "nothing.*main"),
        (("-v", "main"), "not a Git repository"),
        (("-b", "slurm"), "slurm.*not part of this version"),
        (("-b", "databricks"), "databricks.*not part of this version"),
        (("--experiment-id", "77"), "77"),
        (("--run-id", "0" * 32), "0000"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_run_is_one_clear_line(
    projrun: Projrun, typed: Path, arguments: tuple[str, ...], told: str
) -> None:
    done = projrun("run", typed, *arguments)
    assert done.returncode == 125
    assert len(done.stderr.splitlines()) == 1
    assert re.search(told, done.stderr), done.stderr
    assert done.stdout == ""


def test_wrong_values_are_found_before_anything_is_built(projrun: Projrun, typed: Path, home: Home) -> None:
    assert projrun("run", typed, "-P", "alpha=abc").returncode == 125
    assert not home.environments.exists()
    assert no_run(projrun)


@pytest.mark.parametrize(
    "arguments",
    [("-P", "alpha"), ("-P", "alpha=1", "-P", "alpha=2"), ("-c", "{"), ("--no-such-option",), ("-b", "moon")],
)
def test_a_misused_command_line_is_exit_code_2(
    projrun: Projrun, typed: Path, arguments: tuple[str, ...]
) -> None:
    done = projrun("run", typed, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_no_conda_means_the_local_environment(projrun: Projrun, typed: Path) -> None:
    done = projrun("run", typed, "--no-conda")
    assert done.returncode == 0
    assert "deprecated" in done.stderr
    assert only_run(projrun)["tags"]["mlflow.project.env"] == "local"  # type: ignore[index]


def test_a_failing_command_is_a_failed_run_with_its_exit_code(projrun: Projrun, typed: Path) -> None:
    done = projrun("run", typed, "--env-manager", "local", "-e", "fail")
    assert done.returncode == 7
    run = only_run(projrun)
    assert (run["status"], run["exit_code"]) == ("FAILED", 7)
    assert projrun("runs", "logs", str(run["run_id"])).stdout == "before\n"


def test_a_command_that_exits_with_125_is_told_from_one_that_could_not_be_run(
    projrun: Projrun, make_project: MakeProject
) -> None:
    project = make_project(MLproject="entry_points: {main: {command: 'exit 125'}}")
    done = projrun("run", project, "--env-manager", "local")
    assert done.returncode == 125
    assert only_run(projrun)["exit_code"] == 125


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["interrupt", "terminate"]
)
def test_an_interrupted_run_is_killed_and_leaves_no_process(
    projrun: Projrun, typed: Path, number: int, code: int
) -> None:
    arguments = [sys.executable, "-m", "projrun", "run", str(typed), "--env-manager", "local", "-e", "sleep"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == "started\n"
        supervisor.send_signal(number)
        assert supervisor.wait() == code
    run = only_run(projrun)
    assert (run["status"], run["exit_code"]) == ("KILLED", code)
    assert not processes_in(typed)


def test_a_run_whose_supervisor_was_killed_is_settled_by_the_next(projrun: Projrun, typed: Path) -> None:
    arguments = [sys.executable, "-m", "projrun", "run", str(typed), "--env-manager", "local", "-e", "sleep"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        supervisor.stdout.readline()
        supervisor.kill()
    assert not processes_in(typed)
    run = only_run(projrun)
    assert run["status"] == "FAILED"
    assert "supervised it is gone" in str(run["tags"])


def processes_in(directory: Path) -> list[int]:
    """Processes whose working directory is the project's, after those that were killed had time to go."""
    return [] if eventually(lambda: not _processes_in(directory)) else _processes_in(directory)


def _processes_in(directory: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").resolve() == directory.resolve():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"MLproject": "a: [1"}, r"MLproject:\d+:\d+: is not valid YAML"),
        ({"MLproject": "python_env: gone.yaml"}, r"MLproject:1:\d+: .*gone.yaml"),
        (
            {"MLproject": MISSPELT},
            "alpha",
        ),
        (
            {
                "MLproject": "conda_env: conda.yaml\nentry_points: {main: {command: x}}",
                "conda.yaml": "dependencies: numpy",
            },
            r"conda.yaml:1:1: 'dependencies' is not a list",
        ),
    ],
    ids=["bad YAML", "missing environment file", "undeclared placeholder", "conda"],
)
def test_a_wrong_project_is_one_line_that_names_the_place(
    projrun: Projrun, make_project: MakeProject, files: dict[str, str], told: str
) -> None:
    done = projrun("run", make_project(**files), "-P", "alpha=1")
    assert done.returncode == 125
    assert len(done.stderr.splitlines()) == 1
    assert re.search(told, done.stderr), done.stderr


def test_a_uri_that_is_nothing_is_a_failed_run(projrun: Projrun, tmp_path: Path) -> None:
    done = projrun("run", tmp_path / "nothing")
    assert done.returncode == 125
    assert "nothing" in done.stderr
    assert only_run(projrun)["status"] == "FAILED"


def test_a_name_that_cannot_be_recorded_is_a_failed_run_that_says_so(projrun: Projrun, typed: Path) -> None:
    done = projrun("run", typed, "--env-manager", "local", "-P", "a;b=1")
    assert done.returncode == 125
    assert "a;b" in str(only_run(projrun)["tags"])


def test_signs_that_the_terminal_lacks_are_escaped(projrun: Projrun, typed: Path) -> None:
    projrun("run", typed, "--env-manager", "local", "--run-name", "ünï")
    listed = projrun("runs", "list", environ={"PYTHONIOENCODING": "ascii"})
    assert listed.returncode == 0
    assert "\\xfcn\\xef" in listed.stdout


def test_a_full_or_read_only_home_is_a_clear_error(projrun: Projrun, typed: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = projrun("run", typed, environ={"PROJRUN_HOME": str(tmp_path / "file" / "data")})
    assert done.returncode == 125
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_program_can_read_what_is_typed(typed: Path, make_project: MakeProject) -> None:
    project = make_project("asks", MLproject="entry_points: {main: {command: 'read x; echo got $x'}}")
    arguments = [sys.executable, "-m", "projrun", "run", str(project), "--env-manager", "local"]
    done = subprocess.run(arguments, input="an answer\n", capture_output=True, text=True)
    assert done.stdout == "got an answer\n"


def test_a_pipe_that_is_closed_early_does_not_fail_the_run(
    projrun: Projrun, make_project: MakeProject
) -> None:
    project = make_project(MLproject="entry_points: {main: {command: 'seq 100000'}}")
    command = f"{sys.executable} -m projrun run {project} --env-manager local | head -1"
    assert subprocess.run(["bash", "-c", command], capture_output=True, text=True).stdout == "1\n"
    assert only_run(projrun)["status"] == "FINISHED"
