"""Long operations, stopped in the middle and started again: nothing half done is taken for whole."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from projrun.disk import Home
from projrun.server.endpoint import Endpoint
from projrun.tracking import open_store
from tests.conftest import Projrun
from tests.support.chaos import MARK, processes_marked
from tests.support.conda_packages import Channel
from tests.support.flaky_proxy import Flaky, flaky_proxy
from tests.support.git_server import serving as serving_git
from tests.support.package_index import make_wheel, source_files

LOCAL = ("--env-manager", "local")
TIMEOUT_S = 60.0
FILES, RUNS = 20_000, 300
SHOWS = "entry_points: {main: {command: 'echo done'}}\n"


class Gate:
    """Hold an operation at a point: `arrived` is set when it is there, it goes on when `open` is set."""

    def __init__(self) -> None:
        self.arrived, self.open = threading.Event(), threading.Event()

    def pass_(self) -> None:
        self.arrived.set()
        self.open.wait(TIMEOUT_S)


class Case(NamedTuple):
    arguments: tuple[str | Path, ...]
    arrived: Callable[[], bool]
    """Whether what was started is in the middle."""
    again: Callable[[], object]
    """Before it is started anew; nothing has arrived then."""
    let: Callable[[], object]
    """It is held no longer."""
    shows: str = ""
    """What it says, on stdout or stderr, when it comes to its end."""


class Stage(NamedTuple):
    """The directories and fixtures that a case is made with."""

    place: Path
    home: Home
    projrun: Projrun
    monkeypatch: pytest.MonkeyPatch
    stack: ExitStack

    def project(self, **files: str) -> Path:
        directory = self.place / "project"
        for name, text in files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)
        return directory

    def ran(self, *arguments: str | Path) -> str:
        """The id of a run of `project`."""
        done = self.projrun("run", self.place / "project", *LOCAL, *arguments)
        assert done.returncode == 0, done.stderr
        run_id: str = json.loads(self.projrun("runs", "list", "--json").stdout)[0]["run_id"]
        return run_id


def at(gate: Gate, *arguments: str | Path, shows: str = "") -> Case:
    return Case(arguments, gate.arrived.is_set, gate.arrived.clear, gate.open.set, shows)


def at_file(place: Path, *arguments: str | Path, shows: str = "") -> Case:
    """Make a case of a program that writes PLACE.arrived and goes on when PLACE.held is gone."""
    arrived, held = place.with_suffix(".arrived"), place.with_suffix(".held")
    held.touch()
    return Case(arguments, arrived.exists, arrived.unlink, held.unlink, shows)


def waits_at(place: Path) -> str:
    """Python code of that program."""
    return (
        "import pathlib, time\n"
        f"pathlib.Path({str(place.with_suffix('.arrived'))!r}).touch()\n"
        f"while pathlib.Path({str(place.with_suffix('.held'))!r}).exists(): time.sleep(0.01)\n"
    )


@contextmanager
def slow_server(directory: Path, held: str) -> Iterator[tuple[str, Gate]]:
    """Files over HTTP; of those with `held` in their path the second half waits at the gate."""
    gate = Gate()

    class Handler(SimpleHTTPRequestHandler):
        def copyfile(self, source: Any, outputfile: Any) -> None:
            content = source.read()
            half = len(content) // 2
            with suppress(OSError):  # who asked may be gone
                outputfile.write(content[:half])
                if held in self.path:
                    gate.pass_()
                outputfile.write(content[half:])

        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Handler, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", gate
        gate.open.set()
        server.shutdown()


def shell_waits_at(place: Path) -> str:
    """The same for a shell, which has nothing to say when it is interrupted."""
    arrived, held = place.with_suffix(".arrived"), place.with_suffix(".held")
    return f"touch {arrived}; while test -e {held}; do sleep 0.01; done"


def fetch_from_git(stage: Stage) -> Case:
    gate = Gate()
    server = stage.stack.enter_context(serving_git(stage.place))
    upstream = server.upstream()
    upstream.commit(MLproject=SHOWS)
    server.on_request = gate.pass_
    stage.stack.callback(gate.open.set)
    return at(gate, "run", f"{server.url}/project.git", *LOCAL, shows="done\n")


def download_of_an_archive(stage: Stage) -> Case:
    import shutil

    packed = stage.place / "packed"
    shutil.make_archive(str(packed / "project"), "zip", stage.project(MLproject=SHOWS))
    url, gate = stage.stack.enter_context(slow_server(packed, "project.zip"))
    return at(gate, "run", f"{url}/project.zip", *LOCAL, shows="done\n")


def download_of_an_input(stage: Stage) -> Case:
    entry = "entry_points: {main: {parameters: {data: path}, command: 'wc -c < {data}'}}\n"
    project = stage.project(MLproject=entry)
    (stage.place / "data").mkdir()
    (stage.place / "data" / "numbers.bin").write_bytes(bytes(300_000))
    url, gate = stage.stack.enter_context(slow_server(stage.place / "data", "numbers"))
    return at(gate, "run", project, *LOCAL, "-P", f"data={url}/numbers.bin", shows="300000\n")


def resolving(stage: Stage) -> Case:
    make_wheel(stage.place / "index" / "tiny", "tiny")
    url, gate = stage.stack.enter_context(slow_server(stage.place / "index", "/tiny/"))
    stage.monkeypatch.setenv("UV_DEFAULT_INDEX", url)
    stage.monkeypatch.setenv("UV_CACHE_DIR", str(stage.place / "uv-cache"))
    project = stage.project(
        **{
            "MLproject": "python_env: env.yaml\n"
            "entry_points: {main: {command: 'python -c \"import tiny; print(tiny.V)\"'}}\n",
            "env.yaml": "dependencies: [tiny]\n",
        }
    )
    return at(gate, "run", project, shows="1.0\n")


def building(stage: Stage, manager: str) -> Case:
    """The package builds itself: its program is a process below the tool that installs."""
    package = source_files("slowly", code="V = 7\n")
    package["backend.py"] = waits_at(stage.place / "build") + package["backend.py"]
    project = stage.project(
        **{
            "MLproject": "python_env: env.yaml\n"
            "entry_points: {main: {command: 'python -c \"import slowly; print(slowly.V)\"'}}\n",
            "env.yaml": "dependencies: [./slowly]\n",
            **{f"slowly/{name}": text for name, text in package.items()},
        }
    )
    return at_file(stage.place / "build", "run", project, "--env-manager", manager, shows="7\n")


def build_with_uv(stage: Stage) -> Case:
    return building(stage, "uv")


def build_with_virtualenv(stage: Stage) -> Case:
    return building(stage, "virtualenv")


def build_with_conda(stage: Stage) -> Case:
    pytest.importorskip("rattler")
    channel = Channel(stage.place / "channel")
    channel.add("plain", "1.0", {"share/plain": b"7\n"}, noarch="generic")
    channel.index()
    url, gate = stage.stack.enter_context(slow_server(channel.directory, "plain-1.0"))
    stage.monkeypatch.setenv("CONDA_CHANNELS", url)
    stage.monkeypatch.setenv("RATTLER_CACHE_DIR", str(stage.place / "rattler"))
    project = stage.project(
        **{
            "MLproject": "conda_env: conda.yaml\n"
            "entry_points: {main: {command: 'cat $CONDA_PREFIX/share/plain'}}\n",
            "conda.yaml": "dependencies: [plain]\n",
        }
    )
    return at(gate, "run", project, "--env-manager", "conda", shows="7\n")


def doing_again(stage: Stage, *verb: str) -> Case:
    place = stage.place / "command"
    project = stage.project(
        MLproject=f"entry_points: {{main: {{command: '{shell_waits_at(place)}; echo 7 > result'}}}}\n"
    )
    run_id = stage.ran()
    (project / "result").unlink()
    place.with_suffix(".arrived").unlink()
    return at_file(place, verb[0], run_id, *verb[1:])


def verifying(stage: Stage) -> Case:
    return doing_again(stage, "verify", "--times", "2")._replace(shows="same")


def reproducing(stage: Stage) -> Case:
    return doing_again(stage, "reproduce")._replace(shows="FINISHED")


@contextmanager
def remote(stage: Stage) -> Iterator[Flaky]:
    """A team's tracking server, which MLFLOW_TRACKING_URI names."""
    team = Home(stage.place / "team-cache", stage.place / "team-data")
    with (
        closing(open_store(team)) as store,
        closing(Endpoint(store)) as endpoint,
        flaky_proxy(endpoint.url) as proxy,
    ):
        stage.monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", endpoint.token)
        stage.monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        stage.monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
        yield proxy


def held_by(proxy: Flaky, path: str) -> Gate:
    gate = Gate()
    proxy.on_request = lambda asked: gate.pass_() if path in asked else None
    return gate


def syncing(stage: Stage) -> Case:
    proxy = stage.stack.enter_context(remote(stage))
    place = stage.place / "command"
    project = stage.project(MLproject=f"entry_points: {{main: {{command: '{shell_waits_at(place)}'}}}}\n")
    place.with_suffix(".held").touch()
    argv = [sys.executable, "-m", "projrun", "run", str(project), *LOCAL]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as running:
        wait_until(place.with_suffix(".arrived").exists, running)
        proxy.is_away = True
        place.with_suffix(".held").unlink()
    proxy.is_away = False
    gate = held_by(proxy, "runs/update")
    stage.stack.callback(gate.open.set)
    return at(gate, "runs", "sync", shows="delivered run")


def exporting(stage: Stage) -> Case:
    proxy = stage.stack.enter_context(remote(stage))
    stage.project(MLproject=SHOWS)
    run_id = stage.ran()
    gate = held_by(proxy, "output.log")
    stage.stack.callback(gate.open.set)
    return at(gate, "runs", "export", run_id, stage.place / "exported", shows="wrote run")


def bundling(stage: Stage) -> Case:
    proxy = stage.stack.enter_context(remote(stage))
    stage.project(MLproject=SHOWS)
    run_id = stage.ran()
    gate = held_by(proxy, "output.log")
    stage.stack.callback(gate.open.set)
    return at(gate, "bundle", run_id, "-o", stage.place / "run.zip", shows="is in")


def importing(stage: Stage) -> Case:
    """There are so many runs that it takes longer than it takes to see that one has come."""
    place = stage.place / "mlruns" / "0"
    place.mkdir(parents=True)
    experiment = {"experiment_id": "0", "name": "Default", "lifecycle_stage": "active"}
    (place / "meta.yaml").write_text(json.dumps(experiment))
    for number in range(RUNS):
        run_id = f"{number:032x}"
        facts = {"run_id": run_id, "run_name": "old", "status": 3, "start_time": 1, "end_time": 2}
        (place / run_id).mkdir()
        (place / run_id / "meta.yaml").write_text(json.dumps({**experiment, **facts}))
    known = 0

    def come() -> int:
        if not stage.home.tracking_db.exists():
            return 0
        with closing(sqlite3.connect(stage.home.tracking_db)) as store, suppress(sqlite3.OperationalError):
            return int(store.execute("SELECT count(*) FROM runs").fetchone()[0])
        return 0

    def again() -> None:
        nonlocal known
        assert known < (known := come()) < RUNS

    return Case(
        ("runs", "import", place.parent),
        arrived=lambda: come() > known,
        again=again,
        let=lambda: None,
        shows="runs were there already",
    )


def pruning(stage: Stage, *verb: str) -> Case:
    """There is much to remove: it takes longer than it takes to see that it has begun."""
    stage.project(
        **{
            "MLproject": "python_env: env.yaml\nentry_points: {main: {command: 'true'}}\n",
            "env.yaml": "dependencies: []\n",
        }
    )
    assert stage.projrun("run", stage.place / "project").returncode == 0
    (ready,) = stage.home.environments.glob("*/*/.ready.json")
    many = ready.parent / "many"
    many.mkdir()

    def fill() -> None:
        many.mkdir(parents=True, exist_ok=True)
        for number in range(FILES):
            (many / str(number)).touch()

    def arrived() -> bool:
        return not many.exists() or len(os.listdir(many)) < FILES

    fill()
    return Case(verb, arrived, fill, lambda: None)


def pruning_environments(stage: Stage) -> Case:
    return pruning(stage, "env", "prune", "--unused")


def pruning_the_cache(stage: Stage) -> Case:
    return pruning(stage, "cache", "prune", "--older-than", "0s")


CASES: tuple[Callable[[Stage], Case], ...] = (
    fetch_from_git,
    download_of_an_archive,
    download_of_an_input,
    resolving,
    build_with_uv,
    build_with_virtualenv,
    build_with_conda,
    verifying,
    reproducing,
    syncing,
    exporting,
    bundling,
    importing,
    pruning_environments,
    pruning_the_cache,
)


@pytest.fixture
def stage(tmp_path: Path, home: Home, projrun: Projrun, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(tmp_path, home, projrun, monkeypatch, stack)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found through /proc")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_it_can_be_interrupted_and_taken_up_again(stage: Stage, case: Callable[[Stage], Case]) -> None:
    made = case(stage)
    interrupted(made, signal.SIGINT)
    made.again()
    interrupted(made, signal.SIGTERM)
    made.again()
    made.let()
    done = stage.projrun(*made.arguments)
    assert done.returncode == 0, done.stderr
    assert made.shows in done.stdout + done.stderr
    statuses = [run["status"] for run in json.loads(stage.projrun("runs", "list", "--json").stdout)]
    assert "RUNNING" not in statuses and "SCHEDULED" not in statuses and "FAILED" not in statuses
    assert not [*stage.home.cache.rglob(".*.tmp"), *stage.place.rglob(".*.tmp")]


def interrupted(case: Case, number: signal.Signals) -> None:
    """Start it, wait until it is in the middle, send the signal."""
    mark = f"{number.name}-{os.urandom(8).hex()}"
    argv = [sys.executable, "-m", "projrun", *map(str, case.arguments)]
    environ = {**os.environ, MARK: mark}
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env=environ, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as process:
        wait_until(case.arrived, process)
        process.send_signal(number)
        _, said = process.communicate()
    lines = said.decode().splitlines()
    assert process.returncode == 128 + number, said.decode()
    assert lines[-1] == "projrun: interrupted"
    assert not [line for line in lines if not line.startswith("projrun: ") and "Traceback" in line]
    assert not processes_marked(mark)


def wait_until(arrived: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not arrived():
        if process.poll() is not None:
            raise AssertionError(f"it came to its end: {process.communicate()}")
        assert time.monotonic() < deadline
        time.sleep(0.002)
