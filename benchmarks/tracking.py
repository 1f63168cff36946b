"""What a tracking server answers in a second: `python -m benchmarks.tracking [--seconds N] [--mlflow PATH]`.

Starts `projrun server` and, if it is installed, `mlflow server` (one worker, SQLite) in turn, and sends
the same requests to both, from one client and from four, each on a connection that is kept open.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

CLIENTS = (1, 4)
RUNS = 10_000


class Client:
    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.run_id = str(self.create_run()["run"]["info"]["run_id"])
        self._step = 0

    def post(self, path: str, content: object) -> dict[str, dict[str, dict[str, object]]]:
        body = json.dumps(content)
        self._connection.request(
            "POST", f"/api/2.0/mlflow/{path}", body, {"Content-Type": "application/json"}
        )
        answer = self._connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        decoded: dict[str, dict[str, dict[str, object]]] = json.loads(text)
        return decoded

    def create_run(self) -> dict[str, dict[str, dict[str, object]]]:
        return self.post("runs/create", {"experiment_id": "0", "start_time": 1})

    def log_metric(self) -> object:
        self._step += 1
        metric = {"key": "loss", "value": 0.5, "timestamp": 1, "step": self._step}
        return self.post("runs/log-metric", {"run_id": self.run_id, **metric})

    def log_batch(self) -> object:
        self._step += 1000
        steps = range(self._step, self._step + 1000)
        metrics = [{"key": "m", "value": 0.5, "timestamp": 1, "step": step} for step in steps]
        return self.post("runs/log-batch", {"run_id": self.run_id, "metrics": metrics})

    def search(self) -> object:
        wanted = {"experiment_ids": ["0"], "filter": "attributes.start_time > 0", "max_results": 100}
        return self.post("runs/search", wanted)


REQUESTS: dict[str, Callable[[Client], object]] = {
    "log_metric": Client.log_metric,
    "create_run": Client.create_run,
    "log_batch of 1,000 metrics": Client.log_batch,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each number")
    parser.add_argument("--runs", type=int, default=RUNS, help="among which is searched")
    parser.add_argument("--mlflow", default=shutil.which("mlflow"), help="path of the mlflow command")
    arguments = parser.parse_args()
    ours = [sys.executable, "-m", "projrun", "server", "--port"]
    results = {"projrun": measured(ours, arguments.seconds, arguments.runs)}
    if arguments.mlflow:
        theirs = [arguments.mlflow, "server", "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db"]
        results["mlflow"] = measured([*theirs, "--port"], arguments.seconds, arguments.runs)
    print(report(results))


def measured(command: Sequence[str], seconds: float, runs: int) -> dict[str, float]:
    """Answers a second, by what was asked."""
    found: dict[str, float] = {}
    with served(command) as (port, ready_s):
        found["starts a second (1 / time to be ready)"] = 1 / ready_s
        for name, request in REQUESTS.items():
            for clients in CLIENTS:
                found[f"{name}, {clients} client(s)"] = rate(port, request, clients, seconds)
        filler = Client(port)
        for _ in range(runs):
            filler.create_run()
        found[f"search for 100 of over {runs:,} runs"] = rate(port, Client.search, 1, seconds)
    return found


def rate(port: int, request: Callable[[Client], object], clients: int, seconds: float) -> float:
    count = 0
    started = time.perf_counter()

    def ask(client: Client) -> None:
        nonlocal count
        while time.perf_counter() < started + seconds:
            request(client)
            count += 1

    made = [Client(port) for _ in range(clients)]
    started = time.perf_counter()
    threads = [threading.Thread(target=ask, args=(client,)) for client in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count / (time.perf_counter() - started)


@contextmanager
def served(command: Sequence[str]) -> Iterator[tuple[int, float]]:
    """A server in a directory of its own: its port, and after how many seconds it answered."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, str(port)],
            cwd=directory,
            env={**os.environ, "PROJRUN_HOME": directory, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            while not is_ready(port):
                assert process.poll() is None, f"{command[0]} ended"
                time.sleep(0.02)
            yield port, time.perf_counter() - started
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def is_ready(port: int) -> bool:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
    except OSError:
        return False


def report(results: dict[str, dict[str, float]]) -> str:
    """A Markdown table: answers a second, and how many times mlflow's."""
    theirs = results.get("mlflow")
    lines = ["| a second | projrun | mlflow | times |", "| --- | ---: | ---: | ---: |"]
    for name, ours in results["projrun"].items():
        compared = f"{theirs[name]:.1f} | {ours / theirs[name]:.1f}" if theirs else " | "
        lines.append(f"| {name} | {ours:.1f} | {compared} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
