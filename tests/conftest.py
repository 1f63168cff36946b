"""Every test has a home of its own; the real one is out of reach."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path

import pytest

from projrun.disk import Home
from tests.support import machine_settings
from tests.support.mlflow_clients import client_python

__all__ = ["client_python"]

Projrun = Callable[..., "subprocess.CompletedProcess[str]"]
MakeProject = Callable[..., Path]

LONG_TIMEOUT_S = 1200
LONG = (
    "containers/",
    "environments/",
    "test_release.py",
    "test_examples.py",
    "test_documented_commands.py",
    "test_startup.py",
)
"""Tests that install packages or build images."""
ENGINES = (
    "containers/",
    "environments/conda/",
    "test_release.py",
    "test_examples.py",
    "test_documented_commands.py",
)
"""Tests that need more than git and uv. Those that use a fixture of ENGINE_FIXTURES count too."""
ENGINE_FIXTURES = {"client_python", "engine"}

USER_CACHE = os.environ.get("UV_CACHE_DIR") or str(
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uv"
)
"""The packages that the machine has already downloaded, which tests share."""
USER_PIP_CACHE = os.environ.get("PIP_CACHE_DIR") or str(Path(USER_CACHE).with_name("pip"))

OF_THE_MACHINE = {
    *("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES", "LANGUAGE", "SHELL"),
    *(
        "PYTHONHASHSEED",
        "PYTHONUNBUFFERED",
        "PYTHONIOENCODING",
        "PYTHONUTF8",
        "PYTHONSTARTUP",
        "PYTHONWARNINGS",
    ),
    *("PYTHONWARNINGS", "VIRTUAL_ENV", "OMP_NUM_THREADS", "NETRC"),
}
"""Variables that say how programs look, speak or count here."""


# Before any fixture, those of modules and of the session too.
machine_settings.keep_index_settings_alone()
for variable in OF_THE_MACHINE:
    os.environ.pop(variable, None)
# A shell ignores SIGINT for what it starts in the background, and programs under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        file = item.path.relative_to(here).as_posix()
        uses_engine = not ENGINE_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
        if file.startswith(ENGINES) or uses_engine:
            item.add_marker(pytest.mark.engines)
        if file.startswith(LONG) or uses_engine:
            item.add_marker(pytest.mark.timeout(LONG_TIMEOUT_S), append=False)


@pytest.fixture(scope="session")
def shared_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory that all processes of this session of tests have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Directories with numbers: pytest would look for the next free one among thousands."""
    root = tmp_path_factory.mktemp("homes")
    return (root / str(number) for number in count())


@pytest.fixture(autouse=True)
def home(homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Home:
    """Fresh cache and data directories, named in the environment; HOME leads nowhere."""
    root = next(homes)
    root.mkdir()
    for name in os.environ:
        if name.startswith(("MLFLOW_", "PROJRUN_")) and not name.startswith("PROJRUN_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PROJRUN_CACHE_DIR", str(root / "cache"))
    monkeypatch.setenv("PROJRUN_HOME", str(root / "data"))
    monkeypatch.setenv("HOME", str(root / "user"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(root / "user" / ".config"))
    if machine_settings.UV_TOML:
        (root / "user" / ".config" / "uv").mkdir(parents=True)
        (root / "user" / ".config" / "uv" / "uv.toml").write_text(machine_settings.UV_TOML)
    monkeypatch.setenv("UV_CACHE_DIR", USER_CACHE)
    monkeypatch.setenv("PIP_CACHE_DIR", USER_PIP_CACHE)
    # Debian has python3 and no python; commands of projects say python.
    monkeypatch.setenv("PATH", os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    # Else every `python -m projrun` of a test would compile projrun once more.
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(root / "gitconfig"))
    (root / "gitconfig").write_text(
        "[user]\n\tname = Test\n\temail = test@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    return Home(root / "cache", root / "data")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the terminal, the shell and the language of the machine say to programs."""
    for name in os.environ:
        if name in OF_THE_MACHINE or name.startswith(("LC_", "CONDA_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LANG", "C.UTF-8")
    for name in ("NO_PROXY", "no_proxy"):  # servers of tests are on loopback
        others = os.environ.get(name, "")
        monkeypatch.setenv(name, ",".join(filter(None, (others, "127.0.0.1", "localhost"))))


@pytest.fixture
def projrun() -> Projrun:
    """Call the command line as a program of its own: `projrun("run", ".", cwd=…, environ={…})`."""

    def call(
        *arguments: str | Path, cwd: Path | None = None, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "projrun", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    return call


@pytest.fixture
def make_project(tmp_path: Path) -> MakeProject:
    """Write a project of the given files: `make_project(MLproject="…", **{"train.py": "…"})`."""

    def make(name: str = "project", **files: str) -> Path:
        directory = tmp_path / name
        for file, text in files.items():
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            (directory / file).write_text(text)
        return directory

    return make
