"""The lock of a conda project: written into it, checked, obeyed, and recorded with its runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.documents import toml_file
from projrun.environments.conda import conda_manager
from projrun.environments.conda.conda_manager import NO_PREVIOUS_LOCK, PreviousLock
from projrun.environments.conda.rattler import PypiPackage, pylock_of_packages
from projrun.errors import BuildError
from projrun.plan import Descriptor
from projrun.project import read_project
from projrun.project.environment.conda_file import platform_name
from tests.conftest import MakeProject, Projrun
from tests.environments.conda.test_conda_manager import packages_of
from tests.environments.test_environment_store import provided, python_says
from tests.support.conda_packages import Channel

MLPROJECT = "entry_points: {main: {command: 'tiny && python -c \"import six; print(six.__version__)\"'}}\n"
LISTED = "dependencies: [python, plain=1, tinylib, {pip: [six<1.17]}]\nchannels: [defaults]\n"
PACKAGE = (
    '[project]\nname = "here"\nversion = "1"\n[build-system]\nrequires = []\n'
    'build-backend = "backend"\nbackend-path = ["."]\n'
)
BACKEND = """
import os, zipfile
NAME = "here-1-py3-none-any.whl"
def build_wheel(directory, config_settings=None, metadata_directory=None, code=None):
    with zipfile.ZipFile(os.path.join(directory, NAME), "w") as wheel:
        for name, text in (code or {"here.py": open("here.py").read()}).items():
            wheel.writestr(name, text)
        wheel.writestr("here-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: here\\nVersion: 1\\n")
        wheel.writestr("here-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("here-1.dist-info/RECORD", "")
    return NAME
def build_editable(directory, config_settings=None, metadata_directory=None):
    return build_wheel(directory, code={"here.pth": os.getcwd() + "\\n"})
"""
"""A package that is built without downloading anything."""


@pytest.fixture
def project(make_project: MakeProject, conda_channel: Channel) -> Path:
    listed = LISTED.replace("defaults", conda_channel.url)
    return make_project(MLproject=MLPROJECT, **{"environment.yml": listed})


def write_package(directory: Path, value: str = "first") -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in (("pyproject.toml", PACKAGE), ("backend.py", BACKEND), ("here.py", f"A = {value!r}\n")):
        (directory / name).write_text(text)


def test_a_project_is_locked_checked_and_run_from_its_lock(projrun: Projrun, project: Path) -> None:
    assert "there is no pixi.lock" in projrun("lock", project, "--check").stderr
    done = projrun("lock", project)
    assert done.returncode == 0, done.stderr
    assert "pixi.lock locks 4 packages of environment.yml" in done.stderr
    assert re.search(r"conda: .*/plain-1\.0-0", (project / "pixi.lock").read_text())
    (package,) = toml_file.load(project / "pylock.conda.toml", "pylock")["packages"]
    assert (package["name"], package["version"]) == ("six", "1.16.0")
    assert projrun("lock", project, "--check").returncode == 0
    run = projrun("run", project, "--locked")
    assert (run.returncode, run.stdout) == (0, "tinylib 2.0.0\n1.16.0\n"), run.stderr
    assert "is older" not in run.stderr
    refused = projrun("run", project, "--upgrade")
    assert refused.returncode == 2
    assert "run `projrun lock --upgrade`" in refused.stderr


def test_a_lock_of_another_descriptor_is_stale(projrun: Projrun, project: Path) -> None:
    assert projrun("lock", project).returncode == 0
    file = project / "environment.yml"
    file.write_text(file.read_text().replace("six<1.17", "six<1.18"))
    checked = projrun("lock", project, "--check")
    assert checked.returncode == 1
    assert "pixi.lock is older than environment.yml; run: projrun lock" in checked.stderr
    refused = projrun("run", project, "--locked")
    assert refused.returncode == 125
    assert "--locked: pixi.lock is older than environment.yml" in refused.stderr
    warned = projrun("run", project)
    assert warned.stdout.endswith("1.16.0\n"), warned.stderr
    assert "pixi.lock is older than environment.yml" in warned.stderr


def test_the_two_files_of_a_lock_belong_together(projrun: Projrun, project: Path) -> None:
    assert projrun("lock", project).returncode == 0
    (project / "pylock.conda.toml").unlink()
    assert "pylock.conda.toml, which belongs to pixi.lock, is gone" in projrun("run", project).stderr
    assert projrun("lock", project, "--check").returncode == 1
    assert projrun("lock", project).returncode == 0
    with (project / "pylock.conda.toml").open("a") as file:
        file.write("# a change\n")
    assert "is not the one that it was written with" in projrun("lock", project, "--check").stderr


def test_without_a_lock_locked_refuses(projrun: Projrun, project: Path) -> None:
    refused = projrun("run", project, "--locked")
    assert refused.returncode == 125
    assert "there is no lock" in refused.stderr


def test_locking_again_changes_nothing_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Channel(tmp_path / "own")
    for name in ("one", "two"):
        channel.add(name, "1", {f"share/{name}": b""}, noarch="generic")
    monkeypatch.setenv("CONDA_CHANNELS", channel.index().url)
    descriptor = Descriptor(kind="conda_env", conda_specs=("one", "two"))
    first = conda_manager.lock(descriptor, tmp_path, tmp_path / "log").conda
    for name in ("one", "two"):
        channel.add(name, "2", {f"share/{name}": b"new"}, noarch="generic")
    channel.index()

    def versions(before: PreviousLock) -> list[str]:
        lock = conda_manager.lock(descriptor, tmp_path, tmp_path / "log", "", before).conda
        return sorted(re.findall(r"^- conda: .*/(\w+-\d)-0", lock, re.MULTILINE))

    assert versions(PreviousLock(first)) == ["one-1", "two-1"]
    assert versions(PreviousLock(first, "", ("two",))) == ["one-1", "two-2"]
    assert versions(NO_PREVIOUS_LOCK) == ["one-2", "two-2"]


def test_the_lock_of_another_program_is_not_overwritten(projrun: Projrun, project: Path) -> None:
    (project / "conda-lock.yml").write_text("version: 1\n")
    refused = projrun("lock", project)
    assert refused.returncode == 2
    assert "conda-lock.yml is the lock of another program" in refused.stderr
    assert not (project / "pixi.lock").exists()


def test_a_run_is_reproduced_from_its_record(
    projrun: Projrun, project: Path, conda_channel: Channel, home: Home
) -> None:
    first = projrun("run", project)
    assert first.returncode == 0, first.stderr
    run_id = json.loads(projrun("runs", "list", "--json").stdout)[0]["run_id"]
    (project / "environment.yml").write_text("dependencies: [python=2.6]\n")
    shutil.rmtree(home.environments)
    shutil.rmtree(home.locks)
    again = projrun("reproduce", run_id)
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    shown = [json.loads(projrun("runs", "show", one["run_id"], "--json").stdout)["record"]["environment"]
             for one in json.loads(projrun("runs", "list", "--json").stdout)]  # fmt: skip
    assert shown[0]["packages"] == shown[1]["packages"]
    assert shown[0]["lock_sha256"] == shown[1]["lock_sha256"]


# the pip section


@pytest.mark.parametrize("line", ["-e .", "./package", "here @ file:package"])
def test_local_entries_of_the_pip_section(
    line: str, projrun: Projrun, project: Path, home: Home, conda_channel: Channel
) -> None:
    write_package(project if line == "-e ." else project / "package")
    listed = f"dependencies: [python, plain, {{pip: ['{line}']}}]\nchannels: ['{conda_channel.url}']\n"
    (project / "environment.yml").write_text(listed)
    made = provided(read_project(project).descriptor, home, project, "conda")
    assert python_says(made, "import here; print(here.A)") == "first"
    assert packages_of(made)["here"] == "1"
    (local,) = made.lock.local
    assert (local.name, local.editable) == ("here", line == "-e .")
    locked = projrun("lock", project)
    assert locked.returncode == 0, locked.stderr
    (package,) = toml_file.load(project / "pylock.conda.toml", "pylock")["packages"]
    assert package["directory"]["path"] == local.path and not Path(local.path).is_absolute()
    again = provided(read_project(project).descriptor, home, project, "conda")
    assert again.lock.local == made.lock.local
    assert python_says(again, "import here; print(here.A)") == "first"


def test_a_changed_local_package_is_another_environment(project: Path, home: Home) -> None:
    (project / "environment.yml").write_text("dependencies: [python, plain, {pip: [./package]}]\n")
    write_package(project / "package")
    first = provided(read_project(project).descriptor, home, project, "conda")
    write_package(project / "package", "second")
    second = provided(read_project(project).descriptor, home, project, "conda")
    assert second.environment.key != first.environment.key
    assert python_says(second, "import here; print(here.A)") == "second"


def test_git_urls_of_the_pip_section(project: Path, home: Home, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    write_package(repository)
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"], ["tag", "v1"]):
        subprocess.run(["git", *arguments], cwd=repository, check=True)
    write_package(repository, "second")
    subprocess.run(["git", "commit", "-qam", "second"], cwd=repository, check=True)
    line = f"here @ git+{repository.as_uri()}@v1"
    (project / "environment.yml").write_text(f"dependencies: [python, plain, {{pip: ['{line}']}}]\n")
    made = provided(read_project(project).descriptor, home, project, "conda")
    assert python_says(made, "import here; print(here.A)") == "first"
    commit = subprocess.check_output(["git", "rev-parse", "v1"], cwd=repository, text=True).strip()
    assert commit in made.lock.pylock


def test_pypi_packages_in_the_lock_of_another_program_are_installed(
    projrun: Projrun, project: Path, conda_channel: Channel, home: Home
) -> None:
    assert projrun("lock", project).returncode == 0
    (package,) = toml_file.load(project / "pylock.conda.toml", "pylock")["packages"]
    (wheel,) = package["wheels"]
    lines = [
        f"- name: {name}\n  version: '{version}'\n  manager: {manager}\n  platform: {platform_name()}\n"
        f"  dependencies: {{}}\n  url: {url}\n  hash: {digests}\n  category: main\n  optional: false\n"
        for name, version, manager, url, digests in (
            *_conda_packages(conda_channel, project),
            ("six", "1.16.0", "pip", wheel["url"], f"{{sha256: {wheel['hashes']['sha256']}}}"),
        )
    ]
    metadata = f"content_hash: {{{platform_name()}: x}}\n  channels: []\n  platforms: [{platform_name()}]"
    text = f"version: 1\nmetadata:\n  {metadata}\n  sources: [x]\npackage:\n{''.join(lines)}"
    (project / "conda-lock.yml").write_text(text)
    (project / "pixi.lock").unlink()
    (project / "pylock.conda.toml").unlink()
    made = provided(read_project(project).descriptor, home, project, "conda")
    assert python_says(made, "import six; print(six.__version__)") == "1.16.0"
    assert wheel["hashes"]["sha256"] in made.lock.pylock


def _conda_packages(channel: Channel, project: Path) -> list[tuple[str, str, str, str, str]]:
    found = []
    for url in re.findall(r"^- conda: (\S+)", (project / "pixi.lock").read_text(), re.MULTILINE):
        subdir, file = url.rsplit("/", 2)[1:]
        record = channel.record(file)
        digests = f"{{md5: {record['md5']}, sha256: {record['sha256']}}}"
        found.append((record["name"], record["version"], "conda", f"{channel.url}/{subdir}/{file}", digests))
    return found


def test_a_lock_with_a_package_that_has_no_hash_is_refused() -> None:
    with pytest.raises(BuildError, match="not a file with a sha256"):
        pylock_of_packages([PypiPackage("here", "1", "git+https://git.example.org/here.git", "")])


# Python


@pytest.mark.parametrize(
    ("spec", "python"),
    [
        ("python>=3.8=*_cpython", ">=3.8"),
        ("python >=3.8,<3.20 *_cpython", ">=3.8,<3.20"),
        ("python 3.11.* *_cpython", "3.11"),
        ("python=3.11=0_cpython", "3.11"),
        ("python>=3.8, <4", ">=3.8,<4"),
    ],
)
def test_a_python_with_a_build_is_a_version(spec: str, python: str, make_project: MakeProject) -> None:
    project = make_project(**{"environment.yml": f"dependencies: ['{spec}', plain]\n"})
    assert read_project(project).descriptor.python == python


def test_a_python_of_a_build_is_solved(make_project: MakeProject, home: Home) -> None:
    project = make_project(**{"environment.yml": "dependencies: ['python>=3.8=*_cpython']\n"})
    made = provided(read_project(project).descriptor, home, project, "conda")
    assert made.lock.python == packages_of(made)["python"]
