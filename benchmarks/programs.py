"""Install the measured programs as users do, and describe the machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure import Bench

ROOT = Path(__file__).parent.parent


def install_projrun(place: Path) -> str:
    """The projrun command of this tree in an environment of its own."""
    return _install(place, f"{ROOT}[conda]", "projrun")


def install_mlflow(place: Path) -> str:
    return _install(place, "mlflow", "mlflow")


def _install(place: Path, requirement: str, command: str) -> str:
    from uv import find_uv_bin

    uv = os.fspath(find_uv_bin())
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    for argv in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(place)],
        [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(place), requirement],
    ):
        subprocess.run(argv, check=True, env=environ)
    return str(place / "bin" / command)


def environ(place: Path) -> Mapping[str, str]:
    """The caller's environment, with a home of projrun's below `place`."""
    own = {
        "PROJRUN_HOME": str(place / "data"),
        "PROJRUN_CACHE_DIR": str(place / "cache"),
        "MLFLOW_TRACKING_URI": "",
        "NO_PROXY": "127.0.0.1",
    }
    left_out = {"PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"}
    return {**{name: value for name, value in os.environ.items() if name not in left_out}, **own}


def machine(bench: Bench) -> str:
    """For under a table: machine, how often, how busy it was, when, and versions."""
    versions = [f"Python {platform.python_version()}"]
    for argv in ([bench.projrun, "--version"], [bench.mlflow, "--version"], ["docker", "--version"]):
        if argv[0] and (version := _version(argv)):
            versions.append(version)
    model = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), "")
    place = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{f' ({model})' * bool(model)}"
    when = f"{bench.runs} runs, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}"
    return f"{place}; {when};\n{', '.join(versions)}."


def _version(argv: list[str]) -> str:
    try:
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return said.strip().replace(", version", "").split(", build")[0]


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return []
