"""Test the cost of the hot path: imports, processes and network calls are counted, not seconds."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeProject

THIRD_PARTY = {"msgspec"}
HEAVY = {
    "asyncio",
    "concurrent",
    "ctypes",
    "dataclasses",
    "email",
    "getpass",
    "git",
    "hashlib",
    "http",
    "inspect",
    "importlib.metadata",
    "json",
    "logging",
    "multiprocessing",
    "platform",
    "shlex",
    "shutil",
    "socket",
    "ssl",
    "tempfile",
    "textwrap",
    "typing_extensions",
    "unittest",
    "urllib.request",
    "xml",
    "zipfile",
}
NOOP = "name: noop\nentry_points: {main: {parameters: {x: {type: int, default: 1}}, command: 'true {x}'}}"
SCRIPT = """
import sys
from projrun.cli.main import guarded
code = guarded(sys.argv[1:])
print([code, sorted(sys.modules)])
"""


def modules_after(*arguments: str | Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT, *map(str, arguments)], capture_output=True, text=True
    )
    code, modules = ast.literal_eval(done.stdout.splitlines()[-1])
    assert code == 0, done.stderr
    return set(modules)


def without_what_the_test_imports(modules: set[str]) -> set[str]:
    bare = subprocess.run(
        [sys.executable, "-I", "-c", "import sys; print(sorted(sys.modules))"],
        capture_output=True,
        text=True,
    )
    return modules - set(ast.literal_eval(bare.stdout))


def foreign(modules: set[str]) -> set[str]:
    names = {"_cython" if name.startswith("_cython") else name.split(".")[0] for name in modules}
    return names - set(sys.stdlib_module_names) - {"projrun"}


@pytest.fixture
def noop(make_project: MakeProject) -> Path:
    return make_project(MLproject=NOOP)


def test_help_imports_click_alone() -> None:
    modules = without_what_the_test_imports(modules_after("--help"))
    assert foreign(modules) == {"click"}
    assert {name for name in modules if name.startswith("projrun.")} == {
        *("projrun.cli", "projrun.cli.main", "projrun.errors", "projrun.processes", "projrun.console"),
        *("projrun.cli.run_options", "projrun.cli.verbs", "projrun.version"),
    }


@pytest.mark.parametrize(("manager", "most_of_ours"), [("local", 60), ("uv", 72)])
def test_a_warm_run_imports_only_what_it_needs(noop: Path, manager: str, most_of_ours: int) -> None:
    """Each module of ours costs a third of a millisecond, whatever is in it; packages count too."""
    arguments = ("run", noop, "--env-manager", manager)
    modules_after(*arguments)
    modules = without_what_the_test_imports(modules_after(*arguments))
    assert foreign(modules) <= THIRD_PARTY
    assert not modules & HEAVY
    ours = sorted(name for name in modules if name.split(".")[0] == "projrun")
    assert len(ours) <= most_of_ours, "\n".join(ours)


def test_what_stood_in_for_modules_does_all_that_they_do() -> None:
    script = """
import sys
from projrun.cli.main import import_lightly
import_lightly()
assert not {"platform", "textwrap", "typing_extensions", "inspect"} & set(sys.modules)
import msgspec
class Noun(msgspec.Struct):
    \'\'\'A noun.

    It has two lines.
    \'\'\'
    kind: str = ""
assert msgspec.json.schema(Noun)["$defs"]["Noun"]["description"].endswith("It has two lines.")
import platform, textwrap, uuid
assert platform.python_version() and uuid.platform.machine()
assert msgspec.inspect.type_info(Noun).cls is Noun
import ipaddress, locale, pathlib, urllib.parse
assert pathlib.Path("/a b").as_uri() == "file:///a%20b" == "file://" + urllib.parse.quote("/a b")
assert urllib.parse.urlsplit("http://[::1]:80/").hostname == "::1" and locale.getlocale()
assert textwrap.dedent("  a") == "a" and uuid.uuid1()
"""
    subprocess.run([sys.executable, "-I", "-c", script], check=True)


def test_a_run_in_the_callers_own_environment_looks_for_no_lock(noop: Path) -> None:
    assert "projrun.environments.lock_store" not in modules_after("run", noop, "--env-manager", "local")


def test_a_warm_run_of_a_pushed_tree_hashes_nothing(noop: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    for arguments in (
        ("init", "-q", "--bare", str(remote)),
        ("init", "-q"),
        ("add", "-A"),
        ("commit", "-q", "-m", "first"),
        ("remote", "add", "origin", str(remote)),
        ("push", "-q", "origin", "HEAD"),
    ):
        subprocess.run(["git", *arguments], cwd=noop, check=True)
    run = ("run", noop, "--env-manager", "local")
    modules_after(*run)
    modules = without_what_the_test_imports(modules_after(*run))
    assert not modules & (HEAVY | {"zlib", "tarfile", "projrun.sources.plain_files"})
    with_git = subprocess.run(
        [sys.executable, "-m", "projrun", *map(str, run)],
        check=True,
        capture_output=True,
        env=traced(tmp_path),
    )
    assert with_git.returncode == 0
    trace = (tmp_path / "trace").read_text().split()
    assert trace == ["subprocess.Popen"] * 3  # git status, the command, and who watches it


@pytest.mark.parametrize("manager", ["local", "uv"])
def test_a_warm_run_outside_git_starts_two_processes(noop: Path, manager: str, tmp_path: Path) -> None:
    """The command, and the shell that ends it when projrun is killed."""
    arguments = [sys.executable, "-m", "projrun", "run", str(noop), "--env-manager", manager]
    subprocess.run(arguments, check=True, capture_output=True)
    subprocess.run(arguments, check=True, capture_output=True, env=traced(tmp_path))
    assert (tmp_path / "trace").read_text().split() == ["subprocess.Popen"] * 2


def test_a_warm_run_reads_each_file_of_the_users_settings_once(noop: Path, tmp_path: Path) -> None:
    uv_toml, pip_conf = tmp_path / "uv" / "uv.toml", tmp_path / "pip.conf"
    uv_toml.parent.mkdir()
    uv_toml.write_text('index-strategy = "first-index"\n')
    pip_conf.write_text("[global]\ntimeout = 60\n")
    files = {"XDG_CONFIG_HOME": str(tmp_path), "PIP_CONFIG_FILE": str(pip_conf)}
    arguments = [sys.executable, "-m", "projrun", "run", str(noop), "--env-manager", "uv"]
    subprocess.run(arguments, check=True, capture_output=True, env={**os.environ, **files})
    paths = (str(uv_toml), str(pip_conf))
    opened = traced(tmp_path, f"event == 'open' and str(arguments[0]) in {paths}")
    subprocess.run(arguments, check=True, capture_output=True, env={**opened, **files})
    assert (tmp_path / "trace").read_text().split() == ["open"] * 2


def test_a_warm_build_starts_uv_twice_and_nothing_else(make_project: MakeProject, tmp_path: Path) -> None:
    """To make the environment, and to fill it from the package cache."""
    project = make_project(**{"requirements.txt": "six==1.16.0\n"})
    build = [sys.executable, "-m", "projrun", "env", "build", str(project)]
    place = subprocess.run(build, check=True, capture_output=True, text=True).stdout.strip()
    shutil.rmtree(place)
    subprocess.run(build, check=True, capture_output=True, env=traced(tmp_path))
    assert (tmp_path / "trace").read_text().split() == ["subprocess.Popen"] * 2


STARTS_AND_CONNECTIONS = "event in ('subprocess.Popen', 'socket.connect', 'socket.getaddrinfo')"


def traced(tmp_path: Path, condition: str = STARTS_AND_CONNECTIONS) -> dict[str, str]:
    """An environment in which every Python tells `trace` of the events that fulfil the condition."""
    trace = tmp_path / "trace"
    hook = tmp_path / "sitecustomize.py"
    hook.write_text(
        "import sys\n"
        "def hear(event, arguments):\n"
        f"    if {condition}:\n"
        f"        open({str(trace)!r}, 'a').write(event + '\\n')\n"
        "sys.addaudithook(hear)\n"
    )
    return {**os.environ, "PYTHONPATH": str(tmp_path)}
