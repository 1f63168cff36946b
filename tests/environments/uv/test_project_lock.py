"""Locks in a project: which one counts, when it is stale, writing one. On an index of our own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.documents import toml_file
from projrun.environments.environment_store import Provided, provide
from projrun.environments.uv import program
from projrun.errors import BuildError
from projrun.plan import Resolving
from projrun.processes.programs import run_program
from projrun.project import environment_of, read_project
from tests.conftest import MakeProject, Projrun
from tests.support.git_server import GitServer, git_server
from tests.support.package_index import PackageIndex, make_wheel, serving_alpha

__all__ = ["git_server"]

SCRIPT = "# /// script\n# dependencies = ['alpha']\n# ///\nimport alpha; print(alpha.V)\n"


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    with serving_alpha(tmp_path, monkeypatch) as served:
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        served.add("beta", "1.0", needs=("alpha<2",))
        monkeypatch.setenv("UV_DEFAULT_INDEX", served.url_with_password)
        yield served


def provided(
    directory: Path, home: Home, resolving: Resolving | None = None, entry_point: str = ""
) -> Provided:
    project = read_project(directory)
    descriptor = project.descriptor
    if entry_point:
        descriptor, _ = environment_of(project, project.entry_point(entry_point))
    log = home.data / "log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with provide("uv", descriptor, directory, home, log, resolving or Resolving()) as environment:
        return environment


def versions(environment: Provided) -> dict[str, str]:
    return {package.name: package.version for package in environment.environment.packages}


def packages_of(lock: Path) -> dict[str, str]:
    return {one["name"]: one["version"] for one in toml_file.load(lock, lock.name)["packages"]}


PYPROJECT = (
    '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.8"\ndependencies = ["alpha<2"]\n'
    '[dependency-groups]\ndev = ["beta"]\n'
)


def test_uv_lock_is_taken_without_its_groups_and_refused_when_stale(
    make_project: MakeProject, projrun: Projrun, home: Home, index: PackageIndex
) -> None:
    project = make_project(
        MLproject="entry_points: {main: {command: \"python -c 'import alpha; print(alpha.V)'\"}}\n",
        **{"pyproject.toml": PYPROJECT},
    )
    locked = run_program([program.uv_binary(), "lock"], cwd=project, environ=os.environ)
    assert locked.ok, locked.stderr
    done = projrun("run", ".", cwd=project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "1.0"
    assert versions(provided(project, home)) == {"alpha": "1.0"}
    assert provided(project, home, Resolving(locked=True))
    (project / "pyproject.toml").write_text(PYPROJECT.replace("alpha<2", "alpha>=2"))
    stale = projrun("run", ".", cwd=project)
    assert stale.returncode == 125
    assert "update uv.lock with `uv lock`" in stale.stderr


@pytest.mark.parametrize("other", ["poetry.lock", "pdm.lock"])
def test_locks_of_other_tools_are_not_read_and_that_is_said(other: str, make_project: MakeProject) -> None:
    project = make_project(**{"pyproject.toml": PYPROJECT, other: ""})
    assert f"{other} is not read" in " ".join(read_project(project).warnings)


def test_lock_keeps_versions_until_told_otherwise(
    make_project: MakeProject, projrun: Projrun, index: PackageIndex
) -> None:
    project = make_project(**{"requirements.txt": "alpha\ngamma\n"})
    lock = project / "pylock.toml"
    index.add("gamma", "1.0")
    assert projrun("lock", "--as-of", "2024-06-01", cwd=project).returncode == 0
    assert packages_of(lock) == {"alpha": "2.0", "gamma": "1.0"}
    assert "reader" not in lock.read_text()
    index.add("alpha", "3.0")
    index.add("gamma", "2.0")
    fresh = {"UV_CACHE_DIR": str(project.parent / "fresh")}
    assert projrun("lock", cwd=project, environ=fresh).returncode == 0
    assert packages_of(lock) == {"alpha": "2.0", "gamma": "1.0"}
    assert projrun("lock", "--upgrade-package", "gamma", cwd=project, environ=fresh).returncode == 0
    assert packages_of(lock) == {"alpha": "2.0", "gamma": "2.0"}
    assert projrun("lock", "--upgrade", cwd=project, environ=fresh).returncode == 0
    assert packages_of(lock) == {"alpha": "3.0", "gamma": "2.0"}


def test_run_resolves_anew_when_told(
    make_project: MakeProject, projrun: Projrun, index: PackageIndex
) -> None:
    project = make_project(
        MLproject="entry_points: {main: {command: \"python -c 'import alpha; print(alpha.V)'\"}}\n",
        **{"requirements.txt": "alpha\n"},
    )
    assert projrun("run", ".", cwd=project).stdout.strip() == "2.0"
    index.add("alpha", "3.0")
    fresh = {"UV_CACHE_DIR": str(project.parent / "fresh")}
    assert projrun("run", ".", cwd=project, environ=fresh).stdout.strip() == "2.0"
    assert projrun("run", ".", "--upgrade", cwd=project, environ=fresh).stdout.strip() == "3.0"
    assert projrun("run", ".", cwd=project, environ=fresh).stdout.strip() == "3.0"


def test_run_as_of_a_commit(make_project: MakeProject, projrun: Projrun) -> None:
    project = make_project(
        MLproject="entry_points: {main: {command: \"python -c 'import alpha; print(alpha.V)'\"}}\n",
        **{"requirements.txt": "alpha\n"},
    )
    old = {**os.environ, "GIT_COMMITTER_DATE": "2021-01-01T00:00:00Z"}
    for command in (["init"], ["add", "-A"], ["commit", "-m", "Old"]):
        assert run_program(["git", *command], cwd=project, environ=old).ok
    done = projrun("run", ".", "--as-of", "HEAD", cwd=project)
    assert done.stdout.strip() == "1.0", done.stderr


def test_a_lock_counts_for_the_descriptor_that_it_was_made_from(
    make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    project = make_project(
        MLproject="python_env: env/python_env.yaml\n",
        **{"requirements.txt": "alpha<2\n", "env/python_env.yaml": "dependencies: [alpha]\n"},
    )
    (project / "MLproject").rename(project / "aside")
    assert projrun("lock", cwd=project).returncode == 0
    (project / "aside").rename(project / "MLproject")
    read = read_project(project)
    assert read.descriptor.lock_file == ""
    assert "pylock.toml does not count: it was made from requirements.txt" in read.warnings
    assert projrun("lock", cwd=project).returncode == 0
    assert (project / "env" / "pylock.toml").is_file()
    assert read_project(project).descriptor.lock_file == "env/pylock.toml"
    assert versions(provided(project, home, Resolving(locked=True))) == {"alpha": "2.0"}


def test_descriptors_of_other_names_have_locks_of_their_own(
    make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    project = make_project(
        MLproject="python_env: gpu.yaml\n", **{"gpu.yaml": "dependencies: [alpha<2]\n", "train.py": SCRIPT}
    )
    assert projrun("lock", cwd=project).returncode == 0
    assert read_project(project).descriptor.lock_file == "pylock.gpu.toml"
    assert versions(provided(project, home, Resolving(locked=True))) == {"alpha": "1.0"}


def test_a_script_has_a_lock_of_its_own(make_project: MakeProject, projrun: Projrun, home: Home) -> None:
    project = make_project(**{"train.py": SCRIPT})
    written = projrun("lock", "-e", "train.py", cwd=project)
    assert written.returncode == 0, written.stderr
    assert packages_of(project / "pylock.train.toml") == {"alpha": "2.0"}
    assert projrun("lock", "-e", "train.py", "--check", cwd=project).returncode == 0
    done = projrun("run", ".", "-e", "train.py", "--locked", cwd=project)
    assert done.stdout.strip() == "2.0", done.stderr
    (project / "train.py").write_text(SCRIPT.replace("'alpha'", "'alpha<2'"))
    assert projrun("lock", "-e", "train.py", "--check", cwd=project).returncode == 1


def test_the_lock_that_uv_wrote_for_a_script(make_project: MakeProject, home: Home) -> None:
    project = make_project(**{"train.py": SCRIPT.replace("'alpha'", "'alpha<2'")})
    locked = run_program(
        [program.uv_binary(), "lock", "--script", "train.py"], cwd=project, environ=os.environ
    )
    assert locked.ok, locked.stderr
    environment = provided(project, home, Resolving(locked=True), "train.py")
    assert versions(environment) == {"alpha": "1.0"}


def test_a_lock_of_another_tool_is_compared_with_the_descriptor(
    make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    project = make_project(**{"requirements.txt": "alpha<2\n"})
    compile = ["pip", "compile", "--quiet", "-o", "pylock.toml", "requirements.txt"]
    assert run_program([program.uv_binary(), *compile], cwd=project, environ=os.environ).ok
    assert provided(project, home).lock.notices == ()
    (project / "requirements.txt").write_text("alpha>=2\nbeta\n")
    notices = " ".join(provided(project, home).lock.notices)
    assert (
        "pylock.toml does not fit requirements.txt: it has alpha 1.0, not >=2, beta is not in it" in notices
    )
    assert projrun("lock", "--check", cwd=project).returncode == 1
    with pytest.raises(BuildError, match=r"--locked: pylock\.toml does not fit"):
        provided(project, home, Resolving(locked=True))


def test_wheels_beside_the_project_are_locked_by_relative_paths(
    make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    project = make_project(
        MLproject="python_env: env/python_env.yaml\n",
        **{"env/python_env.yaml": "dependencies: ['--no-index', '--find-links wheels', 'local-one']\n"},
    )
    make_wheel(project / "wheels", "local-one")
    assert projrun("lock", cwd=project).returncode == 0
    text = (project / "env" / "pylock.toml").read_text()
    assert "../wheels/local_one-1.0-py3-none-any.whl" in text
    assert str(project) not in text
    assert versions(provided(project, home, Resolving(locked=True))) == {"local-one": "1.0"}


def test_the_lock_of_a_project_in_git(git_server: GitServer, projrun: Projrun, tmp_path: Path) -> None:
    upstream = git_server.upstream()
    upstream.commit(python_env__yaml="", **{"requirements.txt": "alpha\n"})
    url = f"{git_server.url}/project.git"
    printed = projrun("lock", url)
    assert printed.returncode == 0, printed.stderr
    assert 'name = "alpha"' in printed.stdout
    assert projrun("lock", url, "-o", tmp_path / "out").returncode == 0
    assert packages_of(tmp_path / "out" / "pylock.toml") == {"alpha": "2.0"}


def test_a_variable_in_requirements(
    make_project: MakeProject, home: Home, index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = index.url_with_password.replace("/simple", "/files/alpha-${WHICH}-py3-none-any.whl")
    project = make_project(**{"requirements.txt": f"alpha @ {url}\n"})
    for version in ("1.0", "2.0"):
        monkeypatch.setenv("WHICH", version)
        assert versions(provided(project, home)) == {"alpha": version}


def test_a_conda_package_that_pypi_lacks_is_named(make_project: MakeProject, home: Home) -> None:
    project = make_project(**{"conda.yaml": "dependencies: [python, libunheardof=1, alpha=1]\n"})
    with pytest.raises(BuildError) as caught:
        provided(project, home)
    assert "libunheardof is a conda package of conda.yaml: install with --env-manager conda" in str(
        caught.value
    )
