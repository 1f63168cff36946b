"""Test the order in which an entry point's environment is looked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from projrun.errors import ProjectError
from projrun.project import environment_of, read_project
from projrun.project.conventions import add_requirements
from projrun.project.mlproject import make_script

ALL = {
    "MLproject": "python_env: named.yaml\n",
    "named.yaml": "dependencies: [named]\n",
    "train.py": "# /// script\n# dependencies = ['script']\n# ///\n",
    "python_env.yaml": "dependencies: [python-env]\n",
    "conda.yaml": "dependencies: [{pip: [conda]}]\n",
    "pyproject.toml": "[project]\nname = 'p'\ndependencies = ['pyproject']\n",
}


def dependencies(directory: Path, entry: str = "train.py") -> tuple[str, ...]:
    project = read_project(directory)
    return environment_of(project, project.entry_point(entry))[0].dependencies


def test_the_first_of_them_counts(tmp_path: Path) -> None:
    for name, text in ALL.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "other.py").write_text("")
    assert dependencies(tmp_path) == ("named",)
    (tmp_path / "MLproject").write_text("python_env:\n")
    assert dependencies(tmp_path) == ("script",)
    assert dependencies(tmp_path, "other.py") == ("python-env",)
    (tmp_path / "MLproject").unlink()
    assert dependencies(tmp_path) == ("script",)
    for file, expected in (
        ("train.py", "python-env"),
        ("python_env.yaml", "conda"),
        ("conda.yaml", "pyproject"),
    ):
        (tmp_path / file).unlink()
        assert dependencies(tmp_path, "other.py") == (expected,)
    (tmp_path / "pyproject.toml").unlink()
    assert dependencies(tmp_path, "other.py") == ()


def test_dynamic_dependencies_do_not_matter_to_a_script_with_its_own(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\ndynamic = ['dependencies']\n")
    (tmp_path / "train.py").write_text(ALL["train.py"])
    (tmp_path / "other.py").write_text("")
    assert dependencies(tmp_path) == ("script",)
    with pytest.raises(ProjectError, match="the dependencies are dynamic"):
        dependencies(tmp_path, "other.py")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# /// script\r\n# dependencies = ['a']\r\n# ///\r\n", ("a",)),
        (
            "x = 1\n# /// script\n# dependencies = [\n#   'a>=1 ; python_version>\"3\"',\n#\n# ]\n# ///\n",
            None,
        ),
        ("# /// pyproject\n# dependencies = ['a']\n# ///\n", ()),
        ("#/// script\n# dependencies = ['a']\n# ///\n", ()),
        ("# /// script\n# dependencies = ['a']\n", ()),
        ("# /// other\n# a = 1\n# ///\n\n# /// script\n# dependencies = ['a']\n# ///\n", ("a",)),
        ("# /// script\n" * 80_000, ()),
    ],
)
def test_blocks_as_pep_723_has_them(tmp_path: Path, text: str, found: tuple[str, ...] | None) -> None:
    (tmp_path / "train.py").write_bytes(text.encode())
    assert dependencies(tmp_path) == (('a>=1 ; python_version>"3"',) if found is None else found)


@pytest.mark.parametrize(
    ("dependency", "source", "line"),
    [
        ("A_b>=1", "git = 'https://h/r', tag = 'v1'", "A_b @ git+https://h/r@v1"),
        ("a.b", "git = 'ssh://git@h/r', rev = 'c0ffee'", "a.b @ git+ssh://git@h/r@c0ffee"),
        ("a-b[x] ; os_name == 'nt'", "url = 'https://h/a.whl'", "a-b[x] @ https://h/a.whl ; os_name == 'nt'"),
        ("a-b", "git = 'https://h/r', subdirectory = 'p'", "a-b @ git+https://h/r#subdirectory=p"),
        ("a-b[x,y]>1", "path = 'p/', editable = true", "-e ./p[x,y]"),
        ("a-b", "path = '../p/a.whl'", "../p/a.whl"),
        ("a-b @ https://h/b.whl", "path = 'p'", "a-b @ https://h/b.whl"),
        ("other", "path = 'p'", "other"),
    ],
)
def test_sources_of_uv_become_requirements(tmp_path: Path, dependency: str, source: str, line: str) -> None:
    sources = f"[tool.uv.sources]\nA-B = {{ {source} }}\n"
    text = f"[project]\nname = 'p'\ndependencies = [\"{dependency}\"]\n{sources}"
    (tmp_path / "pyproject.toml").write_text(text)
    project = read_project(tmp_path)
    assert (project.descriptor.dependencies, project.warnings) == ((line,), ())


@pytest.mark.parametrize(
    "source",
    ["{ index = 'i' }", "{ workspace = true }", "[{ path = 'p', marker = 'm' }]", "{ path = 'a b' }", "1"],
)
def test_a_source_that_no_requirement_can_say_is_ignored_aloud(tmp_path: Path, source: str) -> None:
    text = f"[project]\nname = 'p'\ndependencies = ['a>1']\n[tool.uv.sources]\na = {source}\n"
    (tmp_path / "pyproject.toml").write_text(text)
    project = read_project(tmp_path)
    assert project.descriptor.dependencies == ("a>1",)
    assert "[tool.uv.sources] is ignored for a>1" in project.warnings[0]


def test_paths_in_a_script_start_where_it_is(tmp_path: Path) -> None:
    block = "# /// script\n# dependencies = ['a']\n# [tool.uv.sources]\n# a = { path = '../lib' }\n# ///\n"
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps/train.py").write_text(block)
    assert dependencies(tmp_path, "steps/train.py") == ("./lib",)


def test_what_a_notebook_needs_is_added_once(tmp_path: Path) -> None:
    (tmp_path / "python_env.yaml").write_text("dependencies: ['Papermill[s3]>=2']\n")
    descriptor = read_project(tmp_path).descriptor
    extended, added = add_requirements(descriptor, ("papermill", "ipykernel"))
    assert (extended.dependencies, added) == (("Papermill[s3]>=2", "ipykernel"), ("ipykernel",))


@pytest.mark.parametrize(
    ("metadata", "kernel"),
    [
        ({}, " -k python3 -l python"),
        ({"kernelspec": {"name": "conda-env-x", "language": "python"}}, " -k python3 -l python"),
        ({"language_info": {"name": "R"}}, ""),
        ({"kernelspec": {"name": "julia-1.9", "language": "julia"}}, ""),
    ],
)
def test_python_notebooks_use_the_kernel_of_the_environment(
    tmp_path: Path, metadata: dict[str, object], kernel: str
) -> None:
    (tmp_path / "-a b.ipynb").write_text(json.dumps({"cells": [], "metadata": metadata}))
    found = make_script(tmp_path, "-a b.ipynb", as_mlflow=False)
    assert found.command == (
        f"papermill --log-output --no-progress-bar{kernel} './-a b.ipynb' \"$PROJRUN_NOTEBOOK\""
    )
