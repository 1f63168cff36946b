"""Environments with the real clients that projrun is compared with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MLFLOW = "mlflow-skinny==3.17.*"


def python_with(directory: Path, *requirements: str, python: str = sys.executable) -> Path:
    """The interpreter of a new environment in `directory` that has these packages.

    Skips the test when they cannot be had; fails it where engines are promised to be there.
    """
    uv = (sys.executable, "-m", "uv")
    made = directory / "bin" / "python"
    install = (*uv, "pip", "install", "--quiet", "--python", str(made), *requirements)
    done = _run(*uv, "venv", "--quiet", "--python", python, str(directory))
    if done.returncode == 0:
        offline = _run(*install, "--offline")
        done = offline if offline.returncode == 0 else _run(*install)
    if done.returncode != 0:
        reason = f"{' '.join(requirements)} cannot be installed: {done.stderr.strip()[-300:]}"
        if os.environ.get("PROJRUN_TEST_ENGINES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return made


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)
