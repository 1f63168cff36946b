"""Test that a build shows its progress on a terminal, and nothing of it in a pipe."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Projrun
from tests.environments.test_shelf import make_wheel

SIZE = 4_000_000
PATIENCE_S = 20


@pytest.fixture
def shown() -> threading.Event:
    """Set when the terminal has shown how far the download is."""
    return threading.Event()


@pytest.fixture
def project(
    shown: threading.Event, tmp_path: Path, make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """It wants a package of which the second half comes when somebody has seen the first."""
    make_wheel(tmp_path / "index" / "large", "large", size=SIZE)

    class Index(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "index"))  # type: ignore[arg-type]

        def copyfile(self, source: object, outputfile: object) -> None:
            content = source.read()  # type: ignore[attr-defined]
            half = len(content) // 2 if len(content) > SIZE else len(content)
            self.wfile.write(content[:half])
            sent, end = half, time.monotonic() + PATIENCE_S
            # uv draws at most so often, and only when bytes come: one at a time lets it draw the half
            while sent < len(content) and not shown.wait(0.1) and time.monotonic() < end:
                self.wfile.write(content[sent : sent + 1])
                sent += 1
            self.wfile.write(content[sent:])

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip-cache"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{server.server_port}")
        yield make_project(
            MLproject="python_env: python_env.yaml\nentry_points: {main: {command: 'true'}}\n",
            **{"python_env.yaml": "dependencies: [large]\n"},
        )
        shown.set()
        server.shutdown()


@pytest.mark.parametrize(("manager", "bar"), [("uv", b" MiB/3.8"), ("virtualenv", b"/4.0 MB")])
def test_progress_is_shown_on_a_terminal_while_it_goes_on(
    manager: str, bar: bytes, project: Path, shown: threading.Event, projrun: Projrun, tmp_path: Path
) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        command = [sys.executable, "-m", "projrun", "run", str(project), "--env-manager", manager]
        os.execve(sys.executable, command, {**os.environ, "TERM": "xterm"})
    output = b""
    while chunk := read_from(terminal):
        output += chunk
        if b"1.9" in output and b" MiB/3.8" in output:
            shown.set()
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, output[-2000:]
    assert shown.is_set()
    assert b"Resolving dependencies" in output
    assert bar in output
    (run,) = json.loads(projrun("runs", "list", "--json").stdout)
    projrun("runs", "artifacts", run["run_id"], "projrun/environment.log", "--download", tmp_path / "kept")
    (log,) = (tmp_path / "kept").rglob("environment.log")
    assert "large" in log.read_text()
    assert not set(log.read_bytes()) & {0x1B, 0x0D}, "what a terminal overwrote is not kept"


def read_from(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # its last holder closed it
        return b""


@pytest.mark.parametrize("manager", ["uv", "virtualenv"])
def test_a_pipe_gets_the_words_of_projrun_alone(
    manager: str, project: Path, shown: threading.Event, projrun: Projrun
) -> None:
    shown.set()
    done = subprocess.run(
        [sys.executable, "-m", "projrun", "run", str(project), "--env-manager", manager],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert all(line.startswith("projrun: ") for line in done.stderr.splitlines()), done.stderr
    assert "\x1b" not in done.stderr
