"""Volumes, arguments and names, without an engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from projrun.environments.docker.docker_manager import choose_base
from projrun.errors import BuildError, ParameterError, ProjectError, ProjrunError, UsageError
from projrun.plan import Descriptor
from projrun.request import Request
from projrun.runner.container_options import expand_volume, legal_name, plan_container, with_base_image


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("/a:/b", "/a:/b"),
        ("./data:/b:ro", "/project/data:/b:ro"),
        ("data/raw:/b", "/project/data/raw:/b"),
        ("../up:/b", "/up:/b"),
        ("$(pwd)/x:/b", "/project/x:/b"),
        ("${PWD}:/b", "/project:/b"),
        ("$PWD/y:/b", "/project/y:/b"),
        ("~/z:/b", "/home/me/z:/b"),
        ("$PLACE:/b", "/some/place:/b"),
        ("${PLACE}/c:$PLACE", "/some/place/c:/some/place"),
        ("named:/b", "named:/b"),
        ("/only/inside", "/only/inside"),
    ],
)
def test_volumes_are_expanded_by_no_shell(written: str, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("PLACE", "/some/place")
    assert expand_volume(written, Path("/project")) == meant


@pytest.mark.parametrize("written", ["$(rm -rf /):/b", "`id`:/b", "$NOT_SET_AT_ALL:/b"])
def test_what_only_a_shell_could_expand_is_refused(written: str) -> None:
    with pytest.raises((ProjectError, ParameterError)):
        expand_volume(written, Path("/project"))


def arguments(**given: object) -> tuple[str, ...]:
    request = Request(uri=".", docker_args=given)
    container, _ = plan_container(request, Descriptor(kind="none"), Path("/project"))
    return container.arguments


def test_arguments_of_every_form() -> None:
    assert arguments(gpus="all") == ("--gpus=all",)
    assert arguments(privileged=True, init=False, rm=True) == ("--privileged",)
    assert arguments(v=["/a:/b", "/c:/d"], **{"shm-size": 64}) == (
        "--volume=/a:/b",
        "--volume=/c:/d",
        "--shm-size=64",
    )
    assert arguments(m="1g", P=True) == ("--memory=1g", "--publish-all")


def test_values_of_variables_are_no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HERE", "hush")
    request = Request(uri=".", docker_args={"e": ["TOKEN=a=b"], "env": "FROM_HERE"})
    container, values = plan_container(request, Descriptor(kind="none"), Path("/project"))
    assert container.arguments == ()
    assert set(container.copied) == {"TOKEN", "FROM_HERE"}
    assert values == {"TOKEN": "a=b", "FROM_HERE": "hush"}


@pytest.mark.parametrize("name", ["detach", "d", "restart", "cidfile", "Z", "a b", ""])
def test_arguments_that_a_run_cannot_have(name: str) -> None:
    with pytest.raises(UsageError):
        arguments(**{name: True})


def test_a_variable_that_the_project_wants_and_nobody_set() -> None:
    descriptor = Descriptor(kind="docker_env", docker={"image": "a", "environment": ["NOT_SET_AT_ALL"]})
    with pytest.raises(ProjrunError, match=r"NOT_SET_AT_ALL.*export"):
        plan_container(Request(uri="."), descriptor, Path("/project"))


@pytest.mark.parametrize(
    ("project", "name"),
    [("My Project", "my-project"), ("a__b--C.d", "a-b-c-d"), ("_x_", "x"), ("日本", "docker-project")],
)
def test_names_of_projects_become_names_of_images(project: str, name: str) -> None:
    assert legal_name(project) == name


def test_the_base_image_fits_the_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_base("3.9") == "python:3.9-slim"
    assert choose_base("3.9.7") == "python:3.9-slim"
    assert choose_base("<3.10,>=3.9") == "python:3.9-slim"
    with pytest.raises(BuildError, match="no Python fits"):
        choose_base(">=4")
    monkeypatch.setenv("PROJRUN_DOCKER_BASE_IMAGE", "mine")
    plain, author = Descriptor(kind="none"), Descriptor(kind="docker_env", docker={"image": "theirs"})
    assert with_base_image(plain, Request(uri=".")).docker == {"image": "mine"}
    assert with_base_image(plain, Request(uri=".", docker_image="asked")).docker == {"image": "asked"}
    assert with_base_image(author, Request(uri=".")).docker == {"image": "theirs"}
    assert with_base_image(author, Request(uri=".", docker_image="asked")).docker == {"image": "asked"}
