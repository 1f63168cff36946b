"""Measure conda environments against rattler alone.

Rattler alone (a process that solves and installs the same packages), a build by projrun (solving, locking,
checking, installing, the record) and a warm start. *cold*: the package cache is empty; *warm*: the packages
are in it. The channel is a directory on this machine, with the running Python and a hundred small packages.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.measure import Bench, Measured, measured
from projrun.environments import interpreters
from tests.support import conda_packages

TITLE = "Conda environments"
RUNS = 5
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


def measure(bench: Bench) -> Measured:
    channel = conda_packages.Channel(bench.place / "channel")
    conda_packages.add_python(channel, interpreters.choose("")[0])
    specs = ["python"]
    for number in range(PACKAGES):
        name = f"package{number}"
        files = {f"share/{name}/{part}.txt": f"{name} {part}\n".encode() * 100 for part in range(10)}
        channel.add(name, "1.0", files, noarch="generic")
        specs.append(name)
    channel.index()
    project = bench.place / "project"
    project.mkdir()
    (project / "MLproject").write_text(MLPROJECT)
    listed = "".join(f"- {spec}\n" for spec in specs)
    (project / "environment.yml").write_text(f"channels: [{channel.url}]\ndependencies:\n{listed}")

    cache = bench.place / "rattler"
    prefix = bench.place / "prefix"
    rattler = [bench.python, "-c", RATTLER, channel.url, str(cache), str(prefix), *specs]
    projrun = [bench.projrun, "run", str(project)]
    commands = {
        "rattler alone, warm": _after(f"rm -rf {prefix}", rattler),
        "projrun builds, warm": _after(f"rm -rf {bench.place}/cache", projrun),
        "projrun starts, environment ready": projrun,
        "rattler alone, cold": _after(f"rm -rf {prefix} {cache}", rattler),
        "projrun builds, cold": _after(f"rm -rf {bench.place}/cache {cache}", projrun),
    }
    environ = {**bench.environ, "RATTLER_CACHE_DIR": str(cache)}
    return measured(replace(bench, environ=environ).in_turn(commands))


def _after(preparation: str, command: list[str]) -> list[str]:
    return ["bash", "-c", f'{preparation}; exec "$@"', "bash", *command]
