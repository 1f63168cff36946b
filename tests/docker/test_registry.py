"""Images of a registry, Debian's docker-registry: an image is pinned to what its tag meant first."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Projrun
from tests.docker.conftest import artifact, docker, eventually, runs_of

CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {directory}}}}}
http: {{addr: 127.0.0.1:{port}}}
"""


@pytest.fixture
def registry(engine: None, tmp_path: Path) -> Iterator[str]:
    """Address of an empty registry on loopback, which engines trust without certificates."""
    program = shutil.which("docker-registry")
    if program is None:
        if os.environ.get("PROJRUN_TEST_ENGINES") == "1":
            pytest.fail("docker-registry is not installed")
        pytest.skip("docker-registry is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "registry.yml"
    config.write_text(CONFIG.format(directory=tmp_path / "registry", port=port))
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


def push(name: str, base: str, word: str, directory: Path) -> None:
    (directory / "Dockerfile").write_text(f"FROM {base}\nRUN echo {word} > /etc/word\n")
    docker("build", "--quiet", "--tag", name, str(directory))
    docker("push", "--quiet", name)


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
