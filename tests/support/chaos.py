"""Kill what runs at random moments, and see that nothing is left behind and nothing half is used.

`python -m tests.support.chaos --rounds 200 [--seed N] [--image IMAGE]` does it for as long as you like;
the suite does a few rounds. Each round starts `projrun run` of a project in Git with a uv environment, often
with an empty cache so that fetching, resolving and building are met too, and kills the supervisor, one of its
processes, or both. Others do so while a tree is kept for its record, and with a container of that image.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from tests.support.waiting import eventually

Left = TypeVar("Left", int, str)
MARK = "PROJRUN_CHAOS"
FILES = {
    "MLproject": "python_env: env.yaml\nentry_points: {main: {command: 'python work.py'}}",
    "env.yaml": "dependencies: [iniconfig]",
    "work.py": (
        "import iniconfig, os, subprocess, sys, time\n"
        "if len(sys.argv) > 1: time.sleep(60)\n"
        "subprocess.Popen([sys.executable, 'work.py', 'daemon'], start_new_session=True)\n"
        "time.sleep(0.2)\n"
    ),
}


def make_repository(place: Path) -> str:
    place.mkdir()
    for name, text in FILES.items():
        (place / name).write_text(text)
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *arguments], cwd=place, check=True)
    return place.as_uri()


def chaos(root: Path, rounds: int, chance: random.Random) -> dict[str, int]:
    """Count runs by status. Raises AssertionError with the round when something is left behind."""
    uri = make_repository(root / "repository")
    environ = {**os.environ, "PROJRUN_HOME": str(root / "data"), MARK: str(root)}
    timing = {**environ, "PROJRUN_CACHE_DIR": str(root / "timing")}
    cold_s, warm_s = (_time_of_a_run(uri, environ=timing) for _ in range(2))
    cache = root / "cache-0"
    for number in range(rounds):
        if fresh := chance.random() < 0.5:
            cache = root / f"cache-{number}"
        environ["PROJRUN_CACHE_DIR"] = str(cache)
        whom = chance.choice(["supervisor", "process", "both"])
        delay_s = chance.uniform(0, cold_s if fresh else warm_s)
        try:
            _round(uri, environ, whom, delay_s, chance)
            _check_environments(cache)
        except AssertionError as error:
            raise AssertionError(f"round {number}, {whom} after {delay_s:.3f} s: {error}") from None
    done = _projrun(environ, "run", uri)
    assert done.returncode == 0, f"a run afterwards fails: {done.stderr}"
    assert not processes_marked(environ[MARK]), "processes are left after a whole run"
    listed = json.loads(_projrun(environ, "runs", "list", "-n", "10000", "--json").stdout)
    return dict(Counter(run["status"] for run in listed))


def chaos_of_sources(root: Path, rounds: int, chance: random.Random) -> None:
    """Kill the supervisor while it keeps a tree that nobody else has. Raises AssertionError.

    What is kept is whole, and a run of the same tree afterwards gives it back byte for byte.
    """
    data, cache, project = root / "data", root / "cache", root / "project"
    environ = {**os.environ, "PROJRUN_HOME": str(data), "PROJRUN_CACHE_DIR": str(cache), MARK: str(root)}
    project.mkdir()
    (project / "MLproject").write_text("entry_points: {main: {command: 'true'}}")
    run = (str(project), "--env-manager", "local")
    seconds = _time_of_a_run(*run, environ=environ)
    for number in range(rounds):
        content = chance.randbytes(5_000_000)
        (project / "data.bin").write_bytes(content)
        quiet = subprocess.DEVNULL
        argv = [sys.executable, "-m", "projrun", "run", *run]
        with subprocess.Popen(argv, env=environ, stdout=quiet, stderr=quiet) as supervisor:
            time.sleep(chance.uniform(0, seconds))
            supervisor.kill()
        kept = [*cache.glob("sources-v1/*.tar.gz"), *data.glob("artifacts/*/*/projrun/source.tar.gz")]
        whole = {file.name.partition(".")[0] for file in kept if file.parent.name == "sources-v1"}
        digests = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in kept}
        assert set(digests.values()) <= whole, f"round {number}: {digests}"
        assert _projrun(environ, "run", *run).returncode == 0
        newest = json.loads(_projrun(environ, "runs", "list", "-n", "1", "--json").stdout)[0]["run_id"]
        back = root / f"back-{number}"
        done = _projrun(environ, "runs", "source", newest, "-o", str(back))
        assert done.returncode == 0, f"round {number}: {done.stderr}"
        assert (back / "data.bin").read_bytes() == content, f"round {number}: the tree came back otherwise"
    listed = json.loads(_projrun(environ, "runs", "list", "-n", "10000", "--json").stdout)
    assert {one["status"] for one in listed} <= {"FINISHED", "FAILED"}


def chaos_of_containers(root: Path, image: str, rounds: int, chance: random.Random) -> None:
    """Kill the supervisor, its container, or both. Raises AssertionError."""
    environ = {**os.environ, "PROJRUN_HOME": str(root / "data"), MARK: str(root)}
    environ["PROJRUN_CACHE_DIR"] = str(root / "cache")
    project = root / "in-a-container"
    project.mkdir()
    (project / "MLproject").write_text(
        f"docker_env: {{image: '{image}'}}\nentry_points: {{main: {{command: '(sleep 300 &) ; sleep 0.3'}}}}"
    )
    seconds = _time_of_a_run(str(project), environ=environ)
    for number in range(rounds):
        whom = chance.choice(["supervisor", "process", "both"])
        delay_s = chance.uniform(0, seconds)
        try:
            _round(str(project), environ, whom, delay_s, chance, kill=_kill_a_container)
            listed = json.loads(_projrun(environ, "runs", "list", "-n", "10000", "--json").stdout)
            left = _wait_until_gone(partial(_containers, {run["run_id"] for run in listed}))
            assert not left, f"containers are left: {left}"
        except AssertionError as error:
            raise AssertionError(f"round {number}, {whom} after {delay_s:.3f} s: {error}") from None


def _containers(run_ids: Collection[str]) -> list[str]:
    """Return the ids of the containers of these runs."""
    label = '{{.ID}} {{.Label "projrun.run"}}'
    argv = ["docker", "ps", "--all", "--no-trunc", "--filter", "label=projrun.run", "--format", label]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split()[0] for line in listed if line.split()[-1] in run_ids]


def _kill_a_container(environ: Mapping[str, str], _supervisor: int, _chance: random.Random) -> None:
    with closing(sqlite3.connect(Path(environ["PROJRUN_HOME"], "tracking.db"))) as database:
        run_ids = {run_id for (run_id,) in database.execute("SELECT run_id FROM runs")}
    for container in _containers(run_ids):
        subprocess.run(["docker", "kill", container], capture_output=True)


def _kill_a_process(environ: Mapping[str, str], supervisor: int, chance: random.Random) -> None:
    others = [pid for pid in _marked(environ[MARK]) if pid != supervisor]
    if others:
        with suppress(ProcessLookupError):
            os.kill(chance.choice(others), signal.SIGKILL)


def _time_of_a_run(*arguments: str, environ: Mapping[str, str]) -> float:
    started = time.monotonic()
    done = _projrun(environ, "run", *arguments)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - started


def _round(
    uri: str,
    environ: Mapping[str, str],
    whom: str,
    delay_s: float,
    chance: random.Random,
    kill: Callable[[Mapping[str, str], int, random.Random], None] = _kill_a_process,
) -> None:
    argv = [sys.executable, "-m", "projrun", "run", uri]
    with subprocess.Popen(
        argv, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as supervisor:
        time.sleep(delay_s)
        if whom != "supervisor":
            kill(environ, supervisor.pid, chance)
        if whom != "process":
            supervisor.kill()
        supervisor.wait(120)
    left = processes_marked(environ[MARK])
    assert not left, f"processes are left: {left}"
    listed = _projrun(environ, "runs", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    statuses = {run["status"] for run in json.loads(listed.stdout)}
    assert statuses <= {"FINISHED", "FAILED", "KILLED"}, statuses
    with closing(sqlite3.connect(Path(environ["PROJRUN_HOME"], "tracking.db"))) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    supervisors = [file.name for file in Path(environ["PROJRUN_HOME"], "supervisors").iterdir()]
    assert all(name.endswith(".tmp") for name in supervisors), f"lost supervisors: {supervisors}"


def _check_environments(cache: Path) -> None:
    """Check that every environment marked as ready is complete."""
    for mark in cache.glob("envs-v1/uv/*/.ready.json"):
        python = [str(mark.parent / "bin" / "python"), "-c", "import iniconfig"]
        done = subprocess.run(python, capture_output=True, text=True)
        assert done.returncode == 0, f"{mark.parent} is used and not whole: {done.stderr}"


def _projrun(environ: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "projrun", *arguments], env=environ, capture_output=True, text=True
    )


def _wait_until_gone(look: Callable[[], list[Left]]) -> list[Left]:
    """Return what `look` still finds when the time is over."""
    return [] if eventually(lambda: not look()) else look()


def processes_marked(mark: str) -> list[int]:
    """Return the processes with the mark that have not ended, after they had time to."""
    return _wait_until_gone(lambda: _marked(mark))


def _marked(mark: str) -> list[int]:
    """Processes that have the mark in their environment, which is what a round started."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--image", help="Also kill containers of this image, which has a bash.")
    given = parser.parse_args()
    print(f"{given.rounds} rounds, seed {given.seed}")
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name in ("runs", "sources", "containers"):
            (root / name).mkdir()
        how = chaos(root / "runs", given.rounds, chance)
        chaos_of_sources(root / "sources", given.rounds, chance)
        if given.image:
            chaos_of_containers(root / "containers", given.image, given.rounds, chance)
    print(f"nothing was left behind; runs: {how}")


if __name__ == "__main__":
    main()
