"""Doing runs in containers again when their image is another by now, or gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import MakeProject, Projrun
from tests.containers.conftest import docker, runs_of

TAG = "projrun-test/moving:latest"


@pytest.fixture
def tag_moves(base_image: str) -> Iterator[Callable[[str], str]]:
    """Has the tag mean an image in which /said holds the text; its id."""
    made: list[str] = []

    def move(text: str) -> str:
        container = docker("create", base_image, "bash", "-c", f"printf {text} > /said")
        try:
            docker("start", "--attach", container)
            made.append(docker("commit", container, TAG))
        finally:
            docker("rm", "--force", container)
        return made[-1]

    yield move
    for image in set(made):
        if docker("images", "--quiet", "--no-trunc").count(image):
            docker("rmi", "--force", image)


def test_the_tag_of_the_image_moved_and_the_image_was_lost(
    tag_moves: Callable[[str], str], projrun: Projrun, make_project: MakeProject
) -> None:
    first = tag_moves("first")
    project = f"docker_env: {{image: '{TAG}'}}\nentry_points: {{main: {{command: cat /said}}}}\n"
    done = projrun("run", make_project(MLproject=project))
    assert (done.returncode, done.stdout) == (0, "first"), done.stderr
    run = str(runs_of(projrun)[0]["run_id"])
    tag_moves("second")
    again = projrun("reproduce", run)
    assert (again.returncode, again.stdout) == (0, "first"), again.stderr
    varied = projrun("verify", run, "--vary", "umask,user", "--format", "json")
    assert varied.returncode == 0, varied.stderr
    verdicts = {one["varied"]: one["verdict"] for one in json.loads(varied.stdout)["trials"]}
    assert verdicts == {"nothing": "same", "umask": "left out", "user": "same"}

    docker("rmi", "--force", first)
    before = len(runs_of(projrun))
    lost = projrun("reproduce", run)
    assert (lost.returncode, lost.stdout) == (125, "")
    assert f"the image {first[:19]}… is not on this machine" in lost.stderr
    assert "build or load it again" in lost.stderr
    assert len(runs_of(projrun)) == before
