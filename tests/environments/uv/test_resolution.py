"""Locks: what they are made from, what they hold, and when one is taken, refused or made anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.documents import toml_file
from projrun.environments.conda.pypi_names import convert_version, translate_to_pypi
from projrun.environments.environment_store import Provided, provide
from projrun.errors import BuildError
from projrun.plan import Descriptor, Resolving
from projrun.project import read_project
from tests.conftest import MakeProject, Projrun
from tests.support.machine_settings import forget_index_settings

PACKAGE = '[project]\nname = "my-package"\nversion = "1"\ndependencies = ["six==1.16.0"]\n'


def provided(directory: Path, home: Home, resolving: Resolving | None = None) -> Provided:
    descriptor = read_project(directory).descriptor
    log = home.data / "log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with provide("uv", descriptor, directory, home, log, resolving or Resolving()) as environment:
        return environment


def site(environment: Provided) -> Path:
    (found,) = Path(environment.launch.path_entries[0]).parent.glob("lib/python*/site-packages")
    return found


def test_an_edited_local_package_is_another_environment(make_project: MakeProject, home: Home) -> None:
    make_project("package", **{"pyproject.toml": PACKAGE, "my_package.py": "A = 1\n"})
    project = make_project(**{"requirements.txt": "../package\n"})
    first = provided(project, home)
    assert provided(project, home).environment.key == first.environment.key
    (project.parent / "package" / "my_package.py").write_text("A = 2\n")
    second = provided(project, home)
    assert second.environment.key != first.environment.key
    assert (site(second) / "my_package.py").read_text() == "A = 2\n"
    assert {"six", "my-package"} <= {package.name for package in second.environment.packages}


def test_an_editable_one_stays_in_place(make_project: MakeProject, home: Home) -> None:
    project = make_project(
        **{
            "pyproject.toml": PACKAGE,
            "my_package.py": "A = 1\n",
            "python_env.yaml": "dependencies: ['-e .']\n",
        }
    )
    first = provided(project, home)
    (project / "my_package.py").write_text("A = 2\n")
    assert provided(project, home).environment.key == first.environment.key
    assert not (site(first) / "my_package.py").exists()
    (local,) = first.lock.local
    assert (local.name, local.path, local.editable) == ("my-package", ".", True)


def test_hashed_requirements_admit_only_what_they_name(make_project: MakeProject, home: Home) -> None:
    wheel = "8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254"
    project = make_project(**{"requirements.txt": f"six==1.16.0 --hash=sha256:{wheel}\n"})
    (package,) = toml_file.parse(provided(project, home).lock.pylock, "pylock.toml")["packages"]
    assert [one["hashes"]["sha256"] for one in package["wheels"]] == [wheel]
    assert "sdist" not in package
    (project / "requirements.txt").write_text(f"six==1.16.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(BuildError):
        provided(project, home)


def test_locked_refuses_to_resolve_until_a_run_did(make_project: MakeProject, home: Home) -> None:
    project = make_project(**{"requirements.txt": "six==1.16.0\n"})
    with pytest.raises(BuildError, match="--locked: there is no lock"):
        provided(project, home, Resolving(locked=True))
    first = provided(project, home)
    assert provided(project, home, Resolving(locked=True)).environment == first.environment


def test_as_of_is_a_lock_of_its_own(make_project: MakeProject, home: Home) -> None:
    project = make_project(**{"requirements.txt": "six\n"})
    (old,) = provided(project, home, Resolving(as_of="2021-01-01")).environment.packages
    (new,) = provided(project, home).environment.packages
    assert old.version == "1.15.0"
    assert new.version != old.version


def test_lock_writes_checks_and_wins(make_project: MakeProject, projrun: Projrun, home: Home) -> None:
    project = make_project(**{"requirements.txt": "six<1.16\n"})
    assert projrun("lock", "--check", cwd=project).returncode == 1
    written = projrun("lock", cwd=project)
    assert written.returncode == 0, written.stderr
    assert projrun("lock", "--check", cwd=project).returncode == 0
    (project / "requirements.txt").write_text("six\n")
    stale = projrun("lock", "--check", cwd=project)
    assert stale.returncode == 1
    assert "older than requirements.txt" in stale.stderr
    environment = provided(project, home)
    assert environment.environment.packages[0].version == "1.15.0"
    assert "update it: projrun lock" in " ".join(environment.lock.notices)
    with pytest.raises(BuildError, match="older"):
        provided(project, home, Resolving(locked=True))
    projrun("lock", "--upgrade", cwd=project)
    assert provided(project, home).environment.packages[0].version != "1.15.0"


def test_as_of_a_commit_is_its_date(make_project: MakeProject, projrun: Projrun) -> None:
    project = make_project(**{"requirements.txt": "six\n"})
    old = {**os.environ, "GIT_COMMITTER_DATE": "2021-01-01T00:00:00Z"}
    from projrun.processes.programs import run_program

    for command in (["init"], ["add", "-A"], ["commit", "-m", "Old"]):
        assert run_program(["git", *command], cwd=project, environ=old).ok
    assert projrun("lock", "--as-of", "HEAD", cwd=project).returncode == 0
    assert 'version = "1.15.0"' in (project / "pylock.toml").read_text()
    wrong = projrun("lock", "--as-of", "no-such", cwd=project)
    assert wrong.returncode == 2
    assert "neither a date nor a commit" in wrong.stderr


def test_a_lock_without_hashes_is_refused(make_project: MakeProject, home: Home) -> None:
    lock = (
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "six"\nsdist = {url = "http://x/y"}\n'
    )
    with pytest.raises(BuildError, match="has no hash"):
        provided(make_project(**{"pylock.toml": lock}), home)


@pytest.mark.parametrize(
    ("conda", "pip"),
    [
        ("", ""),
        ("1.2", "==1.2"),
        ("=1.2", "==1.2.*"),
        ("=1.2.*", "==1.2.*"),
        ("==1.2.3", "==1.2.3"),
        ("=1.2=py38_0", "==1.2"),
        (">=1, <2", ">=1,<2"),
        ("==1.2=py38_0", "==1.2"),
        ("*", ""),
        ("1.2.*", "==1.2.*"),
        ("1.2*", "==1.2.*"),
        ("1.2 py38_0", "==1.2"),
        ("~=1.2", "~=1.2"),
        ("!=1.3,>=1", "!=1.3,>=1"),
        (">= 1.2", ">=1.2"),
    ],
)
def test_conda_pins(conda: str, pip: str) -> None:
    assert convert_version(conda) == pip


def test_conda_packages_become_what_pypi_has() -> None:
    wanted = ("conda-forge::pytorch=2.1", "py-xgboost", "openssl=3", "numpy>=1,<2", "six[version='>=1']")
    found = translate_to_pypi(Descriptor(kind="conda_env", file="conda.yaml", conda_dependencies=wanted))
    assert found.requirements == ("torch==2.1.*", "xgboost", "numpy>=1,<2", "six>=1")
    assert "torch==2.1.* for pytorch" in found.notices[0]
    assert "openssl" in found.notices[1]


def test_precedence_is_told(make_project: MakeProject, projrun: Projrun) -> None:
    project = make_project(
        **{"python_env.yaml": "dependencies: [six]\n", "requirements.txt": "attrs\n", "pylock.toml": ""}
    )
    descriptor = read_project(project).descriptor
    assert (descriptor.file, descriptor.lock_file) == ("python_env.yaml", "pylock.toml")
    assert descriptor.passed_over == ("requirements.txt",)
    assert "requirements.txt" in projrun("describe", project).stdout


def test_the_index_of_pip_is_asked(
    make_project: MakeProject, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_index_settings(monkeypatch)
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    with pytest.raises(BuildError, match=r"127\.0\.0\.1:9") as caught:
        provided(make_project(**{"requirements.txt": "six\n"}), home)
    assert "secret" not in str(caught.value)
