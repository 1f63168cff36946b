"""Environments with the real clients that projrun is compared with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from projrun.disk.file_locks import hold_lock

# The tests ask for few different environments: each costs seconds of compiling what it imports first.
MLFLOW = ("mlflow-skinny==3.17.*", "numpy", "docker")
"""Without models, with what the examples import: `import mlflow` takes half the time without pandas."""
MODELS = (MLFLOW[0], "scikit-learn", "pandas", "skops")
MLFLOW_FULL = ("mlflow==3.17.*",)
"""With its server, scikit-learn, pandas and matplotlib."""
OLD_MLFLOW = ("mlflow-skinny==2.22.*", "virtualenv")
OLD_MODELS = (OLD_MLFLOW[0], "scikit-learn", "pandas")
OLD_MLFLOW_FULL = ("mlflow==2.22.*", "setuptools<81", "sqlalchemy<2.1")
OF_2022 = ("scikit-learn<1.3", "pandas<2", "numpy<2", "matplotlib<3.10", "sqlalchemy<2", "setuptools<81")
"""The newest that mlflow 1.30 and 2.0 work with; all have wheels for Python 3.11."""
FIRST_MLFLOW = ("mlflow-skinny==1.30.*", "virtualenv", *OF_2022)
FIRST_MLFLOW_FULL = ("mlflow==1.30.*", *OF_2022)
ENVIRON = dict(os.environ)
"""As it was before any test changed it: uv's cache is where it always is."""

Client = Callable[..., Path]


@pytest.fixture(scope="session")
def client_python(shared_directory: Path) -> Client:
    """`client_python("3.11", "mlflow-skinny==2.22.*", …)`: the interpreter of an environment with these.

    Made once, however many test processes ask for it. No version of Python: the one of the tests.
    """

    def made(version: str, *packages: str) -> Path:
        base = interpreter(version)
        place = shared_directory / f"client-{zlib.crc32(repr((version, packages)).encode())}"
        python = place / "bin" / "python"
        with hold_lock(place.with_suffix(".lock")):
            if not (place / "ready").exists():
                install(base, place, packages)
                borrow_bytecode(place, shared_directory)
                (place / "ready").touch()
        return python

    return made


def interpreter(version: str) -> str:
    """Skips the test when this machine has no such Python."""
    if not version:
        return sys.executable
    pyenv = ENVIRON.get("PYENV_ROOT") or Path(ENVIRON.get("HOME", "/"), ".pyenv")
    places = sorted(Path(pyenv, "versions").glob(f"{version}.*/bin/python"))
    found = str(places[-1]) if places else shutil.which(f"python{version}", path=ENVIRON.get("PATH"))
    if found is None:
        pytest.skip(f"there is no Python {version} on this machine")
    return found


def install(base: str, place: Path, packages: tuple[str, ...]) -> None:
    try:
        uv("venv", "--quiet", "--clear", "--python", base, str(place))
        (packages_of,) = place.glob("lib/python*/site-packages")
        # Whatever the caller's environment says: compiling scikit-learn for each process takes its time.
        (packages_of / "bytecode.pth").write_text("import sys; sys.dont_write_bytecode = False\n")
        command = ("pip", "install", "--quiet", "--python", str(place / "bin" / "python"), *packages)
        try:
            uv(*command, "--offline")
        except subprocess.CalledProcessError:
            uv(*command)
    except (subprocess.CalledProcessError, OSError) as error:
        reason = f"{packages[0]} cannot be installed: {error}"
        if ENVIRON.get("PROJRUN_TEST_ENGINES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


def borrow_bytecode(place: Path, root: Path) -> None:
    """Take what other clients have compiled of the same files, which uv links out of its cache.

    It is of use where the version is the same: else Python sees another time or size, and compiles anew.
    """
    (packages,) = place.glob("lib/python*/site-packages")
    for other in root.glob(f"client-*/{packages.relative_to(place)}"):
        for compiled in other.rglob("*.pyc") if other != packages else ():
            cache = packages / compiled.parent.relative_to(other)
            source = f"{compiled.name.partition('.')[0]}.py"
            with suppress(FileNotFoundError, FileExistsError):  # the other is in use and may write its own
                if is_same(compiled.parent.parent / source, cache.parent / source):
                    cache.mkdir(exist_ok=True)
                    os.link(compiled, cache / compiled.name)


def is_same(one: Path, other: Path) -> bool:
    """Compare sources as Python does to decide about byte-code: by time and size."""
    a, b = one.stat(), other.stat()
    return (a.st_size, int(a.st_mtime)) == (b.st_size, int(b.st_mtime))


def uv(*arguments: str) -> None:
    from uv import find_uv_bin

    subprocess.run([find_uv_bin(), *arguments], env=ENVIRON, check=True, capture_output=True)
