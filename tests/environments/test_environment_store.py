"""The contract that every environment manager passes, and the shelf that builds once and never half."""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from projrun.disk import Home, home_from
from projrun.environments import KINDS, interpreters, manager_named
from projrun.environments.environment_store import READY, Provided, provide
from projrun.environments.interpreters import Interpreter
from projrun.environments.uv import program
from projrun.errors import BuildError, UsageError
from projrun.plan import PYLOCK_ARTIFACT, Descriptor
from projrun.processes import merge_environ
from projrun.processes.programs import run_program
from tests.conftest import Projrun
from tests.support.chaos import MARK, processes_marked

SIX = Descriptor(kind="python_env", file="python_env.yaml", dependencies=("six==1.16.0",))
MANY = 6
OF_A_LOCK = ("pixi",)
"""Managers that build only from a lock in the project; each has tests of its own."""
BUILDING = [
    name for name in KINDS if manager_named(name).BUILDS and name != "docker" and name not in OF_A_LOCK
]
"""Every other manager that builds passes tests with this parameter; images are tested in tests/containers."""
FROM_PYPI = ("uv", "virtualenv")
VERSION = "import six, sys; print(six.__version__, sys.prefix)"


@pytest.fixture(scope="session")
def real_pythons() -> list[Interpreter]:
    """Found before a test hides the user's home."""
    return list(interpreters.installed())


def provided(descriptor: Descriptor, home: Home, directory: Path, name: str = "uv") -> Provided:
    with provide(name, descriptor, directory, home, directory / "environment.log") as environment:
        return environment


def packages_of(environment: Provided) -> dict[str, str]:
    return {package.name: package.version for package in environment.environment.packages}


def python_says(environment: Provided, script: str) -> str:
    launch = environment.launch
    path = os.pathsep.join([*launch.path_entries, os.environ["PATH"]])
    answer = run_program(
        [*launch.argv_prefix, "bash", "-c", 'python -c "$0"', script],
        environ=merge_environ(os.environ, launch.variables, {"PATH": path}),
    )
    assert answer.ok, answer.stderr
    return answer.stdout.strip()


ON_THIS_MACHINE = ["local", *BUILDING]


@pytest.mark.parametrize("name", ON_THIS_MACHINE)
def test_every_manager_gives_a_launch_that_starts_python(name: str, home: Home, tmp_path: Path) -> None:
    environment = provided(Descriptor(kind="none"), home, tmp_path, name)
    assert environment.environment.manager == name
    assert python_says(environment, "print(1 + 1)") == "2"


@pytest.mark.parametrize("name", BUILDING)
def test_every_building_manager_installs_what_it_locked(name: str, home: Home, tmp_path: Path) -> None:
    environment = provided(SIX, home, tmp_path, name)
    version, prefix = python_says(environment, VERSION).split()
    assert version == "1.16.0"
    assert prefix == str(home.environments / name / environment.environment.key)
    assert packages_of(environment)["six"] == "1.16.0"
    assert "sha256" in environment.lock.pylock
    assert environment.environment.lock_sha256


def test_the_local_environment_keeps_nothing(home: Home, tmp_path: Path) -> None:
    provided(SIX, home, tmp_path, "local")
    assert not home.cache.exists()


def test_the_local_environment_says_what_differs(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = home.environments / "uv" / provided(SIX, home, tmp_path).environment.key
    monkeypatch.setenv("PATH", f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}")
    wanted = ("six>=1.17", "iniconfig", "absent ; python_version < '3'")
    descriptor = msgspec.structs.replace(SIX, dependencies=wanted, python="3.8.0")
    found = provided(descriptor, home, tmp_path, "local")
    here = ".".join(map(str, sys.version_info[:3]))
    (notice,) = found.lock.notices
    assert notice.endswith(
        f"python_env.yaml: Python is {here}, not 3.8.0; six is 1.16.0, not >=1.17; iniconfig is missing"
    )
    assert (found.environment.python, packages_of(found)) == (here, {"six": "1.16.0"})
    assert provided(SIX, home, tmp_path, "local").lock.notices == ()
    assert "running in the current environment" in capsys.readouterr().err


def test_markers_are_those_of_the_python_that_runs(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    (tmp_path / "venv" / "pyvenv.cfg").write_text("home = /usr/bin\nversion_info = 3.8.18\n")
    monkeypatch.setenv("PATH", f"{python.parent}{os.pathsep}{os.environ['PATH']}")
    wanted = ("old ; python_version < '3.9'", "new ; python_version >= '3.9'")
    descriptor = msgspec.structs.replace(SIX, dependencies=wanted)
    (notice,) = provided(descriptor, home, tmp_path, "local").lock.notices
    assert notice.endswith("python_env.yaml: old is missing")


def test_no_requirements_is_an_empty_environment_said_aloud(home: Home, tmp_path: Path) -> None:
    environment = provided(Descriptor(kind="none"), home, tmp_path)
    assert environment.environment.packages == ()
    assert "empty" in " ".join(environment.lock.notices)


def test_the_same_descriptor_is_resolved_and_built_once(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = provided(SIX, home, tmp_path)
    monkeypatch.setattr(program, "uv_binary", lambda: pytest.fail("a ready environment asks uv nothing"))
    assert provided(SIX, home, tmp_path) == first


def test_build_dependencies_and_constraints_count(home: Home, tmp_path: Path) -> None:
    descriptor = Descriptor(
        kind="python_env",
        build_dependencies=("iniconfig",),
        dependencies=("six",),
        constraints=("six==1.15.0",),
    )
    packages = {
        package.name: package.version for package in provided(descriptor, home, tmp_path).environment.packages
    }
    assert packages["six"] == "1.15.0"
    assert "iniconfig" in packages


def test_an_unknown_package_is_one_line_and_leaves_nothing(home: Home, tmp_path: Path) -> None:
    descriptor = Descriptor(kind="python_env", dependencies=("six==0.0.0.1",))
    with pytest.raises(BuildError, match=re.escape("six==0.0.0.1")) as caught:
        provided(descriptor, home, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(home.cache.rglob(READY))
    assert "six" in (tmp_path / "environment.log").read_text()


def test_without_a_network_the_next_step_is_about_the_network(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(BuildError, match="check the network"):
        provided(SIX, home, tmp_path)


def test_another_index_is_another_lock(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provided(SIX, home, tmp_path)
    monkeypatch.setenv("UV_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    with pytest.raises(BuildError) as caught:
        provided(SIX, home, tmp_path)
    assert "secret" not in str(caught.value)


def test_conda_packages_are_not_dropped_in_silence(home: Home, tmp_path: Path) -> None:
    descriptor = Descriptor(kind="conda_env", file="conda.yaml", conda_dependencies=("r-base=4",))
    with pytest.raises(BuildError, match="r-base=4"):
        provided(descriptor, home, tmp_path)


def test_a_name_that_no_manager_has_is_refused() -> None:
    with pytest.raises(UsageError, match="pipenv"):
        manager_named("pipenv")


def build_in_a_process(directory: str, results: multiprocessing.Queue[str]) -> None:
    results.put(provided(SIX, home_from(), Path(directory)).environment.key)


def test_many_processes_build_once(home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[str] = context.Queue()
    processes = [
        context.Process(target=build_in_a_process, args=(str(tmp_path), results)) for _ in range(MANY)
    ]
    for process in processes:
        process.start()
    keys = {results.get(timeout=600) for _ in processes}
    for process in processes:
        process.join()
    assert len(keys) == 1
    assert capfd.readouterr().err.count("building the uv environment") == 1


def test_killed_while_building_is_rebuilt(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARK, str(tmp_path))
    script = (
        "from pathlib import Path\n"
        "from projrun.disk import home_from\n"
        "from tests.environments.test_environment_store import SIX, provided\n"
        f"provided(SIX, home_from(), Path({str(tmp_path)!r}))\n"
    )
    chance = random.Random(20)
    for attempt in range(12):
        command = [sys.executable, "-c", script]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as one:
            time.sleep(chance.uniform(0.1, 0.8))
            if attempt % 2:
                os.killpg(one.pid, signal.SIGKILL)
            else:
                one.kill()
    assert not processes_marked(str(tmp_path)), "what the killed ones had started goes on"
    environment = provided(SIX, home, tmp_path)
    assert python_says(environment, VERSION).startswith("1.16.0")
    assert not list(home.environments.rglob("*.tmp"))


def test_a_directory_without_a_ready_mark_is_no_environment(home: Home, tmp_path: Path) -> None:
    first = provided(SIX, home, tmp_path)
    place = home.environments / "uv" / first.environment.key
    (place / READY).unlink()
    (place / "bin" / "python").unlink()
    assert python_says(provided(SIX, home, tmp_path), VERSION).startswith("1.16.0")


@pytest.mark.parametrize("name", BUILDING)
def test_what_was_changed_by_hand_is_noticed_and_rebuilt(name: str, home: Home, tmp_path: Path) -> None:
    first = provided(SIX, home, tmp_path, name)
    (site,) = (home.environments / name / first.environment.key).glob("lib/python*/site-packages")
    for change in (
        lambda: (site / "six.py").unlink(),
        lambda: (site / "added-1.0.dist-info").mkdir(),
        lambda: (site / "six-1.16.0.dist-info" / "RECORD").write_text("six.py,,\n"),
    ):
        change()
        assert provided(SIX, home, tmp_path, name).environment == first.environment
        assert python_says(first, VERSION).startswith("1.16.0")


def test_importing_is_no_change(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = provided(SIX, home, tmp_path)
    launch = msgspec.structs.replace(
        first.launch, variables={**first.launch.variables, "PYTHONDONTWRITEBYTECODE": None}
    )
    python_says(msgspec.structs.replace(first, launch=launch), VERSION)
    assert list(home.environments.rglob("__pycache__/six*.pyc"))
    capsys.readouterr()
    provided(SIX, home, tmp_path)
    assert "building" not in capsys.readouterr().err


def test_one_that_is_changed_while_in_use_is_built_anew_beside_it(home: Home, tmp_path: Path) -> None:
    log = tmp_path / "environment.log"
    with provide("uv", SIX, tmp_path, home, log) as first:
        (site,) = (home.environments / "uv" / first.environment.key).glob("lib/python*/site-packages")
        (site / "six.py").unlink()
        second = provided(SIX, home, tmp_path)
        assert second.environment.key == f"{first.environment.key}-2"
        assert not (site / "six.py").exists()
    assert python_says(second, VERSION).startswith("1.16.0")


def test_the_managers_install_the_same(home: Home, tmp_path: Path) -> None:
    descriptor = Descriptor(kind="python_env", dependencies=("chardet==4.0.0", "six==1.16.0"))
    first, *others = [provided(descriptor, home, tmp_path, name) for name in FROM_PYPI]
    for other in others:
        assert other.lock.pylock == first.lock.pylock
        assert other.environment.packages == first.environment.packages
    for manager in (first, *others):
        script = "import subprocess; print(subprocess.check_output(['chardetect', '--version'], text=True))"
        assert "4.0.0" in python_says(manager, script)


def test_virtualenv_refuses_what_has_another_hash(home: Home, tmp_path: Path) -> None:
    first = provided(SIX, home, tmp_path, "virtualenv")
    (kept,) = home.locks.rglob("lock.json")
    lock = msgspec.structs.replace(
        first.lock,
        access=None,
        files={
            PYLOCK_ARTIFACT: re.sub(r'sha256 = "[0-9a-f]{64}"', f'sha256 = "{"0" * 64}"', first.lock.pylock)
        },
    )
    kept.write_bytes(msgspec.json.encode(lock))
    with pytest.raises(BuildError, match=r"(?i)hash"):
        provided(SIX, home, tmp_path, "virtualenv")
    assert len(list(home.environments.rglob(READY))) == 1


@pytest.mark.parametrize("name", FROM_PYPI)
@pytest.mark.parametrize("minor", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_every_python_that_is_here_works(
    name: str,
    minor: str,
    real_pythons: list[Interpreter],
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if minor not in {".".join(map(str, python.version[:2])) for python in real_pythons}:
        pytest.skip(f"Python {minor} is not on this machine")
    python = next(p for p in real_pythons if ".".join(map(str, p.version[:2])) == minor)
    monkeypatch.setattr(interpreters, "installed", lambda: iter([python]))
    descriptor = Descriptor(kind="python_env", python=minor, dependencies=("six==1.16.0",))
    environment = provided(descriptor, home, tmp_path, name)
    assert python_says(environment, "import six, sys; print('%d.%d' % sys.version_info[:2])") == minor


def test_an_environment_whose_interpreter_is_gone_is_rebuilt(home: Home, tmp_path: Path) -> None:
    first = provided(SIX, home, tmp_path)
    python = home.environments / "uv" / first.environment.key / "bin" / "python"
    python.unlink()
    python.symlink_to("/no/such/python")
    assert python_says(provided(SIX, home, tmp_path), VERSION).startswith("1.16.0")


def test_a_damaged_lock_is_resolved_again(home: Home, tmp_path: Path) -> None:
    first = provided(SIX, home, tmp_path)
    (kept,) = home.locks.rglob("lock.json")
    kept.write_text("{")
    assert provided(SIX, home, tmp_path).environment == first.environment


@pytest.mark.parametrize("name", BUILDING)
def test_a_requirement_in_git_is_installed_and_recorded_by_its_commit(
    name: str, home: Home, tmp_path: Path
) -> None:
    repository = tmp_path / "my-package"
    repository.mkdir()
    (repository / "pyproject.toml").write_text('[project]\nname = "my-package"\nversion = "1"\n')
    (repository / "my_package.py").write_text("VALUE = 7\n")
    for arguments in (("init", "-q"), ("add", "."), ("commit", "-qm", "one")):
        subprocess.run(["git", *arguments], cwd=repository, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True)
    wanted = (f"my-package @ git+{repository.as_uri()}", "absent ; python_version < '3'")
    descriptor = Descriptor(kind="python_env", dependencies=wanted)
    environment = provided(descriptor, home, tmp_path, name)
    [package] = [one for one in environment.environment.packages if one.name == "my-package"]
    assert package.source == f"{repository.as_uri()}@{head.stdout.strip()}"
    assert python_says(environment, "import my_package; print(my_package.VALUE)") == "7"


def test_a_file_that_was_edited_in_place_is_found_by_its_digest(
    home: Home, tmp_path: Path, projrun: Projrun
) -> None:
    key = provided(SIX, home, tmp_path).environment.key
    assert projrun("env", "show", key, "--verify").returncode == 0
    (module,) = (home.environments / "uv" / key).glob("lib/python*/site-packages/six.py")
    content = module.read_text()
    module.unlink()  # it may be linked to uv's cache
    module.write_text(content.replace("1.16.0", "1.16.9"))
    shown = projrun("env", "show", key, "--verify")
    assert shown.returncode == 1
    assert "six.py" in shown.stdout
