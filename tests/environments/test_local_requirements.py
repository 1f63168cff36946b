"""Packages that come from the project's own tree, from Git, and from wheels by path."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.disk.file_operations import sha256_file
from projrun.documents import toml_file
from projrun.environments import local_requirements
from projrun.environments.environment_store import Provided, provide
from projrun.errors import BuildError
from projrun.plan import Resolving
from projrun.project import read_project
from tests.conftest import MakeProject, Projrun
from tests.support.git_server import GitServer, git_server
from tests.support.package_index import PASSWORD, USER, make_wheel, source_files

__all__ = ["git_server"]

WHERE = "python -P -c 'import my_pkg; print(my_pkg.__file__)'"


@pytest.fixture(autouse=True)
def no_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing is downloaded: what builds these packages lies in them."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    yield


def provided(directory: Path, home: Home, name: str = "uv", resolving: Resolving | None = None) -> Provided:
    descriptor = read_project(directory).descriptor
    log = home.data / "log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with provide(name, descriptor, directory, home, log, resolving or Resolving()) as environment:
        return environment


def says(environment: Provided, code: str) -> str:
    python = Path(environment.launch.path_entries[0]) / "python"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("manager", ["uv", "virtualenv"])
def test_what_pyproject_tells_uv_of_packages_counts(
    manager: str, git_server: GitServer, make_project: MakeProject, home: Home
) -> None:
    upstream = git_server.upstream("pkg.git")
    write(upstream.tree, source_files("in-git", code="A = 1\n"))
    commit = upstream.commit()
    in_git = f"in-git = {{ git = '{git_server.url}/pkg.git', branch = 'main' }}"
    sources = f"[tool.uv.sources]\n{in_git}\nhere = {{ path = 'here' }}\n"
    text = f"[project]\nname = 'p'\nversion = '1'\ndependencies = ['in-git>=1', 'here']\n{sources}"
    project = make_project(**{"pyproject.toml": text})
    write(project / "here", source_files("here", code="A = 2\n"))
    first = provided(project, home, manager)
    assert says(first, "import in_git, here; print(in_git.A, here.A)") == "1 2"
    assert commit in first.lock.pylock
    write(project / "here", source_files("here", code="A = 3\n"))
    assert says(provided(project, home, manager), "import here; print(here.A)") == "3"


@pytest.mark.parametrize("manager", ["uv", "virtualenv"])
def test_a_wheel_by_path(manager: str, make_project: MakeProject, home: Home) -> None:
    project = make_project(**{"requirements.txt": "./vendored-1.0-py3-none-any.whl\n"})
    make_wheel(project, "vendored")
    environment = provided(project, home, manager)
    assert says(environment, "import vendored; print(vendored.V)") == "1.0"
    (local,) = environment.environment.local
    assert (local.name, local.path) == ("vendored", "vendored-1.0-py3-none-any.whl")
    assert local.sha256


def test_the_same_name_with_other_content_is_another_environment(
    make_project: MakeProject, home: Home
) -> None:
    project = make_project(**{"requirements.txt": "./pkg\n"})
    write(project / "pkg", source_files("my-pkg", code="A = 1\n"))
    first = provided(project, home)
    assert provided(project, home).environment == first.environment
    write(project / "pkg", source_files("my-pkg", code="A = 2\n"))
    second = provided(project, home)
    assert first.environment.key != second.environment.key
    assert says(second, "import my_pkg; print(my_pkg.A)") == "2"


def test_only_what_may_have_changed_is_read_again(
    make_project: MakeProject, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(**{"requirements.txt": "./pkg\n"})
    write(project / "pkg", {**source_files("my-pkg"), **{f"data{n}.txt": "x" * n for n in range(200)}})
    read: list[str] = []

    def reading(file: Path) -> str:
        if file.name != "pyproject.toml":  # metadata, which the lock's key takes anew each time
            read.append(file.name)
        return sha256_file(file)

    def key() -> str:
        read.clear()
        return provided(project, home).environment.key

    monkeypatch.setattr(local_requirements, "sha256_file", reading)
    monkeypatch.setattr(local_requirements, "TICK_NS", 0)
    first = key()
    assert len(read) == 202
    assert (key(), read) == (first, [])
    data, facts = project / "pkg" / "data5.txt", (project / "pkg" / "data5.txt").stat()
    data.write_text("yyyyy")  # as large as before
    os.utime(data, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # and as old
    assert key() != first
    assert read == ["data5.txt"]
    monkeypatch.setattr(local_requirements, "TICK_NS", 10**12)  # it may have changed just before it was noted
    assert key() != first
    assert len(read) == 202
    (notes,) = home.locks.glob("*/digests.json")
    notes.write_text("[")
    assert key() != first
    assert len(read) == 202


def test_an_editable_one_keeps_its_environment(make_project: MakeProject, home: Home) -> None:
    project = make_project(**{"python_env.yaml": "dependencies: ['-e .']\n", **source_files("my-pkg")})
    first = provided(project, home)
    write(project, {"my_pkg.py": "A = 2\n"})
    assert provided(project, home).environment.key == first.environment.key
    assert says(first, "import my_pkg; print(my_pkg.A)") == "2"
    write(project, source_files("my-pkg", version="2.0", code="A = 2\n"))
    assert provided(project, home).environment.key != first.environment.key


def test_what_is_editable_is_installed_in_a_checkout_that_goes(
    git_server: GitServer, projrun: Projrun
) -> None:
    upstream = git_server.upstream()
    write(upstream.tree, source_files("my-pkg"))
    write(
        upstream.tree,
        {
            "python_env.yaml": "dependencies: ['-e .']\n",
            "MLproject": f'entry_points: {{main: {{command: "{WHERE}"}}}}\n',
        },
    )
    upstream.commit()
    done = projrun("run", f"{git_server.url}/project.git")
    assert done.returncode == 0, done.stderr
    assert "site-packages" in done.stdout
    assert "not editable: the checkout is temporary" in done.stderr


def test_a_requirement_in_git_is_pinned_to_its_commit(
    git_server: GitServer, make_project: MakeProject, home: Home
) -> None:
    upstream = git_server.upstream("pkg.git")
    write(upstream.tree, source_files("my-pkg", code="A = 1\n"))
    commit = upstream.commit()
    project = make_project(**{"requirements.txt": f"my-pkg @ git+{git_server.url}/pkg.git@main\n"})
    first = provided(project, home)
    (package,) = toml_file.parse(first.lock.pylock, "pylock.toml")["packages"]
    assert package["vcs"]["commit-id"] == commit
    upstream.commit(my_pkg="")
    assert provided(project, home).environment == first.environment
    assert first.environment.packages[0].source.endswith(f"/pkg.git@{commit}")
    upgraded = provided(project, home, resolving=Resolving(upgrade=True))
    assert upgraded.environment.packages[0].source.endswith(upstream.head)


@pytest.mark.parametrize("manager", ["uv", "virtualenv"])
def test_a_password_for_git_is_kept_nowhere(
    manager: str,
    git_server: GitServer,
    make_project: MakeProject,
    projrun: Projrun,
    home: Home,
    tmp_path: Path,
) -> None:
    upstream = git_server.upstream("pkg.git")
    write(upstream.tree, source_files("my-pkg"))
    upstream.commit()
    git_server.credentials = f"{USER}:{PASSWORD}"
    url = git_server.url_with(f"{USER}:{PASSWORD}")
    project = make_project(
        MLproject="entry_points: {main: {command: \"python -c 'import my_pkg; print(my_pkg.A)'\"}}\n",
        **{"requirements.txt": f"my-pkg @ git+{url}/pkg.git\n"},
    )
    arguments = tmp_path / "arguments"
    watched = watching_git(tmp_path / "bin", arguments)
    done = projrun("run", ".", "--env-manager", manager, cwd=project, environ={"PATH": watched})
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "1"
    assert "fetch" in arguments.read_text() or "clone" in arguments.read_text()
    kept = [path for place in (home.data, home.cache, arguments) for path in all_files(place)]
    assert not [path for path in kept if PASSWORD.encode() in path.read_bytes()]
    assert PASSWORD not in done.stderr


def watching_git(directory: Path, log: Path) -> str:
    """A PATH whose git notes its arguments and those of the helpers that it starts."""
    directory.mkdir()
    git = directory / "git"
    trace = f"GIT_TRACE={log}"
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    git.write_text(f'#!/bin/sh\necho "$*" >> {log}\n{trace} exec {real} "$@"\n')
    git.chmod(0o755)
    return f"{directory}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize("manager", ["uv", "virtualenv"])
@pytest.mark.parametrize("editable", [False, True])
def test_scripts_of_local_packages_start(
    manager: str, editable: bool, make_project: MakeProject, projrun: Projrun
) -> None:
    """The environment is renamed when it is whole: its scripts start the Python that is beside them then."""
    project = make_project(
        MLproject='entry_points: {main: {command: "say-prefix; say-vendored"}}\n',
        **{"requirements.txt": f"{'-e ' * editable}./pkg\n./vendored-1.0-py3-none-any.whl\n"},
    )
    say = "import sys\n\ndef say():\n    print(__name__, sys.prefix)\n"
    write(project / "pkg", source_files("my-pkg", code=say, scripts=("say-prefix = my_pkg:say",)))
    make_wheel(project, "vendored", code=say, scripts=("say-vendored = vendored:say",))
    done = projrun("run", ".", "--env-manager", manager, cwd=project)
    assert done.returncode == 0, done.stderr
    place = projrun("env", "path", ".", "--env-manager", manager, cwd=project).stdout.strip()
    assert done.stdout.split() == ["my_pkg", place, "vendored", place]
    said = subprocess.run([f"{place}/bin/say-prefix"], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["my_pkg", place]
    for script in Path(place, "bin").iterdir():
        if not script.is_symlink():
            assert b".tmp" not in script.read_bytes(), f"{script} names where the environment was made"


@pytest.mark.parametrize("manager", ["uv", "virtualenv"])
def test_a_directory_in_the_lock_of_the_project(
    manager: str, make_project: MakeProject, projrun: Projrun
) -> None:
    project = make_project(
        MLproject="entry_points: {main: {command: \"python -c 'import my_pkg; print(my_pkg.A)'\"}}\n",
        **{"requirements.txt": "../pkg\n"},
    )
    write(project.parent / "pkg", source_files("my-pkg", code="A = 1\n"))
    written = projrun("lock", cwd=project)
    assert written.returncode == 0, written.stderr
    (package,) = toml_file.load(project / "pylock.toml", "pylock.toml")["packages"]
    assert package["directory"]["path"] == "../pkg"
    for value in "12":
        write(project.parent / "pkg", {"my_pkg.py": f"A = {value}\n"})
        done = projrun("run", ".", "--locked", "--env-manager", manager, cwd=project)
        assert (done.returncode, done.stdout) == (0, f"{value}\n"), done.stderr


@pytest.mark.parametrize("requirement", ["-e .", "./vendored-1.0-py3-none-any.whl"])
def test_a_run_with_local_packages_is_reproduced(
    requirement: str, make_project: MakeProject, projrun: Projrun
) -> None:
    name = "my_pkg" if requirement == "-e ." else "vendored"
    project = make_project(
        MLproject=f"entry_points: {{main: {{command: \"python -c 'import {name}; print({name})'\"}}}}\n",
        **{"python_env.yaml": f"dependencies: ['{requirement}']\n", **source_files("my-pkg")},
    )
    make_wheel(project, "vendored")
    done = projrun("run", ".", "--run-name", "first", cwd=project)
    assert done.returncode == 0, done.stderr
    run_id = done.stderr.rstrip().rpartition(" ")[2]
    project.rename(project.with_name("elsewhere"))
    again = projrun("reproduce", run_id)
    assert again.returncode == 0, again.stderr
    assert f"module '{name}'" in again.stdout


def test_a_missing_local_requirement_is_named(make_project: MakeProject, home: Home) -> None:
    with pytest.raises(BuildError, match="absent"):
        provided(make_project(**{"requirements.txt": "./absent\n"}), home)


def write(directory: Path, files: dict[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)


def all_files(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else [place]
