from __future__ import annotations

import json
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.documents import toml_file
from projrun.environments import interpreters
from projrun.environments.environment_store import provide
from projrun.project import read_project
from tests.support import conda_packages
from tests.support.conda_packages import PLACEHOLDER, Channel


@pytest.fixture(scope="session")
def conda_channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    """A channel with the running Python and a few packages of every sort."""
    channel = Channel(tmp_path_factory.mktemp("conda") / "channel")
    conda_packages.add_python(channel, interpreters.choose("")[0])
    conda_packages.add_library(channel, "1.0.0", format="tar.bz2")
    conda_packages.add_library(channel, "2.0.0")
    activation = (
        f"export NATIVE_DATA=$CONDA_PREFIX/share/native PATH={PLACEHOLDER}/libexec:$PATH\nunset FROM_FILE\n"
    )
    channel.add(
        "native",
        "1.0",
        {
            "bin/native": f"#!/bin/sh\necho {PLACEHOLDER}/share\n".encode(),
            "lib/libnative.so": b"\x7fELF\0" + PLACEHOLDER.encode() + b"/lib\0after",
            "libexec/inner": b"#!/bin/sh\necho inner\n",
            "etc/conda/activate.d/native.sh": activation.encode(),
        },
        prefixes={
            "bin/native": "text",
            "lib/libnative.so": "binary",
            "etc/conda/activate.d/native.sh": "text",
        },
    )
    channel.add("data", "1.0", {"share/data.txt": b"data\n"}, noarch="generic", format="tar.bz2")
    for version in ("1.0", "2.0"):
        channel.add("plain", version, {f"share/plain-{version}": b""}, noarch="generic", format="tar.bz2")
    channel.add("needs-cuda", "1.0", {"share/cuda": b""}, depends=("__cuda >=12",))
    channel.add("needs-old", "1.0", {"share/old": b""}, depends=("tinylib <2",))
    channel.add("scripted", "1.0", {"bin/.scripted-post-link.sh": b"touch $PREFIX/scripted\n"})
    channel.add("only-elsewhere", "1.0", {"share/x": b""}, subdir="win-64")
    return channel.index()


@pytest.fixture(autouse=True)
def conda_settings(
    conda_channel: Channel, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conda knows that channel alone, and its packages are kept from the user's cache."""
    monkeypatch.setenv("CONDA_CHANNELS", conda_channel.url)
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path_factory.mktemp("rattler")))


@pytest.fixture
def pixi_lock(tmp_path: Path, home: Home) -> str:
    """The lock of python, tinylib and, from PyPI, six, as pixi writes it."""
    directory = tmp_path / "locked"
    directory.mkdir()
    listed = {"dependencies": ["python", "tinylib=1", {"pip": ["six==1.16.0"]}]}
    (directory / "environment.yml").write_text(json.dumps(listed))
    descriptor = read_project(directory).descriptor
    with provide("conda", descriptor, directory, home, directory / "log") as provided:
        lock = provided.lock
    (package,) = toml_file.parse(lock.pylock, "pylock.toml")["packages"]
    (wheel,) = package["wheels"]
    url, sha256 = wheel["url"], wheel["hashes"]["sha256"]
    conda, mark, packages = lock.conda.partition("\npackages:\n")
    last = conda.rstrip().rpartition("\n")[2]
    indent = last[: len(last) - len(last.lstrip())]
    entry = f"- pypi: {url}\n  name: six\n  version: 1.16.0\n  sha256: {sha256}\n"
    return f"{conda}\n{indent}- pypi: {url}{mark}{packages.rstrip()}\n{entry}"
