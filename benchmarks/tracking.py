"""Measure the answers per second of `projrun server` and `mlflow server` (one worker, SQLite).

Each number is measured on both in turn, several times: what disturbs the machine disturbs both.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from benchmarks.measure import Bar, Bench, Measured
from benchmarks.traffic import REQUESTS, create_runs, rate

TITLE = "Tracking"
RUNS = 5
CLIENTS = (1, 4)
SECONDS = 1.0
"""Of each round."""
RUNS_TO_SEARCH = 10_000


def measure(bench: Bench) -> Measured:
    commands = {"projrun": [bench.projrun, "server", "--port"]}
    if bench.mlflow:
        options = ("--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db", "--port")
        commands["mlflow"] = [bench.mlflow, "server", *options]
    rows = Rows(list(commands))
    with ExitStack() as stack:
        ready: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(bench.runs - 1):
            for name, command in commands.items():
                with served(command, bench.environ) as server:
                    ready[name].append(server.ready_s)
        servers = {
            name: stack.enter_context(served(command, bench.environ)) for name, command in commands.items()
        }
        for name, server in servers.items():
            ready[name].append(server.ready_s)
        rows.add("seconds until it is ready", ready, less_is_better=True)
        memory = {name: [server.megabytes()] for name, server in servers.items()}
        rows.add("MB when it is ready", memory, less_is_better=True)

        def compared(name: str, request: str, clients: int) -> None:
            rates: dict[str, list[float]] = {each: [] for each in servers}
            for _ in range(bench.runs):
                for each, server in servers.items():
                    rates[each].append(rate(server.port, request, clients, SECONDS))
            rows.add(f"{name}, {clients} client{'s' * (clients > 1)}", rates)

        for request in ("log_metric", "create_run", "log_batch"):
            for clients in CLIENTS:
                compared(REQUESTS[request].name, request, clients)
        for server in servers.values():
            create_runs(server.port, RUNS_TO_SEARCH)
        compared(f"{REQUESTS['search'].name} of over {RUNS_TO_SEARCH:,}", "search", 1)
        memory = {name: [server.megabytes()] for name, server in servers.items()}
        rows.add("MB after all that", memory, less_is_better=True)
    return rows.measured()


class Rows:
    """The table as it grows: medians of each server, and how many times the first is better than the last."""

    def __init__(self, names: Sequence[str]) -> None:
        self._lines = [
            f"| answers a second | {' | '.join(names)} | times (min–max) |",
            f"| --- |{' ---: |' * (len(names) + 1)}",
        ]
        self._bars: list[Bar] = []

    def add(self, what: str, found: dict[str, list[float]], *, less_is_better: bool = False) -> None:
        medians = [statistics.median(values) for values in found.values()]
        cells = [f"{median:,.0f}" if median >= 10 else f"{median:.2g}" for median in medians]
        times = ""
        if len(found) > 1:
            ours, theirs = list(found.values())
            better, worse = (theirs, ours) if less_is_better else (ours, theirs)
            pairs = [high / low for high, low in zip(better, worse, strict=True)]
            bar = Bar(what, statistics.median(better) / statistics.median(worse), min(pairs), max(pairs))
            self._bars.append(bar)
            times = f"{bar.ratio:.1f} ({bar.low:.1f}–{bar.high:.1f})"
        self._lines.append(f"| {what} | {' | '.join(cells)} | {times} |")

    def measured(self) -> Measured:
        return Measured("\n".join(self._lines), tuple(self._bars), "mlflow server")


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
def served(command: Sequence[str], environ: Mapping[str, str]) -> Iterator[Server]:
    """A server in a directory of its own."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, str(port)],
            cwd=directory,
            env={**environ, "PROJRUN_HOME": directory, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
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
