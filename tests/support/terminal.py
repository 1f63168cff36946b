"""A real terminal of a given size, in tmux: what is typed, and what stands on the screen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE_S

DONE = "[done]"


def needs(*programs: str) -> None:
    """Skip the test without them; where engines must be there, fail."""
    for program in programs:
        if shutil.which(program) is None:
            if os.environ.get("PROJRUN_TEST_ENGINES") == "1":
                pytest.fail(f"{program} is not installed")
            pytest.skip(f"{program} is not installed")


def with_projrun(directory: Path) -> str:
    """PATH on which `projrun` is the one under test."""
    program = directory / "bin" / "projrun"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m projrun "$@"\n')
    program.chmod(0o755)
    return f"{program.parent}{os.pathsep}{os.environ['PATH']}"


class Terminal:
    """One window. Its server is its own, behind a socket in `directory`."""

    def __init__(
        self, directory: Path, columns: int, command: list[str], cwd: Path, environ: Mapping[str, str]
    ) -> None:
        # The path of a socket may be no longer than 100 characters
        self._socket = f"projrun-{os.getpid()}-{os.urandom(4).hex()}"
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self._environ = {**inherited, "TMUX_TMPDIR": str(directory), "LC_ALL": "C.UTF-8", **environ}
        size = ("-x", str(columns), "-y", "300")
        self._tmux("-f", os.devnull, "new-session", "-d", *size, "-c", str(cwd), *command)

    def screen(self) -> str:
        """Return the lines of the terminal, without blanks at their ends."""
        return self._tmux("capture-pane", "-p", "-t", "0").rstrip("\n")

    def press(self, *keys: str) -> None:
        """Text as it is, and names of keys such as Enter, Tab and C-c."""
        self._tmux("send-keys", "-t", "0", "--", *keys)

    def wait_for(self, seen: Callable[[str], bool]) -> str:
        """The screen as soon as it is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not seen(screen := self.screen()):
            assert time.monotonic() < deadline, screen
            time.sleep(0.05)
        return screen

    def close(self) -> None:
        self._tmux("kill-server", check=False)

    def _tmux(self, *arguments: str, check: bool = True) -> str:
        argv = ["tmux", "-L", self._socket, *arguments]
        done = subprocess.run(argv, env=self._environ, capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def terminal(
    columns: int, command: list[str], *, cwd: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    import tempfile

    needs("tmux")
    with tempfile.TemporaryDirectory(prefix="projrun-tmux-") as directory:
        opened = Terminal(Path(directory), columns, command, cwd, environ or {})
        try:
            yield opened
        finally:
            opened.close()


def shown(columns: int, line: str, *, cwd: Path, environ: Mapping[str, str]) -> list[str]:
    """The lines that a command of the shell leaves on a terminal."""
    command = ["sh", "-c", f"{line}; echo '{DONE}'; sleep 600"]
    with terminal(columns, command, cwd=cwd, environ=environ) as opened:
        return opened.wait_for(lambda screen: screen.endswith(DONE)).splitlines()[:-1]
