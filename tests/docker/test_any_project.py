"""Projects of other kinds, in an image that is made for them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from projrun.environments import images
from projrun.home import Home
from tests.conftest import MakeProject, Projrun
from tests.docker.conftest import artifact, docker, runs_of

MLPROJECT = "name: any\npython_env: python_env.yaml\nentry_points:\n  main:\n    command: {}\n"
SIX = f"python: '{'.'.join(map(str, __import__('sys').version_info[:2]))}'\ndependencies: [six==1.16.0]\n"
VERSION = "python -c 'import six, sys; print(six.__version__, sys.prefix)'"


@pytest.fixture
def with_six(make_project: MakeProject) -> str:
    return str(make_project(MLproject=MLPROJECT.format(VERSION), **{"python_env.yaml": SIX}))


def test_its_lock_is_installed_in_an_image_that_is_found_again(
    on_base: str, with_six: str, projrun: Projrun, home: Home
) -> None:
    credentials = {"UV_INDEX_PRIVATE_USERNAME": "someone", "UV_INDEX_PRIVATE_PASSWORD": "hush-hush"}
    done = projrun("run", with_six, "--env-manager", "docker", environ=credentials)
    assert done.stdout == "1.16.0 /opt/projrun\n", done.stderr
    record = json.loads(artifact(runs_of(projrun)[0], "projrun/record.json"))
    key = record["environment"]["key"]
    assert {"name": "six", "version": "1.16.0"} in record["environment"]["packages"]
    assert "sha256" in artifact(runs_of(projrun)[0], "projrun/pylock.toml")
    try:
        again = projrun("run", with_six, "--env-manager", "docker", environ=credentials)
        assert "building" not in again.stderr
        shutil.rmtree(home.environments)
        before = docker("images", "--quiet", "--filter", "label=projrun.environment")
        assert projrun("run", with_six, "--env-manager", "docker", environ=credentials).returncode == 0
        assert docker("images", "--quiet", "--filter", "label=projrun.environment") == before
        everything = docker("history", "--no-trunc", f"projrun-environment:{key}")
        everything += docker("inspect", f"projrun-environment:{key}")
        assert "hush-hush" not in everything
        assert not docker("images", "--all", "--quiet", "--filter", "label=projrun.stage")
        assert key in [image.labels[images.KEY_LABEL] for image in images.images()]
    finally:
        assert images.remove(key)
    assert not images.remove(key)


def test_packages_that_do_not_exist_are_told_before_anything_is_built(
    on_base: str, make_project: MakeProject, projrun: Projrun
) -> None:
    env = SIX.replace("six==1.16.0", "six==99.99")
    done = projrun(
        "run",
        make_project(MLproject=MLPROJECT.format("echo"), **{"python_env.yaml": env}),
        "--env-manager",
        "docker",
    )
    assert done.returncode == 125
    assert "six" in done.stderr.splitlines()[-1]


def test_conda_packages_wait_for_conda(on_base: str, make_project: MakeProject, projrun: Projrun) -> None:
    project = make_project(
        MLproject="conda_env: c.yaml\nentry_points: {main: {command: echo}}\n",
        **{"c.yaml": "dependencies: [gdal]\n"},
    )
    done = projrun("run", project, "--env-manager", "docker")
    assert done.returncode == 125
    assert "gdal" in done.stderr.splitlines()[-1]


def test_a_dockerfile_stands_by_itself(on_base: str, with_six: str, projrun: Projrun, tmp_path: Path) -> None:
    done = projrun("dockerfile", with_six, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out" / "Dockerfile").read_text()
    base = docker("inspect", "--format", "{{.Id}}", on_base)
    assert f"FROM {base}" in text
    assert sorted(os.listdir(tmp_path / "out")) == ["Dockerfile", "pylock.toml"]
    shown = projrun("dockerfile", with_six)
    assert shown.stdout == text
