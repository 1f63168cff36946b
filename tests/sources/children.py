"""Other projrun processes, for tests of what they do to one another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import projrun

_FETCH = """
import sys
from projrun import sources
from projrun.disk import home_from
checkout = sources.fetch(sys.argv[1], sys.argv[2], home_from())
print(checkout.root, flush=True)
sys.stdin.read()
sources.release(checkout, home_from())
"""


def start_fetching(uri: str, version: str = "") -> subprocess.Popen[str]:
    """A process that fetches, prints the checkout's root, and releases it when its stdin is closed."""
    environ = {**os.environ, "PYTHONPATH": str(Path(projrun.__file__).parent.parent)}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", _FETCH, uri, version]
    return subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def first_line_of(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def kill(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()
