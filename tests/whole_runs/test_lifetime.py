"""Stories of a run's life: stopped, detached, waited for, followed, given secrets."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import projrun as package
from projrun.disk import Home
from tests.cli.test_run import only_run, processes_in
from tests.conftest import MakeProject, Projrun

PROJECT = """
name: life
entry_points:
  main: {command: "echo started; sleep 600"}
  short: {parameters: {x: {type: string, default: y}}, command: "echo to out {x}; echo to err >&2"}
  secret: {command: 'echo -n $TOKEN | (head -c 3; sleep 0.2; cat); echo; echo $PLAIN'}
  stubborn: {command: "trap 'echo asked' INT; trap '' TERM; echo started; while true; do sleep 0.1; done"}
  gate: {command: "echo started; while ! test -e open; do sleep 0.02; done; echo ended"}
  garbage: {command: "head -c 3000 /dev/urandom; printf '\\\\033]0;title\\\\007\\\\033[31mred\\\\033[0m'"}
  slow: {command: "sleep 0.2; exit 3"}
"""
LOCAL = ("--env-manager", "local")


@pytest.fixture
def project(make_project: MakeProject) -> Path:
    return make_project(MLproject=PROJECT)


def started(project: Path, *arguments: str) -> subprocess.Popen[str]:
    """A `projrun run` that has printed its first line."""
    argv = [sys.executable, "-m", "projrun", "run", str(project), *LOCAL, *arguments]
    supervisor = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    if (first := supervisor.stdout.readline()) != "started\n":
        supervisor.kill()
        raise AssertionError(f"it began with {first!r}: {supervisor.communicate()}")
    return supervisor


def outcome(projrun: Projrun) -> tuple[object, object, str]:
    run = only_run(projrun)
    tags = run["tags"]
    assert isinstance(tags, dict)
    return run["status"], run["exit_code"], str(tags.get("projrun.reason", ""))


def stored(home: Home) -> Iterator[tuple[Path, bytes]]:
    for directory in (home.data, home.cache):
        for file in directory.rglob("*"):
            if file.is_file():
                yield file, file.read_bytes()


def test_a_command_that_takes_too_long_is_stopped(projrun: Projrun, project: Path) -> None:
    done = projrun("run", project, *LOCAL, "--timeout", "0.3s")
    assert done.returncode == 124
    assert outcome(projrun) == ("KILLED", 124, "stopped after its time-out of 0.3 s")
    assert not processes_in(project)


def test_a_command_that_does_not_end_when_asked_is_killed(projrun: Projrun, project: Path) -> None:
    options = ("-e", "stubborn", "--timeout", "0.3", "--stop-timeout", "0.1")
    assert projrun("run", project, *LOCAL, *options).returncode == 124
    assert not processes_in(project)


def test_a_command_that_ends_in_time_is_not_touched(projrun: Projrun, project: Path) -> None:
    assert projrun("run", project, *LOCAL, "-e", "slow", "--timeout", "1h").returncode == 3
    assert outcome(projrun)[:2] == ("FAILED", 3)


@pytest.mark.parametrize("text", ["soon", "-1", "5 m", "1e3"])
def test_a_time_that_is_none_is_a_usage_error(projrun: Projrun, project: Path, text: str) -> None:
    done = projrun("run", project, f"--timeout={text}")
    assert done.returncode == 2
    assert "5m" in done.stderr


def test_a_second_interrupt_does_not_wait(projrun: Projrun, project: Path) -> None:
    with started(project, "-e", "stubborn", "--stop-timeout", "1d") as supervisor:
        supervisor.send_signal(signal.SIGINT)
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == "asked\n"  # else both are pending, and two are one
        supervisor.send_signal(signal.SIGINT)
        assert supervisor.wait() == 130
    assert outcome(projrun)[0] == "KILLED"
    assert not processes_in(project)


def test_what_a_run_took_is_in_its_record(projrun: Projrun, project: Path) -> None:
    projrun("run", project, *LOCAL, "-e", "slow")
    record = only_run(projrun)["record"]
    assert isinstance(record, dict)
    usage = record["outcome"]["usage"]
    assert usage["wall_s"] >= 0.2
    assert usage["peak_memory_bytes"] > 1_000_000
    assert "peak memory" in projrun("runs", "show", record["run_id"]).stdout


def test_values_of_variables_are_nowhere(projrun: Projrun, project: Path, home: Home) -> None:
    (project / ".env").write_text("# for the service\nexport TOKEN='swordfish-9'\n")
    arguments = ("-e", "secret", "--env-file", project / ".env", "--env", "PLAIN")
    done = projrun(
        "run", project, *LOCAL, *arguments, "-P", "note=swordfish-9", environ={"PLAIN": "plainvalue"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "***\n*** --note ***\n"
    assert "swordfish-9" not in done.stderr
    run = only_run(projrun)
    assert run["record"]["plan"]["variables"] == {"TOKEN": "***", "PLAIN": "***"}  # type: ignore[index]
    assert run["params"] == {"note": "***"}
    for file, content in stored(home):
        assert b"swordfish" not in content and b"plainvalue" not in content, file


def test_no_mask_leaves_the_output_and_masks_the_record(projrun: Projrun, project: Path) -> None:
    arguments = ("-e", "secret", "--env", "TOKEN=swordfish-9", "--no-mask", "-P", "note=swordfish-9")
    assert projrun("run", project, *LOCAL, *arguments).stdout.startswith("swordfish-9\n")
    run = only_run(projrun)
    assert run["params"] == {"note": "***"}
    assert "swordfish-9" not in json.dumps(run["record"])


@pytest.mark.parametrize("option", [(), ("--no-mask", "--env", "OTHER=value-of-it")])
def test_the_token_of_a_run_is_not_in_its_log(
    option: tuple[str, ...], projrun: Projrun, project: Path, home: Home
) -> None:
    """A program may use it and may not show it: logs are looked at by many, and kept."""
    asks = "printenv MLFLOW_TRACKING_TOKEN; test ${#MLFLOW_TRACKING_TOKEN} = 64 || exit 9"
    (project / "MLproject").write_text(f"entry_points: {{main: {{command: '{asks}'}}}}\n")
    done = projrun("run", project, *LOCAL, *option)
    assert (done.returncode, done.stdout) == (0, "***\n"), done.stderr
    assert projrun("runs", "logs", str(only_run(projrun)["run_id"])).stdout == "***\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--env", "NO_SUCH_NAME"), "NO_SUCH_NAME"),
        (("--env", "a b=swordfish-9"), "NAME=VALUE"),
        (("--env-file", "nothing.env"), "nothing.env"),
    ],
)
def test_a_wrong_variable_is_a_usage_error_without_its_value(
    projrun: Projrun, project: Path, arguments: tuple[str, str], told: str
) -> None:
    done = projrun("run", project, *LOCAL, *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "swordfish" not in done.stderr


def test_a_detached_run_is_followed_waited_for_and_found(projrun: Projrun, project: Path) -> None:
    detached = projrun("run", project, *LOCAL, "-e", "gate", "--detach", "--env", "TOKEN=swordfish-9")
    run_id = detached.stdout.strip()
    assert len(run_id) == 32
    argv = [sys.executable, "-m", "projrun", "runs", "logs", "-f", run_id]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "started\n"
        (project / "open").touch()
        assert follower.stdout.read() == "ended\n"
    assert projrun("runs", "wait", run_id).returncode == 0
    assert outcome(projrun)[:2] == ("FINISHED", 0)


def test_waiting_gives_the_exit_code_of_the_run(projrun: Projrun, project: Path) -> None:
    detached = projrun("run", project, *LOCAL, "-e", "slow", "--detach", "--json")
    run_id = json.loads(detached.stdout)["run_id"]
    waited = projrun("runs", "wait", run_id, "--json")
    assert waited.returncode == 3
    assert json.loads(waited.stdout) == {
        "run_id": run_id, "status": "FAILED", "exit_code": 3,
        "reason": "the command exited with code 3",
    }  # fmt: skip


def test_a_run_is_stopped_from_another_shell(projrun: Projrun, project: Path) -> None:
    with started(project) as supervisor:
        run_id = json.loads(projrun("runs", "list", "--json").stdout)[0]["run_id"]
        assert projrun("runs", "stop", run_id[:8]).returncode == 0
        assert supervisor.wait() == 143
    assert outcome(projrun)[0] == "KILLED"
    assert not processes_in(project)
    assert projrun("runs", "stop", run_id).returncode == 0, "one that has ended stays as it is"


def test_a_detached_run_can_be_stopped_at_once(projrun: Projrun, project: Path) -> None:
    run_id = projrun("run", project, *LOCAL, "--detach").stdout.strip()
    projrun("runs", "stop", run_id)
    assert outcome(projrun)[0] == "KILLED"
    assert not processes_in(project)


def test_a_run_of_a_library_is_not_stopped_by_ending_the_program(projrun: Projrun, project: Path) -> None:
    script = f"import projrun; projrun.run({str(project)!r}, env_manager='local')"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        run_id = json.loads(projrun("runs", "list", "--json").stdout)[0]["run_id"]
        refused = projrun("runs", "stop", run_id)
        assert refused.returncode == 125
        assert "Python program" in refused.stderr
        program.send_signal(signal.SIGINT)
        program.wait()
    assert outcome(projrun)[0] == "KILLED"


def test_a_detached_run_outlives_a_run_that_started_it(
    projrun: Projrun, project: Path, make_project: MakeProject
) -> None:
    command = f"{sys.executable} -m projrun run {project} --env-manager local -e slow --detach"
    outer = make_project("outer", MLproject=f"entry_points: {{main: {{command: '{command}'}}}}")
    inner = projrun("run", outer, *LOCAL).stdout.strip()
    assert projrun("runs", "wait", inner).returncode == 3


def test_a_run_that_lost_its_supervisor_inside_a_run_is_settled(
    projrun: Projrun, project: Path, make_project: MakeProject
) -> None:
    command = f"{sys.executable} -m projrun run {project} --env-manager local"
    outer = make_project("outer", MLproject=f"entry_points: {{main: {{command: '{command}'}}}}")
    with started(outer) as supervisor:
        supervisor.kill()
    assert not processes_in(project)
    listed = json.loads(projrun("runs", "list", "--json").stdout)
    assert [run["status"] for run in listed] == ["FAILED", "FAILED"]


def test_the_streams_of_the_log_can_be_told_apart(projrun: Projrun, project: Path) -> None:
    projrun("run", project, *LOCAL, "-e", "short", "-P", "x=1")
    run_id = str(only_run(projrun)["run_id"])
    assert projrun("runs", "logs", run_id, "--stream", "out").stdout == "to out 1\n"
    assert projrun("runs", "logs", run_id, "--stream", "err").stdout == "to err\n"
    assert sorted(projrun("runs", "logs", run_id).stdout.splitlines()) == ["to err", "to out 1"]


def on_a_terminal(*arguments: str) -> bytes:
    """Return what `projrun` writes to a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "projrun", *arguments])
    output = b""
    try:
        while chunk := os.read(terminal, 65536):
            output += chunk
    except OSError:
        pass
    os.close(terminal)
    os.waitpid(pid, 0)
    return output


@pytest.mark.parametrize(
    ("entry_point", "status", "colour"), [("short", "FINISHED", 32), ("slow", "FAILED", 31)]
)
def test_the_status_has_its_colour_on_a_terminal(
    project: Path, monkeypatch: pytest.MonkeyPatch, entry_point: str, status: str, colour: int
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    arguments = ("run", str(project), *LOCAL, "-e", entry_point)
    assert f": \033[{colour}m{status}\033[0m after".encode() in on_a_terminal(*arguments)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = on_a_terminal(*arguments)
    assert f": {status} after".encode() in plain and b"\033" not in plain


def test_garbage_does_not_reach_the_terminal(projrun: Projrun, project: Path) -> None:
    projrun_raw = [sys.executable, "-m", "projrun", "run", str(project), *LOCAL, "-e", "garbage"]
    assert len(subprocess.run(projrun_raw, capture_output=True).stdout) > 3000
    shown = on_a_terminal("runs", "logs", str(only_run(projrun)["run_id"]))
    assert b"\x1b]" not in shown and b"\x07" not in shown and b"\x00" not in shown
    assert shown.endswith(b"\x1b[31mred\x1b[0m")
    shown.decode()


def test_a_dry_run_shows_the_plan_and_makes_nothing(projrun: Projrun, project: Path, home: Home) -> None:
    arguments = ("--dry-run", "-e", "short", "-P", "x=swordfish-9", "--env", "TOKEN=swordfish-9")
    shown = projrun("run", project, *arguments)
    assert shown.returncode == 0, shown.stderr
    assert "echo to out ***" in shown.stdout
    assert "uv: not resolved yet, not built yet" in shown.stdout
    found = json.loads(projrun("run", project, *arguments, "--json").stdout)
    assert found["plan"]["command"] == "echo to out ***; echo to err >&2"
    assert found["variables"] == ["TOKEN"]
    assert found["environment"]["built"] is False
    assert not home.data.exists()
    assert not home.environments.exists()


def test_a_dry_run_tells_what_would_be_downloaded(projrun: Projrun, make_project: MakeProject) -> None:
    project = make_project(
        **{
            "MLproject": "python_env: env.yaml\nentry_points: {main: {command: 'true'}}",
            "env.yaml": "dependencies: [iniconfig]",
        }
    )
    before = json.loads(projrun("run", project, "--dry-run", "--json").stdout)
    assert before["downloads"] == [{"what": "iniconfig and what it needs", "bytes": None}]
    assert projrun("run", project).returncode == 0
    after = json.loads(projrun("run", project, "--dry-run", "--json").stdout)
    assert after["environment"]["built"] is True
    assert after["environment"]["packages"][0].startswith("iniconfig ")
    assert after["downloads"] == []


def test_json_alone_is_a_usage_error(projrun: Projrun, project: Path) -> None:
    assert projrun("run", project, "--json").returncode == 2


def test_the_python_api_takes_variables_and_a_time_out(projrun: Projrun, project: Path, home: Home) -> None:
    given = {"TOKEN": "swordfish-9", "PLAIN": "one\ntwo-lines"}
    submitted = package.run(str(project), "secret", env_manager="local", synchronous=False, variables=given)
    assert submitted.wait()
    assert projrun("runs", "logs", submitted.run_id).stdout == "***\none ***\n"
    late = package.run(str(project), env_manager="local", synchronous=False, timeout_s=0.1)
    assert not late.wait()
    assert late.get_status() == "KILLED"
