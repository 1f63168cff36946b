"""Building under bad conditions: many at once, killed, a full disk, no network; packages are made here."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.disk.file_operations import remove_tree
from projrun.environments.contents import altered, mismatch
from projrun.environments.environment_store import READY, Provided, provide, read
from projrun.errors import BuildError
from projrun.plan import Descriptor
from tests.support.chaos import MARK, processes_marked
from tests.support.repository import ROOT

MANY = 40
KILLS = 12
NAMES = tuple(f"tiny{number}" for number in range(12))
TINY = Descriptor(kind="python_env", dependencies=tuple(f"{name}==1.0" for name in NAMES))
BUILD = """
import os, sys
from pathlib import Path
from projrun.disk import home_from
from projrun.environments.environment_store import provide
from tests.environments.test_shelf import TINY
directory, count = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
children = []
for number in range(count):
    child = os.fork()
    if child:
        children.append(child)
        continue
    code = 1
    try:
        os.dup2(os.open(directory / f"{number}.err", os.O_CREAT | os.O_WRONLY), 2)
        with provide("uv", TINY, directory, home_from(), directory / f"{number}.log") as provided:
            (directory / f"{number}.key").write_text(provided.environment.key)
        code = 0
    finally:
        os._exit(code)
if not count:
    with provide("uv", TINY, directory, home_from(), directory / "killed.log"):
        pass
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


def make_wheel(directory: Path, name: str, size: int = 0) -> None:
    """A wheel of one module; size: bytes of data in it."""
    files = {f"{name}.py": b"VALUE = 1\n", f"{name}_data.bin": bytes(size)}
    info = f"{name}-1.0.dist-info"
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    rows = []
    for file, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{file},sha256={digest},{len(content)}\n")
    files[f"{info}/RECORD"] = ("".join(rows) + f"{info}/RECORD,,\n").encode()
    directory.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(directory / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for file, content in files.items():
            wheel.writestr(file, content)


@pytest.fixture
def requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """An index on loopback with our packages, a package cache that is cold, and what the index was asked."""
    for name in NAMES:
        make_wheel(tmp_path / "index" / name, name)
    make_wheel(tmp_path / "index" / "large", "large", size=4_000_000)
    asked: list[str] = []

    class Index(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "index"))  # type: ignore[arg-type]

        def log_request(self, *_: object) -> None:
            asked.append(self.path)

    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{server.server_port}")
        yield asked
        server.shutdown()


def provided(home: Home, directory: Path, descriptor: Descriptor = TINY) -> Provided:
    with provide("uv", descriptor, directory, home, directory / "environment.log") as environment:
        return environment


def start(directory: Path, count: int) -> subprocess.Popen[bytes]:
    """A process that builds, or `count` children of it; it has imported all that it needs."""
    root = ROOT
    command = [sys.executable, "-c", BUILD, str(directory), str(count)]
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=root, stdout=pipe, stderr=null, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def assert_no_half_environment_is_ready(home: Home, environment: Provided) -> None:
    for mark in home.environments.glob(f"*/*/{READY}"):
        ready = read(mark.parent)
        assert ready is not None
        assert mismatch(environment.lock, ready.environment.packages, True) == ""
        assert altered(mark.parent) == []


def test_forty_processes_build_one_environment_once(requests: list[str], tmp_path: Path) -> None:
    with start(tmp_path, MANY) as process:
        assert process.wait(timeout=600) == 0
    keys = {file.read_text() for file in tmp_path.glob("*.key")}
    said = "".join(file.read_text() for file in tmp_path.glob("*.err"))
    assert len(list(tmp_path.glob("*.key"))) == MANY
    assert len(keys) == 1
    assert said.count("building the uv environment") == 1
    assert said.count("resolving the environment") == 1


def test_killed_at_any_moment_leaves_no_half_environment(
    requests: list[str], home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = provided(home, tmp_path)
    place = home.environments / "uv" / whole.environment.key
    chance = random.Random(7)
    monkeypatch.setenv(MARK, str(tmp_path))
    for attempt in range(KILLS):
        remove_tree(place / READY)  # half an environment, or one that lacks its mark alone
        if attempt % 3:
            remove_tree(place)
        with start(tmp_path, 0) as process:
            time.sleep(chance.uniform(0, 0.25))
            os.killpg(process.pid, signal.SIGKILL) if attempt % 2 else process.kill()
        assert_no_half_environment_is_ready(home, whole)
    assert not processes_marked(str(tmp_path)), "what the killed ones had started goes on"
    assert provided(home, tmp_path).environment == whole.environment
    assert altered(place) == []
    assert {path.name for path in place.parent.iterdir()} == {place.name, f"{place.name}.lock"}


def test_a_tree_that_is_still_written_to_is_removed(tmp_path: Path) -> None:
    """Children of a killed process may go on writing to its tree."""
    tree = tmp_path / "tree"
    tree.mkdir()
    script = (
        "import itertools, sys, time\n"
        "end = time.monotonic() + 0.5\n"
        "for number in itertools.count():\n"
        "    open(f'{sys.argv[1]}/{number}', 'w').close()\n"
        "    if number == 100: print('writes', flush=True)\n"
        "    if time.monotonic() > end and number > 100: break\n"
    )
    argv = [sys.executable, "-c", script, str(tree)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"writes\n"
        remove_tree(tree)
        assert not tree.exists()


def test_a_warm_package_cache_asks_no_network(requests: list[str], home: Home, tmp_path: Path) -> None:
    first = provided(home, tmp_path)
    assert requests
    remove_tree(home.environments)
    requests.clear()
    assert provided(home, tmp_path).environment == first.environment
    assert requests == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
@pytest.mark.parametrize(("size", "where"), [("1500k", "while installing"), ("4096", "while locking")])
def test_a_full_disk_leaves_nothing_and_says_so(
    size: str, where: str, requests: list[str], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let us mount a disk")
    try:
        home = Home(disk / "cache", disk / "data")
        descriptor = Descriptor(kind="python_env", dependencies=("large",))
        with pytest.raises(BuildError, match="free some space"):
            provided(home, tmp_path, descriptor)
        assert not list(home.environments.rglob(READY))
        assert [path for path in home.environments.glob("*/*") if path.is_dir()] == []
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_package_that_does_not_build_leaves_nothing_and_its_words_are_told(
    requests: list[str], home: Home, tmp_path: Path
) -> None:
    source = tmp_path / "broken"
    source.mkdir()
    (source / "pyproject.toml").write_text(
        '[project]\nname = "broken"\nversion = "1"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (source / "backend.py").write_text(
        "def build_wheel(*a, **k):\n    raise SystemExit('libfoo.h is missing')\n"
    )
    descriptor = Descriptor(kind="python_env", dependencies=("./broken",))
    with pytest.raises(BuildError, match=r"libfoo\.h is missing") as caught:
        provided(home, tmp_path, descriptor)
    assert "\n" not in str(caught.value)
    assert [path for path in home.environments.glob("*/*") if path.is_dir()] == []


def test_changed_while_another_process_uses_it_is_built_beside_it(
    requests: list[str], home: Home, tmp_path: Path
) -> None:
    script = BUILD.replace("        pass", "        print('using', flush=True); sys.stdin.read()")
    command = [sys.executable, "-c", script, str(tmp_path), "0"]
    pipe, root = subprocess.PIPE, ROOT
    with subprocess.Popen(command, cwd=root, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as user:
        assert user.stdout is not None
        assert user.stdout.readline() + user.stdout.readline() == b"ready\nusing\n"
        (place,) = (mark.parent for mark in home.environments.glob(f"*/*/{READY}"))
        (module,) = place.glob("lib/python*/site-packages/tiny3.py")
        module.unlink()
        assert provided(home, tmp_path).environment.key == f"{place.name}-2"
        assert not module.exists()
        user.communicate()
    assert user.returncode == 0
    assert provided(home, tmp_path).environment.key == re.sub("-2$", "", place.name)
    assert module.exists()
