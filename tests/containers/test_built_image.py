"""Projects of other kinds, in an image that is made for them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.environments.docker import images
from projrun.environments.docker.image_build import SHELF_LABEL, shelf_name
from tests.conftest import MakeProject, Projrun
from tests.containers.conftest import artifact, docker, runs_of
from tests.support.package_index import make_wheel

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
        ours = ("images", "--quiet", "--no-trunc", "--filter", f"label=projrun.environment={key}")
        before = docker(*ours)
        assert projrun("run", with_six, "--env-manager", "docker", environ=credentials).returncode == 0
        assert docker(*ours) == before
        everything = docker("history", "--no-trunc", f"projrun-environment:{key}")
        everything += docker("inspect", f"projrun-environment:{key}")
        assert "hush-hush" not in everything
        stages = ("--filter", "label=projrun.stage", "--filter", "dangling=true")
        shelf = f"label={SHELF_LABEL}={shelf_name(home.environments / 'docker')}"
        assert not docker("images", "--quiet", *stages, "--filter", shelf)
        assert docker("inspect", "--format", "{{.Config.Labels}}", f"projrun-environment:{key}")
    finally:
        assert projrun("env", "remove", key).stdout == f"removed docker/{key}\n"
    assert images.find_environment_image(key) is None


def listed(projrun: Projrun) -> dict[str, object]:
    (found,) = json.loads(projrun("env", "list", "--json").stdout)
    assert isinstance(found, dict)
    return found


def test_the_shelf_has_images_with_and_without_their_directories(
    on_base: str, make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    env = SIX.replace("six==1.16.0", "six==1.15.0")
    project = make_project(MLproject=MLPROJECT.format("echo"), **{"python_env.yaml": env})
    built = projrun("env", "build", project, "--env-manager", "docker")
    assert built.returncode == 0, built.stderr
    place = Path(built.stdout.strip())
    base = int(docker("inspect", "--format", "{{.Size}}", on_base))
    one = listed(projrun)
    assert (one["key"], one["complete"], one["in_use"]) == (place.name, True, False)
    assert int(str(one["size"])) > base > int(str(one["frees"])) > 0
    assert str(one["image"]) in projrun("env", "show", place.name).stdout
    shutil.rmtree(place)
    alone = listed(projrun)
    assert (alone["key"], alone["image"], alone["path"]) == (one["key"], one["image"], "")
    assert "an image whose directory is gone" in projrun("env", "list").stdout
    assert projrun("env", "prune", "--dry-run").stdout == ""  # the next build takes it up again
    elsewhere = projrun("env", "list", "--json", environ={"PROJRUN_CACHE_DIR": str(home.cache / "other")})
    assert elsewhere.stdout.strip() == "[]"
    user = docker("create", f"projrun-environment:{place.name}", "true")
    try:
        assert projrun("env", "remove", place.name).returncode == 1
        assert images.find_environment_image(place.name)
    finally:
        docker("rm", user)
    assert projrun("env", "prune", "--unused").stdout == f"removed docker/{place.name}\n"
    assert images.find_environment_image(place.name) is None


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


def test_a_dockerfile_stands_by_itself(on_base: str, with_six: str, projrun: Projrun, tmp_path: Path) -> None:
    done = projrun("dockerfile", with_six, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert f"the base image {on_base} is of this machine alone" in done.stderr
    text = (tmp_path / "out" / "Dockerfile").read_text()
    base = docker("inspect", "--format", "{{.Id}}", on_base)
    assert f"FROM {base}" in text
    assert sorted(os.listdir(tmp_path / "out")) == ["Dockerfile", "pylock.toml"]
    shown = projrun("dockerfile", with_six)
    assert shown.stdout == text


def test_a_dockerfile_of_requirements_alone(
    on_base: str, projrun: Projrun, make_project: MakeProject
) -> None:
    project = make_project(**{"requirements.txt": "six==1.16.0\n"})
    done = projrun("dockerfile", project)
    assert done.returncode == 0, done.stderr
    assert "pylock.toml" in done.stdout


def test_what_lies_on_this_machine_is_installed_by_its_content(
    on_base: str, make_project: MakeProject, projrun: Projrun
) -> None:
    local = "[project]\nname = 'shelfful'\nversion = '1.2'\n[build-system]\nrequires = ['setuptools']\n"
    local += "build-backend = 'setuptools.build_meta'\n[tool.setuptools]\npy-modules = ['shelfful']\n"
    project = make_project(
        MLproject=MLPROJECT.format("cd / && python -c 'import shelfful; print(shelfful.WORD)'"),
        **{"python_env.yaml": SIX.replace("six==1.16.0", "-e ./package"), "package/pyproject.toml": local},
    )
    code = project / "package" / "shelfful.py"
    keys = []
    try:
        for word in ("one", "two"):
            code.write_text(f"WORD = '{word}'\n")
            done = projrun("run", project, "--env-manager", "docker")
            assert done.stdout == f"{word}\n", done.stderr
            assert "not editable: it is part of an image" in done.stderr
            record = json.loads(artifact(runs_of(projrun)[0], "projrun/record.json"))
            keys.append(record["environment"]["key"])
        assert len(set(keys)) == 2
        refused = projrun("dockerfile", project)
        assert refused.returncode == 125
        assert "no Dockerfile can bring it along" in refused.stderr
    finally:
        projrun("env", "remove", *keys)


def test_files_of_a_local_index_come_along(
    on_base: str, make_project: MakeProject, projrun: Projrun, tmp_path: Path
) -> None:
    """The index is asked here; the image is built where its directory is not."""
    make_wheel(tmp_path / "index", "only-here")
    command = "cd / && python -c 'import only_here; print(only_here.V)'"
    project = make_project(
        MLproject=MLPROJECT.format(command),
        **{"python_env.yaml": SIX.replace("six==1.16.0", "only-here, six==1.16.0")},
    )
    links = {"UV_FIND_LINKS": str(tmp_path / "index")}
    done = projrun("run", project, "--env-manager", "docker", environ=links)
    key = json.loads(artifact(runs_of(projrun)[0], "projrun/record.json"))["environment"]["key"]
    try:
        assert done.stdout == "1.0\n", done.stderr
        refused = projrun("dockerfile", project, environ=links)
        assert refused.returncode == 125
        assert "only_here-1.0-py3-none-any.whl is of this machine" in refused.stderr
    finally:
        projrun("env", "remove", key)


def test_what_a_build_in_the_image_says_is_told(
    on_base: str, make_project: MakeProject, projrun: Projrun
) -> None:
    broken = "[project]\nname = 'broken'\nversion = '1'\n[build-system]\nrequires = []\n"
    broken += "build-backend = 'backend'\nbackend-path = ['.']\n"
    backend = "def build_wheel(*_, **__): raise SystemExit('no compiler in here')\n"
    project = make_project(
        MLproject=MLPROJECT.format("echo"),
        **{"python_env.yaml": SIX.replace("six==1.16.0", "./broken"), "broken/pyproject.toml": broken},
        **{"broken/backend.py": backend},
    )
    done = projrun("run", project, "--env-manager", "docker")
    assert done.returncode == 125
    assert "no compiler in here" in done.stderr.splitlines()[-1]
    assert "the image could not be built" in done.stderr.splitlines()[-1]


def test_a_wheel_of_the_project_is_installed_in_its_image(
    on_base: str, make_project: MakeProject, projrun: Projrun
) -> None:
    project = make_project(
        MLproject=MLPROJECT.format("cd / && python -c 'import wheeled; print(wheeled.V)'"),
        **{"python_env.yaml": SIX.replace("six==1.16.0", "./wheels/wheeled-1.0-py3-none-any.whl")},
    )
    make_wheel(project / "wheels", "wheeled")
    done = projrun("run", project, "--env-manager", "docker")
    record = json.loads(artifact(runs_of(projrun)[0], "projrun/record.json"))
    try:
        assert done.stdout == "1.0\n", done.stderr
        assert {"name": "wheeled", "version": "1.0"} in [
            {"name": one["name"], "version": one["version"]} for one in record["environment"]["packages"]
        ]
    finally:
        projrun("env", "remove", record["environment"]["key"])
