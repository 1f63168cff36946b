"""Execute every code block of the pages, in a home of its own.

A name that stands for something of the reader's (a run's id, a host) is given a real one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from tests.conftest import Projrun
from tests.support.git_server import GitServer, git_server, make_upstream, run_git
from tests.support.markdown import Block, blocks, commands
from tests.support.repository import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = {
    "python3 -m venv .venv": "a new machine does: the first by hand before a release, the second in CI",
    ".venv/bin/ruff check": "CI does",
    "uv pip compile": "it would change the requirements of this tree",
    "python -m benchmarks": "it takes a quarter of an hour",
    "pip install 'projrun[conda]'": "it is not in the package index yet",
    "podman system service": "tests/containers starts it",
    "export DOCKER_HOST": "tests/containers sets it",
    "projrun run . -A gpus=all": "there is no GPU",
    "projrun run examples/elasticnet --env-manager docker": "tests/containers runs projects in containers",
    "projrun run . --env-manager conda": "conda-forge is out of reach; tests have channels of their own",
    "projrun run . --env-manager docker": "tests/containers does, with a base image of its own",
}
MAY_BE_1 = {
    "projrun diff": "the runs differ",
    "projrun doctor": "something of this machine does not work, such as an engine that does not run",
}
"""Commands whose exit code 1 is an answer, and what it says."""
MLPROJECT = """
name: models
python_env: python_env.yaml
entry_points:
  main:
    parameters:
      alpha: {type: float, default: 0.1}
      note: {type: string, default: none}
    command: python train.py {alpha} {note}
  validate:
    parameters:
      alpha: {type: float, default: 0.1}
      note: {type: string, default: none}
    command: python train.py {alpha} {note}
"""
PYTHON_ENV = f"python: '{sys.version_info.major}.{sys.version_info.minor}'\ndependencies: []\n"
FILES = {
    "MLproject": MLPROJECT,
    "python_env.yaml": PYTHON_ENV,
    "train.py": "import sys\nprint('trained with', *sys.argv[1:])\n",
    "README.md": "Models\n",
}


__all__ = ["git_server"]


@pytest.fixture
def world(
    tmp_path: Path, projrun: Projrun, git_server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # what README.md trains runs more than once
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "downloads"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield World(tmp_path, projrun, git_server, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()


class World:
    """The reader's machine: a project with a history, two runs of it, repositories behind hosts' names."""

    def __init__(self, place: Path, projrun: Projrun, git_server: GitServer, files_url: str) -> None:
        self.place = place / "models"
        upstream = make_upstream(git_server.root / "models.git")
        upstream.commit(**FILES, **{f"churn__{name}": text for name, text in FILES.items()})
        upstream.git("tag", "v1.2")
        upstream.push()
        run_git("clone", "--quiet", str(upstream.bare), str(self.place))
        shutil.copytree(self.place, place / "other")
        shutil.copytree(ROOT / "examples" / "elasticnet", self.place / "examples" / "elasticnet")
        (self.place / ".env").write_text("TOKEN=secret\n")
        with tarfile.open(self.place / "model-1.0.tar.gz", "w:gz") as archive:
            for name in FILES:
                archive.add(upstream.tree / name, f"model/{name}")
        download = place / "downloads" / "model.zip"
        download.parent.mkdir()
        with zipfile.ZipFile(download, "w") as zipped:
            for name, text in FILES.items():
                zipped.writestr(f"model-1.0/training/{name}", text)
        for host in ("https://git.example.org/team/", "git@git.example.org:team/"):
            run_git("config", "--global", "--add", f"url.{git_server.url}/.insteadOf", host)
        home = Path(os.environ["HOME"])
        (home / ".config" / "fish" / "completions").mkdir(parents=True)

        self.real = {
            "3f2a9c1": upstream.head[:10],
            "9f86d081884c7d65…": hashlib.sha256(download.read_bytes()).hexdigest(),
            "https://example.org": files_url,
        }
        for name, alpha in {"1f0c9a3e": "0.5", "8b21d07c": "0.4"}.items():
            done = projrun("run", ".", "-P", f"alpha={alpha}", cwd=self.place)
            assert done.returncode == 0, done.stderr
            self.real[name] = re.findall(r"runs show (\w+)", done.stderr)[0]
        listed = json.loads(projrun("env", "list", "--json").stdout)
        self.real["3f2a"] = listed[0]["key"][:12]
        for bundle in ("baseline.zip", "theirs.zip"):
            done = projrun("bundle", self.real["1f0c9a3e"], "-o", bundle, cwd=self.place)
            assert done.returncode == 0, done.stderr

    def types(self, command: str, *, expected: tuple[int, ...] = (0,)) -> None:
        for name, real in self.real.items():
            command = re.sub(rf"(?<![\w.]){name}(?!\w)", real, command)
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=self.place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        said = f"{command}\n{done.stdout}{done.stderr}"
        assert done.returncode in expected and (done.returncode == 0 or done.stdout), said


def runs_here(command: str) -> bool:
    return not command.startswith(tuple(NOT_RUN))


WITH_COMMANDS = [
    page
    for page in PAGES
    if any(
        block.language == "python" or any(map(runs_here, commands(block.text)))
        for block in blocks(page)
        if block.language in ("console", "python")
    )
]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.name)
def test_the_commands_of_a_page_work(page: Path, world: World) -> None:
    for block in blocks(page):
        if block.language == "console":
            for command in filter(runs_here, commands(block.text)):
                world.types(command, expected=(0, 1) if command.startswith(tuple(MAY_BE_1)) else (0,))
        elif block.language == "python":
            world.types(f"{sys.executable} -c '{block.text}'")


def test_what_is_not_run_is_there() -> None:
    consoles = [block.text for page in PAGES for block in blocks(page) if block.language == "console"]
    every = [command for text in consoles for command in commands(text)]
    for beginning in NOT_RUN:
        assert any(command.startswith(beginning) for command in every), beginning


MLPROJECTS = [block for block in blocks(ROOT / "docs" / "mlproject.md") if block.language == "yaml"]


@pytest.mark.parametrize("block", MLPROJECTS, ids=lambda block: f"line {block.line}")
def test_files_on_the_page_about_them_are_valid(block: Block, tmp_path: Path, projrun: Projrun) -> None:
    (tmp_path / "python_env.yaml").write_text(PYTHON_ENV)
    (tmp_path / "data.csv").write_text("1\n")
    rest = "" if "entry_points:" in block.text else "name: rest\nentry_points: {main: {command: 'true'}}\n"
    (tmp_path / "MLproject").write_text(rest + block.text)
    done = projrun("validate", tmp_path)
    assert done.returncode == 0 and not done.stdout.strip(), done.stdout + done.stderr


def test_steps_of_ci_work(world: World) -> None:
    """The same check in the words of three CI systems: what they give to a shell, and to our action."""
    found = []
    for block in blocks(ROOT / "docs" / "reproducibility.md"):
        if block.language == "groovy":
            found += [each for each in re.findall(r"sh '(.*)'", block.text) if "projrun verify" in each]
        elif block.language == "yaml":
            document: Any = yaml.safe_load(block.text)
            if "script" in document.get("verify", {}):
                found += [each for each in document["verify"]["script"] if each.startswith("projrun")]
            for step in document.get("jobs", {}).get("verify", {}).get("steps", []):
                assert step.keys() <= {"uses", "with"}
                if "projrun" in step["uses"]:
                    action: Any = yaml.safe_load((ROOT / "action.yml").read_text())
                    assert step["with"].keys() <= action["inputs"].keys()
    assert len(found) == 2
    for command in found:
        world.types(command.replace(".venv/bin/", ""))
        assert "testcase" in (world.place / "verify.xml").read_text()
