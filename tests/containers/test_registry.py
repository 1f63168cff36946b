"""Images of a registry, Debian's docker-registry: an image is pinned to what its tag meant first."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from projrun import api
from projrun.errors import ProjrunError
from tests.conftest import MakeProject, Projrun
from tests.containers.conftest import artifact, docker, eventually, runs_of

CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {directory}}}}}
http: {{addr: 127.0.0.1:{port}}}
"""
LOCK = "auth: {{htpasswd: {{realm: test, path: {accounts}}}}}\n"
ACCOUNTS = "someone:$2b$04$hysNj27IBi4m3INdxvpc/eY4rxPPqWXS.FpR/DYx5gQVJBd75cpvu\n"
"""The password is `right`."""


@pytest.fixture
def registry(engine: None, tmp_path: Path) -> Iterator[str]:
    """Address of an empty registry on loopback, which engines trust without certificates."""
    with serving(tmp_path) as address:
        yield address


@pytest.fixture
def locked_registry(engine: None, tmp_path: Path) -> Iterator[str]:
    """One that wants an account."""
    accounts = tmp_path / "accounts"
    accounts.write_text(ACCOUNTS)
    with serving(tmp_path, LOCK.format(accounts=accounts)) as address:
        yield address


@contextmanager
def serving(tmp_path: Path, more: str = "") -> Iterator[str]:
    program = shutil.which("docker-registry")
    if program is None:
        if os.environ.get("PROJRUN_TEST_ENGINES") == "1":
            pytest.fail("docker-registry is not installed")
        pytest.skip("docker-registry is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "registry.yml"
    config.write_text(CONFIG.format(directory=tmp_path / "registry", port=port) + more)
    null = subprocess.DEVNULL
    with subprocess.Popen([program, "serve", str(config)], stdout=null, stderr=null) as serving:
        try:
            assert eventually(lambda: _listens(port))
            yield f"127.0.0.1:{port}"
        finally:
            serving.kill()


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def push(name: str, base: str, word: str, directory: Path, *options: str) -> None:
    (directory / "Dockerfile").write_text(f"FROM {base}\nRUN echo {word} > /etc/word\n")
    docker("build", "--quiet", "--tag", name, str(directory))
    docker(*options, "push", "--quiet", name)


def test_a_tag_is_pinned_to_its_digest_and_pulled_by_it(
    shell_image: str, registry: str, projrun: Projrun, make_project: MakeProject, tmp_path: Path
) -> None:
    name = f"{registry}/team/tool:latest"
    mlproject = f"docker_env: {{image: '{name}'}}\nentry_points: {{main: {{command: cat /etc/word}}}}\n"
    project = make_project(MLproject=mlproject)
    push(name, shell_image, "one", tmp_path)
    try:
        assert projrun("run", project).stdout == "one\n"
        digest = json.loads(artifact(runs_of(projrun)[0], "projrun/record.json"))["environment"]["image"]
        assert digest.startswith(f"{registry}/team/tool@sha256:")
        push(name, shell_image, "two", tmp_path)
        docker("rmi", "--force", digest)
        again = projrun("run", project)
        assert again.stdout == "one\n", again.stderr
        missing = projrun("run", project, "--docker-image", f"{registry}/team/no-such")
        assert missing.returncode == 125
        assert "there is no such image" in missing.stderr.splitlines()[-1]
    finally:
        for image in docker("images", "--quiet", f"{registry}/team/tool").split():
            docker("rmi", "--force", image)


def test_a_registry_that_wants_an_account(
    shell_image: str, locked_registry: str, projrun: Projrun, make_project: MakeProject, tmp_path: Path
) -> None:
    name = f"{locked_registry}/team/secret:1"
    mlproject = f"docker_env: {{image: '{name}'}}\nentry_points: {{main: {{command: cat /etc/word}}}}\n"
    project = make_project(MLproject=mlproject)
    config = ["--config", str(tmp_path / "config")]
    login = ["login", "--username", "someone", "--password-stdin", locked_registry]
    subprocess.run(["docker", *config, *login], input="right", text=True, check=True, capture_output=True)
    push(name, shell_image, "inside", tmp_path, *config)
    docker("rmi", name)
    without = projrun("run", project)
    assert without.returncode == 125
    assert "projrun: error: the registry refuses: " in without.stderr.splitlines()[-1]
    account = {"username": "someone", "password": "wrong-one", "registry": locked_registry}
    with pytest.raises(ProjrunError, match=r"the registry refuses: .*docker login") as refused:
        api.run(str(project), docker_auth=account)
    assert "wrong-one" not in str(refused.value)
    api.run(str(project), docker_auth={**account, "password": "right"})
    run = runs_of(projrun)[0]
    assert artifact(run, "projrun/output.log") == "inside\n"
    record = artifact(run, "projrun/record.json")
    docker("rmi", "--force", name, json.loads(record)["environment"]["image"])
    assert "right" not in json.dumps(run) + record
