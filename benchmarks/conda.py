"""What a conda environment costs over rattler alone: `python -m benchmarks.conda [--runs N]`.

Compares, in one run and in turn, rattler alone (a process that solves and installs the same packages), a
build by projrun (solving, locking, checking, installing, the record) and a warm start. *cold*: the package
cache is empty; *warm*: the packages are in it. The channel is a directory on this machine, with the running
Python and a hundred packages of a few files. It needs `projrun[conda]`.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import in_turn, report
from projrun.environments import pythons
from tests import condachannel

PACKAGES = 100
MLPROJECT = "name: noop\nconda_env: environment.yml\nentry_points: {main: {command: 'true'}}\n"
RATTLER = """
import asyncio, os, pathlib, shutil, sys
from rattler import Channel, Gateway, VirtualPackage, install, solve
channel, cache, prefix, *specs = sys.argv[1:]
async def main():
    gateway = Gateway(cache_dir=pathlib.Path(cache, "repodata"))
    virtual = VirtualPackage.detect()
    records = await solve([Channel(channel)], specs, gateway=gateway, virtual_packages=virtual)
    await install(records, prefix, cache_dir=pathlib.Path(cache, "pkgs"), show_progress=False)
asyncio.run(main())
os._exit(0)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as temporary:
        print(measured(Path(temporary), runs))


def measured(temporary: Path, runs: int) -> str:
    channel = condachannel.Channel(temporary / "channel")
    condachannel.add_python(channel, pythons.choose("")[0])
    specs = ["python"]
    for number in range(PACKAGES):
        name = f"package{number}"
        files = {f"share/{name}/{part}.txt": f"{name} {part}\n".encode() * 100 for part in range(10)}
        channel.add(name, "1.0", files, noarch="generic")
        specs.append(name)
    channel.index()
    project = temporary / "project"
    project.mkdir()
    (project / "MLproject").write_text(MLPROJECT)
    listed = "".join(f"- {spec}\n" for spec in specs)
    (project / "environment.yml").write_text(f"channels: [{channel.url}]\ndependencies:\n{listed}")

    cache = temporary / "rattler"
    prefix = temporary / "prefix"
    rattler = [sys.executable, "-c", RATTLER, channel.url, str(cache), str(prefix), *specs]
    projrun = [str(Path(sys.executable).with_name("projrun")), "run", str(project)]
    commands = {
        "rattler alone, warm": _after(f"rm -rf {prefix}", rattler),
        "projrun builds, warm": _after(f"rm -rf {temporary}/cache", projrun),
        "projrun starts, environment ready": projrun,
        "rattler alone, cold": _after(f"rm -rf {prefix} {cache}", rattler),
        "projrun builds, cold": _after(f"rm -rf {temporary}/cache {cache}", projrun),
    }
    environ = {
        **os.environ,
        "PROJRUN_HOME": str(temporary / "data"),
        "PROJRUN_CACHE_DIR": str(temporary / "cache"),
        "RATTLER_CACHE_DIR": str(cache),
        "MLFLOW_TRACKING_URI": "",
    }
    timings = in_turn(commands, runs, environ, str(temporary))
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {runs} runs"
    return f"{machine}, {PACKAGES + 2} packages\n\n{report(timings)}"


def _after(preparation: str, command: list[str]) -> list[str]:
    return ["bash", "-c", f'{preparation}; exec "$@"', "bash", *command]


if __name__ == "__main__":
    main()
