"""Kill what runs at random moments, and see that nothing is left behind and nothing half is used.

`python -m tests.chaos --rounds 200 [--seed N]` does it for as long as you like; the suite does a few rounds.
Each round starts `projrun run` of a project in Git with a uv environment, often with an empty cache so that
fetching, resolving and building are met too, and kills the supervisor, one of its processes, or both.
"""

from __future__ import annotations

import argparse
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
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

MARK = "PROJRUN_CHAOS"
GONE_S = 15.0
"""How long processes may take to be gone on a machine under load; a second is usual."""
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
    """How many runs ended how. Raises AssertionError, with the round in it, when something is left behind."""
    uri = make_repository(root / "repository")
    environ = {**os.environ, "PROJRUN_HOME": str(root / "data"), MARK: str(root)}
    timing = {**environ, "PROJRUN_CACHE_DIR": str(root / "timing")}
    cold_s, warm_s = (_time_of_a_run(uri, timing) for _ in range(2))
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
    assert not _wait_until_gone(environ[MARK]), "processes are left after a whole run"
    listed = json.loads(_projrun(environ, "runs", "list", "-n", "10000", "--json").stdout)
    return dict(Counter(run["status"] for run in listed))


def _time_of_a_run(uri: str, environ: Mapping[str, str]) -> float:
    started = time.monotonic()
    done = _projrun(environ, "run", uri)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - started


def _round(uri: str, environ: Mapping[str, str], whom: str, delay_s: float, chance: random.Random) -> None:
    argv = [sys.executable, "-m", "projrun", "run", uri]
    with subprocess.Popen(
        argv, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as supervisor:
        time.sleep(delay_s)
        if whom != "supervisor":
            others = [pid for pid in _marked(environ[MARK]) if pid != supervisor.pid]
            if others:
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(others), signal.SIGKILL)
        if whom != "process":
            supervisor.kill()
        supervisor.wait(120)
    left = _wait_until_gone(environ[MARK])
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
    """What is marked as ready is whole, whoever was killed while it was made."""
    for mark in cache.glob("envs-v1/uv/*/.ready.json"):
        python = [str(mark.parent / "bin" / "python"), "-c", "import iniconfig"]
        done = subprocess.run(python, capture_output=True, text=True)
        assert done.returncode == 0, f"{mark.parent} is used and not whole: {done.stderr}"


def _projrun(environ: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "projrun", *arguments], env=environ, capture_output=True, text=True
    )


def _wait_until_gone(mark: str) -> list[int]:
    """The processes that are still there after `GONE_S`."""
    deadline = time.monotonic() + GONE_S
    while (left := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


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
    given = parser.parse_args()
    print(f"{given.rounds} rounds, seed {given.seed}")
    with tempfile.TemporaryDirectory() as directory:
        how = chaos(Path(directory), given.rounds, random.Random(given.seed))
    print(f"nothing was left behind; runs: {how}")


if __name__ == "__main__":
    main()
