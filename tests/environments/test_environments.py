"""The contract that every environment manager passes, and the shelf that builds once and never half."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from projrun.environments import KINDS, manager_named
from projrun.environments import uv as uv_manager
from projrun.environments.store import READY, Provided, provide
from projrun.errors import BuildError, UnavailableError, UsageError
from projrun.home import Home, home_from
from projrun.plan import Descriptor
from projrun.process import ask, merged

SIX = Descriptor(kind="python_env", file="python_env.yaml", dependencies=("six==1.16.0",))
VERSION = "import six, sys; print(six.__version__, sys.prefix)"


def provided(descriptor: Descriptor, home: Home, directory: Path, name: str = "uv") -> Provided:
    with provide(name, descriptor, directory, home, directory / "environment.log") as environment:
        return environment


def packages_of(environment: Provided) -> dict[str, str]:
    return {package.name: package.version for package in environment.environment.packages}


def python_says(environment: Provided, script: str) -> str:
    launch = environment.launch
    path = os.pathsep.join([*launch.path_entries, os.environ["PATH"]])
    answer = ask(
        [*launch.argv_prefix, "bash", "-c", 'python -c "$0"', script],
        environ=merged(os.environ, launch.variables, {"PATH": path}),
    )
    assert answer.ok, answer.stderr
    return answer.stdout.strip()


ON_THIS_MACHINE = [name for name in KINDS if name != "docker"]
"""Images have a driver of their own, in tests/docker: what is in them is not on this machine."""


@pytest.mark.parametrize("name", ON_THIS_MACHINE)
def test_every_manager_gives_a_launch_that_starts_python(name: str, home: Home, tmp_path: Path) -> None:
    environment = provided(Descriptor(kind="none"), home, tmp_path, name)
    assert environment.environment.manager == name
    assert python_says(environment, "print(1 + 1)") == "2"


@pytest.mark.parametrize("name", [name for name in ON_THIS_MACHINE if manager_named(name).BUILDS])
def test_every_building_manager_installs_what_it_locked(name: str, home: Home, tmp_path: Path) -> None:
    environment = provided(SIX, home, tmp_path, name)
    version, prefix = python_says(environment, VERSION).split()
    assert version == "1.16.0"
    assert prefix == str(home.environments / name / environment.environment.key)
    assert [(package.name, package.version) for package in environment.environment.packages] == [
        ("six", "1.16.0")
    ]
    assert "sha256" in environment.lock.pylock
    assert environment.environment.lock_sha256


def test_the_local_environment_keeps_nothing(home: Home, tmp_path: Path) -> None:
    provided(SIX, home, tmp_path, "local")
    assert not home.cache.exists()


def test_no_requirements_is_an_empty_environment_said_aloud(home: Home, tmp_path: Path) -> None:
    environment = provided(Descriptor(kind="none"), home, tmp_path)
    assert environment.environment.packages == ()
    assert "empty" in " ".join(environment.lock.notices)


def test_the_same_descriptor_is_resolved_and_built_once(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = provided(SIX, home, tmp_path)
    monkeypatch.setattr(uv_manager, "_uv", lambda: pytest.fail("a ready environment asks uv nothing"))
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


@pytest.mark.parametrize("line", ["-e .", "./package", ".", "../other", "name @ file:///x", "/abs/path"])
def test_local_requirements_are_refused_not_misread(line: str, home: Home, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="local requirements"):
        provided(Descriptor(kind="python_env", dependencies=(line,)), home, tmp_path)


def test_conda_packages_are_not_dropped_in_silence(home: Home, tmp_path: Path) -> None:
    descriptor = Descriptor(kind="conda_env", file="conda.yaml", conda_dependencies=("cudatoolkit=11",))
    with pytest.raises(BuildError, match="cudatoolkit=11"):
        provided(descriptor, home, tmp_path)


def test_manager_names_are_known_planned_or_wrong() -> None:
    with pytest.raises(UnavailableError, match="conda"):
        manager_named("conda")
    with pytest.raises(UsageError, match="pipenv"):
        manager_named("pipenv")


def build_in_a_process(directory: str, results: multiprocessing.Queue[str]) -> None:
    results.put(provided(SIX, home_from(), Path(directory)).environment.key)


def test_many_processes_build_once(home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[str] = context.Queue()
    processes = [context.Process(target=build_in_a_process, args=(str(tmp_path), results)) for _ in range(6)]
    for process in processes:
        process.start()
    keys = {results.get(timeout=120) for _ in processes}
    for process in processes:
        process.join()
    assert len(keys) == 1
    assert capfd.readouterr().err.count("building the uv environment") == 1


def test_killed_while_building_is_rebuilt(home: Home, tmp_path: Path) -> None:
    script = (
        "from pathlib import Path\n"
        "from projrun.home import home_from\n"
        "from tests.environments.test_environments import SIX, provided\n"
        f"provided(SIX, home_from(), Path({str(tmp_path)!r}))\n"
    )
    for delay_s in (0.2, 0.3, 0.4, 0.5):
        with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as one:
            time.sleep(delay_s)
            one.kill()
    environment = provided(SIX, home, tmp_path)
    assert python_says(environment, VERSION).startswith("1.16.0")
    assert not list(home.environments.rglob("*.tmp"))


def test_a_directory_without_a_ready_mark_is_no_environment(home: Home, tmp_path: Path) -> None:
    first = provided(SIX, home, tmp_path)
    place = home.environments / "uv" / first.environment.key
    (place / READY).unlink()
    (place / "bin" / "python").unlink()
    assert python_says(provided(SIX, home, tmp_path), VERSION).startswith("1.16.0")


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
