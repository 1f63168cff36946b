"""Clients of a tracking server that cost little: ready-made requests on connections that stay open."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from typing import Any, NamedTuple

HEAD = "POST /api/2.0/mlflow/{} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n"


class Client:
    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.run_id = str(json.loads(self.create_run())["run"]["info"]["run_id"])
        self.step = 0

    def post(self, path: str, body: str) -> bytes:
        head = f"{HEAD.format(path, self._port)}Content-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(f"{head}{body}".encode())
        answer = bytearray()
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._received()
        status, *headers = answer[:end].decode().lower().split("\r\n")
        length = next(int(line.partition(":")[2]) for line in headers if line.startswith("content-length:"))
        while len(answer) < end + 4 + length:
            answer += self._received()
        assert " 200" in status, answer
        return bytes(answer[end + 4 :])

    def create_run(self) -> bytes:
        return self.post("runs/create", '{"experiment_id":"0","start_time":1}')

    def log_metric(self) -> bytes:
        self.step += 1
        return self.post("runs/log-metric", f'{{"run_id":"{self.run_id}",{METRIC % self.step}}}')

    def log_batch(self) -> bytes:
        self.step += 1
        return self.post("runs/log-batch", BATCH.replace("RUN", self.run_id).replace("STEP", str(self.step)))

    def search(self) -> bytes:
        wanted = '{"experiment_ids":["0"],"filter":"attributes.start_time > 0","max_results":100}'
        return self.post("runs/search", wanted)

    def _received(self) -> bytes:
        part = self._socket.recv(1 << 20)
        assert part, "the server closed the connection"
        return part


METRIC = '"key":"loss","value":0.5,"timestamp":1,"step":%d'
METRICS = [f'{{"key":"m","value":0.5,"timestamp":1,"step":STEP{number:03}}}' for number in range(1000)]
BATCH = '{"run_id":"RUN","metrics":[' + ",".join(METRICS) + "]}"


class Request(NamedTuple):
    name: str
    send: Callable[[Client], Any]


REQUESTS = {
    "log_metric": Request("log_metric", Client.log_metric),
    "create_run": Request("create_run", Client.create_run),
    "log_batch": Request("log_batch of 1,000 metrics", Client.log_batch),
    "search": Request("search for 100 runs", Client.search),
}


def rate(port: int, request: str, clients: int, seconds: float) -> float:
    """Answers a second. Each client is a process of its own."""
    context = get_context("spawn")
    start, counts = context.Barrier(clients), context.Queue()
    arguments = (port, request, seconds, start, counts)
    processes = [context.Process(target=_ask, args=arguments) for _ in range(clients)]
    for process in processes:
        process.start()
    found: list[float] = [counts.get() for _ in processes]
    for process in processes:
        process.join()
    return sum(found)


def create_runs(port: int, count: int) -> None:
    client = Client(port)
    for _ in range(count):
        client.create_run()


def _ask(port: int, request: str, seconds: float, start: Barrier, counts: Any) -> None:
    client, send, count = Client(port), REQUESTS[request].send, 0
    start.wait()
    started = time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        send(client)
        count += 1
    counts.put(count / passed)
