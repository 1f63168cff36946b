"""python_env.yaml, conda.yaml and docker_env."""

from __future__ import annotations

from pathlib import Path

import pytest

from projrun.errors import ProjectError
from projrun.plan import Descriptor
from projrun.project import read_project


def project(directory: Path, **files: str) -> Path:
    for name, content in files.items():
        file = directory / name.replace("__", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return directory


def descriptor(directory: Path, **files: str) -> Descriptor:
    return read_project(project(directory, **files)).descriptor


def refused(directory: Path, **files: str) -> str:
    with pytest.raises(ProjectError) as caught:
        descriptor(directory, **files)
    return str(caught.value)


def test_no_descriptor(tmp_path: Path) -> None:
    assert descriptor(tmp_path) == Descriptor(kind="none")


def test_python_env(tmp_path: Path) -> None:
    found = descriptor(
        tmp_path,
        python_env__yaml="python: '3.11.7'\nbuild_dependencies: [pip, setuptools]\n"
        "dependencies:\n  - numpy>=1  # numbers\n  - -r requirements.txt\n  - '--index-url https://x'\n",
        requirements__txt="# a comment\nscipy==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n\n"
        "-r base.txt\n-c limits.txt\npkg @ https://x/#egg=pkg\n",
        limits__txt="six<2 # old\n",
        base__txt="-r more.txt\n",
        more__txt="flask\n",
    )
    assert found == Descriptor(
        kind="python_env",
        file="python_env.yaml",
        python="3.11.7",
        build_dependencies=("pip", "setuptools"),
        dependencies=(
            "numpy>=1",
            "scipy==1.0 --hash=sha256:aa --hash=sha256:bb",
            "flask",
            "pkg @ https://x/#egg=pkg",
            "--index-url https://x",
        ),
        constraints=("six<2",),
    )


def test_nested_files_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "deps").mkdir()
    (tmp_path / "deps" / "wheels").mkdir()
    (tmp_path / "deps" / "all.txt").write_text("-r ./some.txt\n--requirement=some.txt\n--find-links wheels\n")
    (tmp_path / "deps" / "some.txt").write_text("-cc.txt\nattrs\n-e ./here\n")
    (tmp_path / "deps" / "c.txt").write_text("six==1\n")
    found = descriptor(
        tmp_path,
        MLproject="python_env: deps/env.yaml\n",
        **{"deps/env.yaml": "dependencies: [-r deps/all.txt]\n"},
    )
    assert found.dependencies == ("attrs", "-e ./here", "--find-links deps/wheels")
    assert found.constraints == ("six==1",)


@pytest.mark.parametrize(
    ("written", "python"),
    [
        ("3.11", "3.11"),
        ("'3.10'", "3.10"),
        ("3", "3"),
        ("'>=3.9,<3.13'", ">=3.9,<3.13"),
        ("==3.11.*", "==3.11.*"),
        ("", ""),
        ("''", ""),
    ],
)
def test_pythons(tmp_path: Path, written: str, python: str) -> None:
    assert descriptor(tmp_path, python_env__yaml=f"python: {written}\n").python == python


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "python: 3.10\n",
            "python_env.yaml:1:1: python: 3.10 without quotes is the number 3.1; write python: '3.10'",
        ),
        ("a: 1\npython: three\n", "python_env.yaml:2:1: 'three' is not a Python version"),
        ("python: true\n", "python_env.yaml:1:1: 'python' of the python_env file: expected"),
        ("- numpy\n", "python_env.yaml:1:1: is not a mapping"),
        ("dependencies: numpy\n", "python_env.yaml:1:1: 'dependencies' of the python_env file: expected"),
        (
            "dependencies:\n- numpy\n- 5\n",
            "python_env.yaml:3:3: 'dependencies' of the python_env file: expected",
        ),
        (
            "channels: [x]\n",
            "is a conda environment, not a python_env file; name it in the MLproject file as",
        ),
        ("dependencies: [{pip: [numpy]}]\n", "is a conda environment"),
        (
            "dependencies: [-r no.txt]\n",
            "python_env.yaml: the requirements file 'no.txt' cannot be read: No such",
        ),
        ("dependencies: [-r loop.txt]\n", "loop.txt:2: 'loop.txt' includes itself"),
        ("dependencies: [-r bad.txt]\n", "bad.txt: is not UTF-8 text"),
        ('dependencies: ["-r a\\0b"]\n', "python_env.yaml: the name of a requirements file holds a NUL"),
    ],
)
def test_a_bad_python_env_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9\n")
    assert message in refused(tmp_path, python_env__yaml=text, loop__txt="six\n-r loop.txt\n")


def test_unknown_keys_are_told(tmp_path: Path) -> None:
    directory = project(tmp_path, python_env__yaml="python: '3.11'\npackages: [numpy]\n")
    assert read_project(directory).warnings == ("python_env.yaml:2: unknown key 'packages' is ignored",)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_no_text(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "r.txt").write_bytes("numpy\n".encode(encoding))
    (tmp_path / "python_env.yaml").write_bytes("dependencies: [-r r.txt]\n".encode(encoding))
    assert read_project(tmp_path).descriptor.dependencies == ("numpy",)


def test_conda_env(tmp_path: Path) -> None:
    found = descriptor(
        tmp_path,
        conda__yaml="name: x\nchannels: [conda-forge, defaults]\nprefix: /x\ndependencies:\n"
        "  - python=3.8.13\n  - pip=21\n  - conda-forge::numpy=1.2\n  - libstdcxx-ng\n"
        "  - pip:\n    - mlflow\n    - -r r.txt\n",
        r__txt="six\n",
    )
    assert found == Descriptor(
        kind="conda_env",
        file="conda.yaml",
        python="3.8.13",
        build_dependencies=("pip==21",),
        dependencies=("mlflow", "six"),
        conda_dependencies=("conda-forge::numpy=1.2", "libstdcxx-ng"),
        conda_specs=("python=3.8.13", "pip=21", "conda-forge::numpy=1.2", "libstdcxx-ng"),
        channels=("conda-forge", "defaults"),
    )


@pytest.mark.parametrize(
    ("spec", "python"),
    [
        ("python", ""),
        ("python=3.10", "3.10"),
        ("python==3.10.4", "3.10.4"),
        ("python=3.10.*", "3.10"),
        ("python=3.7.6=h0371630_2", "3.7.6"),
        ("python 3.9", "3.9"),
        ("python >=3.8", ">=3.8"),
        ("python>=3.8,<3.11", ">=3.8,<3.11"),
        ("conda-forge::python=3.8", "3.8"),
        ("python[version='3.8']", ""),
    ],
)
def test_pythons_of_conda(tmp_path: Path, spec: str, python: str) -> None:
    assert descriptor(tmp_path, conda__yaml=f'dependencies: ["{spec}"]\n').python == python


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dependencies: numpy\n", "conda.yaml:1:1: 'dependencies' is not a list"),
        ("dependencies:\n- numpy\n- {pip: numpy}\n", "conda.yaml:3:3: a dependency is neither a package nor"),
        ("dependencies: [5]\n", "conda.yaml:1:16: a dependency is neither a package nor"),
        ("dependencies: ['python=three']\n", "conda.yaml:1:1: 'python=three' is not a Python version"),
    ],
)
def test_a_bad_conda_env_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    assert message in refused(tmp_path, conda__yaml=text)


def test_requirements_lie_beside_the_conda_file_or_in_the_project(tmp_path: Path) -> None:
    text = "dependencies: [{pip: [-r r.txt, -r top.txt]}]\n"
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "r.txt").write_text("six\n")
    (tmp_path / "envs" / "conda.yaml").write_text(text)
    found = descriptor(
        tmp_path, MLproject="conda_env: envs/conda.yaml\n", top__txt="attrs\n", r__txt="wrong\n"
    )
    assert found.dependencies == ("six", "attrs")


def test_docker_env(tmp_path: Path) -> None:
    text = "docker_env:\n  image: python:3.11\n  volumes: ['$HOME:/h']\n  environment: [[A, 1], B]\n"
    found = descriptor(tmp_path, MLproject=text)
    assert found.kind == "docker_env"
    assert found.docker == {"image": "python:3.11", "volumes": ["$HOME:/h"], "environment": [["A", 1], "B"]}
