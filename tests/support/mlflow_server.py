"""A real `mlflow server` on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.support.mlflow_clients import ENVIRON

QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONDONTWRITEBYTECODE": ""}


@contextmanager
def mlflow_server(python: Path, directory: Path, port: int) -> Iterator[None]:
    """Its database and artifacts are in `directory`. Killed at the end; may be started there again."""
    place = ("--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./artifacts")
    options = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    with open(directory / "mlflow.log", "ab") as log:
        process = subprocess.Popen(
            [python, "-m", "mlflow", "server", *place, *options],
            cwd=directory,
            env={**ENVIRON, **QUIET},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        while not answers(port):
            assert process.poll() is None, (directory / "mlflow.log").read_text()[-2000:]
            time.sleep(0.05)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def answers(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
