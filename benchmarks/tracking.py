"""What a tracking server answers in a second: `python -m benchmarks.tracking [--rounds N] [--mlflow PATH]`.

`projrun server` and, if it is there, `mlflow server` (one worker, SQLite) stand side by side. Each number is
measured on both in turn, several times, and the medians are shown: what disturbs the machine disturbs both.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from benchmarks.traffic import REQUESTS, create_runs, rate

CLIENTS = (1, 4)
RUNS = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=RUNS, help="among which is searched")
    parser.add_argument("--mlflow", default=shutil.which("mlflow"), help="path of the mlflow command")
    arguments = parser.parse_args()
    commands = {"projrun": [sys.executable, "-m", "projrun", "server", "--port"]}
    if arguments.mlflow:
        options = ("--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db", "--port")
        commands["mlflow"] = [arguments.mlflow, "server", *options]
    with ExitStack() as stack:
        print(table_head(list(commands)))
        ready: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.rounds - 1):
            for name, command in commands.items():
                with served(command) as server:
                    ready[name].append(server.ready_s)
        servers = {name: stack.enter_context(served(command)) for name, command in commands.items()}
        for name, server in servers.items():
            ready[name].append(server.ready_s)
        print(row("seconds until it is ready", ready, less_is_better=True))
        memory = {name: [server.megabytes()] for name, server in servers.items()}
        print(row("MB when it is ready", memory, less_is_better=True))

        def measured(name: str, request: str, clients: int) -> str:
            rates: dict[str, list[float]] = {each: [] for each in servers}
            for _ in range(arguments.rounds):
                for each, server in servers.items():
                    rates[each].append(rate(server.port, request, clients, arguments.seconds))
            return row(f"{name}, {clients} client{'s' * (clients > 1)}", rates)

        for request in ("log_metric", "create_run", "log_batch"):
            for clients in CLIENTS:
                print(measured(REQUESTS[request].name, request, clients), flush=True)
        for server in servers.values():
            create_runs(server.port, arguments.runs)
        print(measured(f"{REQUESTS['search'].name} of over {arguments.runs:,}", "search", 1))
        memory = {name: [server.megabytes()] for name, server in servers.items()}
        print(row("MB after all that", memory, less_is_better=True))


def table_head(names: Sequence[str]) -> str:
    return f"| answers a second | {' | '.join(names)} | times |\n| --- |{' ---: |' * (len(names) + 1)}"


def row(what: str, found: dict[str, list[float]], *, less_is_better: bool = False) -> str:
    medians = [statistics.median(values) for values in found.values()]
    cells = [f"{median:,.0f}" if median >= 10 else f"{median:.2g}" for median in medians]
    ours, theirs = medians[0], medians[-1]
    times = f"{theirs / ours if less_is_better else ours / theirs:.1f}" if len(medians) > 1 else ""
    return f"| {what} | {' | '.join(cells)} | {times} |"


class Server:
    def __init__(self, port: int, process: subprocess.Popen[bytes], ready_s: float) -> None:
        self.port, self.ready_s, self._process = port, ready_s, process

    def megabytes(self) -> float:
        """Memory of the server and the processes that it started; 0 where the system does not say."""
        pages = 0
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                _, _, fields = status.read_text().rpartition(") ")
                if int(fields.split()[2]) == self._process.pid:  # its process group
                    pages += int(status.with_name("statm").read_text().split()[1])
            except OSError:  # it ended meanwhile
                continue
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def served(command: Sequence[str]) -> Iterator[Server]:
    """A server in a directory of its own."""
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
                time.sleep(0.01)
            yield Server(port, process, time.perf_counter() - started)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def is_ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            return b" 200 " in connection.recv(100)
    except OSError:
        return False


if __name__ == "__main__":
    main()
