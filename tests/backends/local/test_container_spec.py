"""A container that the engine is asked for directly is the one that the docker program would have made."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from projrun import engine as engine_client
from projrun.backends.local.container_spec import RunArguments, is_client_plain, make_create_request
from tests.containers.conftest import docker, engine, shell_image
from tests.support.repository import ROOT

__all__ = ["engine", "shell_image"]

OWN = (
    *("--init", "--env=A=b c", "--user=1234:5", "--workdir=/mlflow", "--userns=host"),
    *("--tmpfs=/home/x:rw,exec,mode=1777", "--mount=type=bind,source=/tmp,target=/x/y", "--label=some=thing"),
    "--mount=type=bind,source=/tmp,target=/z,readonly",
)
"""What projrun itself passes."""


@pytest.mark.parametrize(
    "options",
    [
        (),
        OWN,
        ("--interactive",),
        ("--tty",),
        ("--network=host",),
        ("--network=none", "--hostname=elsewhere"),
        ("--network=bridge",),
        ("--user=1", "--user=0", "--workdir=/a", "--workdir=/b"),
        ("--memory=64m", "--shm-size=1G"),
        ("--shm-size=65536b", "--memory=33554432"),
        ("--volume=/tmp:/a", "--volume=/tmp:/b:ro", "--volume=projrun-test-volume:/c"),
        ("--ipc=host", "--privileged", "--read-only"),
        ("--label=alone", "--label=a=b=c", "--tmpfs=/scratch"),
    ],
    ids=" ".join,
)
def test_both_ways_make_the_same_container(shell_image: str, options: tuple[str, ...]) -> None:
    command, variables = ["sh", "-c", "true 'x'"], {"B": "1\n2", "Ä": "ö"}
    made = make_create_request(RunArguments(options, variables, shell_image, command))
    assert made is not None
    given = [f"--env={name}={value}" for name, value in variables.items()]
    containers = [made_directly(made.body), docker("create", *options, *given, shell_image, *command)]
    try:
        direct, by_client = json.loads(docker("inspect", *containers))
    finally:
        docker("rm", "--volumes", *containers)
        subprocess.run(["docker", "volume", "rm", "projrun-test-volume"], capture_output=True)
    for part in ("Config", "HostConfig"):
        assert said(direct[part]) == said(by_client[part])


def made_directly(body: bytes) -> str:
    """The id of the container."""
    with socket.socket(socket.AF_UNIX) as channel, closing(http.client.HTTPConnection("engine")) as asking:
        channel.connect(engine_client.address().removeprefix("unix://"))
        asking.sock = channel
        asking.request("POST", "/containers/create", body, {"Content-Type": "application/json"})
        answer = json.loads(asking.getresponse().read())
    return str(answer["Id"])


def said(part: dict[str, Any]) -> dict[str, Any]:
    """Without what says nothing, in whichever way; a container's own name is its id."""
    if re.fullmatch("[0-9a-f]{12}", part.get("Hostname", "")):
        part = {**part, "Hostname": ""}
    lists = {name: sorted(part.get(name) or ()) for name in ("Binds", "Env")}  # docker keeps no order of them
    part = {**part, **lists}
    return {name: value for name, value in part.items() if value not in (None, 0, "", [], {}, [0, 0])}


@pytest.mark.parametrize(
    "option",
    [
        *(
            "--gpus=all",
            "--no-such-argument",
            "--user",
            "--user=",
            "--init=true",
            "--network=container:other",
        ),
        *("--volume=./a:/b", "--volume=/inside", "--memory=1.5g", "--mount=type=volume,target=/a"),
        *("--env=INHERITED", "--name=a/b", "--hostname=\udce4"),
    ],
)
def test_what_is_not_simple_is_left_to_the_docker_program(option: str) -> None:
    assert make_create_request(RunArguments(["--init", option], {}, "image", ["true"])) is None


def test_two_networks_and_a_terminal_to_type_at_are_left_to_the_docker_program() -> None:
    for options in (["--network=a", "--network=b"], ["--tty", "--interactive"]):
        assert make_create_request(RunArguments(options, {}, "image", [])) is None


@pytest.mark.parametrize(
    ("settings", "nothing"),
    [
        (None, True),
        ({"auths": {"r.example": {}}}, True),
        ({"proxies": {"default": {"httpProxy": "http://p.example"}}}, False),
        ({"HttpHeaders": {"X-Who": "me"}}, False),
    ],
)
def test_what_the_docker_program_would_add_is_not_lost(
    settings: object, nothing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    if settings is not None:
        (tmp_path / "config.json").write_text(json.dumps(settings))
    assert is_client_plain() is nothing
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
    assert not is_client_plain()


def test_the_manual_names_the_arguments_that_are_simple() -> None:
    values = {
        **dict.fromkeys(("init", "interactive", "privileged", "read-only", "tty"), ""),
        **dict.fromkeys(("env", "label"), "a=b"),
        **dict.fromkeys(("hostname", "ipc", "name", "network", "user", "userns"), "name"),
        **dict.fromkeys(("memory", "shm-size"), "1g"),
        **dict.fromkeys(("tmpfs", "volume"), "/a:/b"),
        "workdir": "/a",
    }
    for name, value in values.items():
        option = f"--{name}={value}" if value else f"--{name}"
        assert make_create_request(RunArguments([option], {}, "image", [])) is not None, option
    manual = ROOT.joinpath("docs", "docker.md").read_text()
    listed = manual.partition("does it for arguments other than")[2].partition(";")[0]
    assert set(re.findall("`([a-z-]+)`", listed)) == set(values)
