"""Projects with docker_env, in a real engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Projrun
from tests.containers.conftest import artifact, docker, gone, runs_of

SHOW = """
import json, os, sys
print(json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd(), "uid": os.getuid(), "environ": dict(os.environ)}))
open(os.path.join(os.environ["HOME"], "writable"), "w").close()
open("made.txt", "w").close()
"""
CLIENT = """
import json, os, urllib.error, urllib.request
base = os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/"
def ask(path, body=None, token=os.environ["MLFLOW_TRACKING_TOKEN"]):
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(base + path, data, headers)) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
run = os.environ["MLFLOW_RUN_ID"]
print(ask("log-parameter", {"run_id": run, "key": "from", "value": "inside"}))
print(ask("get?run_id=" + run, token="no"))
"""
COUNT = "for i in 1 2 3 4 5 6; do echo line $i; done"


def project_of(base: str, command: str, extra: str = "") -> str:
    command = json.dumps(command.strip("'"))
    return (
        f"name: My Pröject\ndocker_env:\n  image: {base}\n{extra}"
        f"entry_points:\n  main:\n    command: {command}\n"
    )


def shown(stdout: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(stdout.splitlines()[0])
    return found


@pytest.mark.usefixtures("way")
def test_a_project_runs_in_its_image_as_in_mlflow(
    base_image: str, projrun: Projrun, make_project: MakeProject, tmp_path: Path
) -> None:
    extra = "  volumes: ['./data:/data', '${OUTSIDE}:/outside:ro', '$(pwd):/again']\n"
    extra += "  environment: [[PAIR, 1 2], SECRET]\n"
    mlproject = project_of(base_image, "python show.py 'a b' && ls /data /outside /again", extra)
    project = make_project(MLproject=mlproject, **{"show.py": SHOW, "data/inner.txt": ""})
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "outer.txt").touch()
    environ = {"SECRET": "line one\nline two", "OUTSIDE": str(tmp_path / "outside"), "OTHER": "stays here"}
    done = projrun("run", project, environ=environ)
    assert done.returncode == 0, done.stderr
    seen = shown(done.stdout)
    assert seen["argv"] == ["a b"]
    assert seen["cwd"] == "/mlflow/projects/code"
    assert isinstance(seen["environ"], dict)
    assert seen["environ"]["PAIR"] == "1 2"
    assert seen["environ"]["SECRET"] == environ["SECRET"]
    assert "OTHER" not in seen["environ"]
    assert {"inner.txt", "outer.txt", "show.py"} <= set(done.stdout.split())
    assert (project / "made.txt").exists()


def test_the_tracking_endpoint_is_reached_from_inside_with_its_token_alone(
    base_image: str, projrun: Projrun, make_project: MakeProject
) -> None:
    project = make_project(MLproject=project_of(base_image, "python client.py"), **{"client.py": CLIENT})
    done = projrun("run", project)
    assert done.stdout.split() == ["200", "401"], done.stderr
    assert runs_of(projrun)[0]["params"] == {"from": "inside"}


def test_secrets_are_on_no_command_line_and_in_no_record(
    way: str, base_image: str, projrun: Projrun, make_project: MakeProject, tmp_path: Path
) -> None:
    """A docker program of our own notes what it is called with."""
    real = shutil.which("docker")
    spy = tmp_path / "bin" / "docker"
    spy.parent.mkdir()
    spy.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {tmp_path}/calls\nexec {real} "$@"\n')
    spy.chmod(0o755)
    extra = "  environment: [SECRET]\n"
    project = make_project(MLproject=project_of(base_image, "test ${#SECRET}${#OTHER} = 56", extra))
    environ = {"SECRET": "hush1", "PATH": f"{spy.parent}:{os.environ['PATH']}"}
    done = projrun("run", project, "-A", "env=OTHER=hush22", environ=environ)
    assert done.returncode == 0, done.stderr
    (run,) = runs_of(projrun)
    assert gone(str(run["run_id"]))
    calls = (tmp_path / "calls").read_text()
    assert ("--env=SECRET" in calls) == (way == "by-client")
    assert "hush" not in calls
    assert "hush" not in json.dumps(run) + artifact(run, "projrun/record.json") + done.stderr


def test_outputs_belong_to_the_owner_of_the_project_also_when_root_runs_it(
    base_image: str, projrun: Projrun, make_project: MakeProject
) -> None:
    project = make_project(MLproject=project_of(base_image, "python show.py"), **{"show.py": SHOW})
    owner = os.getuid()
    if owner == 0:
        owner = 1234
        for path in (project, *project.iterdir()):
            os.chown(path, owner, owner)
    done = projrun("run", project)
    assert done.returncode == 0, done.stderr
    assert shown(done.stdout)["uid"] == owner
    assert (project / "made.txt").stat().st_uid == owner


@pytest.mark.usefixtures("way")
def test_the_exit_code_is_the_commands_also_when_it_is_dockers_own(
    base_image: str, projrun: Projrun, make_project: MakeProject
) -> None:
    project = make_project(MLproject=project_of(base_image, "'echo out; echo err >&2; exit 125'"))
    done = projrun("run", project)
    assert done.returncode == 125
    assert done.stdout == "out\n"
    assert "err" in done.stderr.splitlines()
    (run,) = runs_of(projrun)
    assert run["exit_code"] == 125
    assert sorted(artifact(run, "projrun/output.log").split()) == ["err", "out"]


def test_a_shell_in_a_container_is_refused_with_the_command_that_opens_one(
    base_image: str, projrun: Projrun, make_project: MakeProject
) -> None:
    project = make_project(MLproject=project_of(base_image, "true"))
    done = projrun("shell", project, "--", "true")
    assert done.returncode == 125
    image = docker("inspect", "--format", "{{.Id}}", base_image)
    assert re.search(rf"error: .*in a container.*docker run .* {image} bash", done.stderr)


def test_files_that_parameters_name_are_there_under_their_own_paths(
    base_image: str, projrun: Projrun, make_project: MakeProject, tmp_path: Path
) -> None:
    mlproject = project_of(base_image, "'cat {data}; touch {data} || echo read-only'")
    mlproject += "    parameters: {data: path}\n"
    project = make_project(MLproject=mlproject)
    (tmp_path / "elsewhere.csv").write_text("found\n")
    done = projrun("run", project, "-P", f"data={tmp_path}/elsewhere.csv")
    assert done.stdout.split() == ["found", "read-only"], done.stderr


def test_the_source_can_be_read_only(base_image: str, projrun: Projrun, make_project: MakeProject) -> None:
    project = make_project(MLproject=project_of(base_image, "touch made.txt"))
    assert projrun("run", project, "--read-only-source").returncode == 1
    assert not (project / "made.txt").exists()


@pytest.mark.usefixtures("way")
def test_arguments_for_docker_run_pass_through(
    base_image: str, projrun: Projrun, make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project(
        MLproject=project_of(base_image, "'hostname=$(uname -n); echo $hostname $(ls /a /b)'")
    )
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"in-{name}").touch()
    arguments = [
        "hostname=elsewhere",
        f"v={tmp_path}/a:/a",
        f"v={tmp_path}/b:/b",
        "network=none",
        "read-only",
    ]
    done = projrun("run", project, *(word for text in arguments for word in ("-A", text)))
    assert done.stdout.split() == ["elsewhere", "/a:", "in-a", "/b:", "in-b"], done.stderr
    record = json.loads(artifact(runs_of(projrun)[0], "projrun/record.json"))
    assert "--read-only" in record["plan"]["container"]["arguments"]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("form", ["-At", "--docker-args=t", "--docker-args=tty"])
def test_a_terminal_without_stdin(
    form: str, base_image: str, projrun: Projrun, make_project: MakeProject
) -> None:
    """`docker run -t` behaves alike: there is a terminal, and our stdin is not the command's."""
    command = "'test -t 1 && echo terminal; read -t 1 line; echo got $line'"
    project = make_project(MLproject=project_of(base_image, command))
    done = projrun("run", project, form)
    assert done.stdout.split() == ["terminal", "got"], done.stderr
    assert done.returncode == 0


def test_an_image_with_the_project_has_a_legal_name_and_says_what_is_in_it(
    base_image: str, projrun: Projrun, make_project: MakeProject
) -> None:
    project = make_project(
        MLproject=project_of(base_image, "'cat code.txt; touch made.txt'"), **{"code.txt": "code\n"}
    )
    done = projrun("run", project, "--build-image", "-A", "user=0")
    try:
        assert done.stdout == "code\n", done.stderr
        assert not (project / "made.txt").exists()
        labels = json.loads(docker("inspect", "--format", "{{json .Config.Labels}}", "my-pr-ject:latest"))
        assert labels["org.opencontainers.image.title"] == "My Pröject"
    finally:
        docker("rmi", "--force", "my-pr-ject:latest")


def test_a_project_in_its_image_is_the_callers_and_says_nothing_of_the_base(
    base_image: str, projrun: Projrun, make_project: MakeProject, tmp_path: Path
) -> None:
    label = "LABEL org.opencontainers.image.revision=of-the-base projrun.environment=of-the-base\n"
    (tmp_path / "Dockerfile").write_text(f"FROM {base_image}\n{label}")
    base = docker("build", "--quiet", str(tmp_path))
    project = make_project(
        MLproject=project_of(base, "'echo more >> code.txt; cat code.txt; touch made.txt'")
    )
    (project / "code.txt").write_text("code\n")
    for path in (project, *project.iterdir()):
        os.chown(path, os.getuid() or 1234, os.getgid())
    try:
        done = projrun("run", project, "--build-image")
        assert (done.returncode, done.stdout) == (0, "code\nmore\n"), done.stderr
        labels = json.loads(docker("inspect", "--format", "{{json .Config.Labels}}", "my-pr-ject:latest"))
        assert labels["org.opencontainers.image.revision"] == labels["projrun.environment"] == ""
    finally:
        docker("rmi", "--force", "my-pr-ject:latest")  # and with it the base, which has no name


def test_an_image_that_has_the_projects_name_already_keeps_it(
    base_image: str, projrun: Projrun, make_project: MakeProject
) -> None:
    text = project_of(base_image, "cat code.txt").replace("My Pröject", "projrun-test-taken")
    project = make_project(MLproject=text, **{"code.txt": "code\n"})
    docker("tag", base_image, "projrun-test-taken")
    try:
        for _ in range(2):
            done = projrun("run", project, "--build-image", "-A", "user=0")
            assert done.stdout == "code\n", done.stderr
        images = [
            docker("image", "inspect", "--format", "{{.Id}}", name)
            for name in (base_image, "projrun-test-taken", "projrun-test-taken-project")
        ]
        assert images[0] == images[1] != images[2]
    finally:
        docker("rmi", "--force", "projrun-test-taken", "projrun-test-taken-project")


def test_an_image_with_the_project_says_which_commit_is_in_it(
    base_image: str, projrun: Projrun, make_project: MakeProject
) -> None:
    project = make_project(MLproject=project_of(base_image, "cat code.txt"), **{"code.txt": "code\n"})
    remote = ["remote", "add", "origin", "https://someone:hush@example.org/team/repo.git"]
    for arguments in (["init"], remote, ["add", "."], ["commit", "-m", "first"], ["tag", "v1"]):
        subprocess.run(["git", "-C", project, *arguments], check=True, capture_output=True)
    commit = subprocess.run(
        ["git", "-C", project, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    tag = f"my-pr-ject:{commit[:7]}"
    try:
        done = projrun("run", f"file://{project}", "-v", "v1", "--build-image", "-A", "user=0")
        assert done.stdout == "code\n", done.stderr
        labels = json.loads(docker("inspect", "--format", "{{json .Config.Labels}}", tag))
        assert labels == {
            "org.opencontainers.image.title": "My Pröject",
            "org.opencontainers.image.revision": commit,
            "org.opencontainers.image.source": "https://example.org/team/repo.git",
            "org.opencontainers.image.version": "v1",
        }
    finally:
        docker("rmi", "--force", tag)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("echo 'E: no package libfoo' >&2; exit 4", "E: no package libfoo;"),
        (f"{COUNT}; no-such-program", "/bin/sh: 1: no-such-program: not found;"),
        (f"{COUNT}; exit 4", "line 3 | line 4 | line 5 | line 6;"),
    ],
)
def test_a_step_that_fails_is_told_with_what_it_said_and_where_the_rest_is(
    step: str, told: str, base_image: str, projrun: Projrun, make_project: MakeProject
) -> None:
    text = "docker_env: {build: .}\nentry_points: {main: {command: echo}}\n"
    project = make_project(MLproject=text, Dockerfile=f"FROM {base_image}\nRUN {step}\n")
    done = projrun("run", project)
    assert done.returncode == 125
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"projrun: error: the image could not be built: RUN {step}: {told}"), last
    [run] = runs_of(projrun)
    assert last.endswith(f"; all that was said: projrun runs logs {str(run['run_id'])[:8]}")
    assert "Step 2/2" in projrun("runs", "logs", str(run["run_id"])).stdout


def test_an_image_is_built_from_the_projects_dockerfile(
    base_image: str, projrun: Projrun, make_project: MakeProject
) -> None:
    mlproject = "docker_env: {build: {context: image, args: {WORD: built}}}\n"
    mlproject += "entry_points: {main: {command: cat /word}}\n"
    dockerfile = f"FROM {base_image}\nARG WORD\nRUN echo $WORD > /word\n"
    project = make_project(MLproject=mlproject, **{"image/Dockerfile": dockerfile})
    done = projrun("run", project)
    assert done.stdout == "built\n", done.stderr
    (project / "image" / "Dockerfile").write_text(dockerfile + "RUN echo again >> /word\n")
    assert projrun("run", project).stdout == "built\nagain\n"


def test_a_tag_of_this_machine_is_followed_when_it_moves(
    base_image: str, projrun: Projrun, make_project: MakeProject, tmp_path: Path
) -> None:
    tag = f"projrun-test/moving:{tmp_path.parent.name.lower()}"
    project = make_project(MLproject=project_of(tag, "cat /etc/word"))
    ids = []
    try:
        for word in ("one", "two"):
            (tmp_path / "Dockerfile").write_text(f"FROM {base_image}\nRUN echo {word} > /etc/word\n")
            docker("build", "--quiet", "--tag", tag, str(tmp_path))
            ids.append(docker("inspect", "--format", "{{.Id}}", tag))
            assert projrun("run", project).stdout == f"{word}\n"
    finally:
        docker("rmi", "--force", tag)
    records = [json.loads(artifact(run, "projrun/record.json")) for run in runs_of(projrun)]
    assert [record["environment"]["image"] for record in records] == ids[::-1]


@pytest.mark.parametrize(
    ("arguments", "environ", "told"),
    [
        (
            (),
            {"DOCKER_HOST": "unix:///nowhere/docker.sock"},
            "no container engine answers at unix:///nowhere",
        ),
        ((), {"PATH": "/nowhere"}, "docker program, which is not on the PATH"),
        (("--docker-image", "localhost:1/no/such"), {}, "the registry cannot be reached"),
        (("--docker-image", "no name"), {}, "'no name' is no name that an engine knows"),
        (("--docker-image", "no/../name"), {}, "there is no such image"),
        (("-A", "no-such-argument"), {}, "unknown flag: --no-such-argument"),
        (("-A", "detach"), {}, "projrun follows the run to its end"),
        (("-A", "gpus=all"), {}, "the container engine has no such GPU"),
    ],
)
def test_what_cannot_run_is_told_in_one_line_with_the_next_step(
    base_image: str,
    projrun: Projrun,
    make_project: MakeProject,
    arguments: tuple[str, ...],
    environ: dict[str, str],
    told: str,
) -> None:
    project = make_project(MLproject=project_of(base_image, "true"))
    done = projrun("run", project, *arguments, environ=environ)
    assert done.returncode in (2, 125), done.stderr
    errors = [line for line in done.stderr.splitlines() if "projrun: error:" in line]
    assert len(errors) == 1, done.stderr
    assert re.search(told, errors[0]), errors
    assert "Traceback" not in done.stderr
