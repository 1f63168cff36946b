"""Checks of the programs and services that projrun works with, and the next step for each that fails."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal

import msgspec

from projrun import tracking
from projrun.console import one_line
from projrun.disk import Home
from projrun.errors import ProjrunError
from projrun.net import without_credentials
from projrun.processes.cgroups import command_in_cgroup, new_cgroup
from projrun.processes.programs import run_program

ENOUGH_BYTES = 2_000_000_000


class Check(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    state: Literal["ok", "missing", "broken"]  # missing: not there, and only some projects need it
    detail: str
    hint: str = ""  # what to do, when it is not ok


def examine(home: Home) -> list[Check]:
    """Look at each thing. Starts processes and asks the package index; changes nothing that is not ours."""
    checks: tuple[Callable[[Home], Check], ...] = (
        _git,
        _uv,
        _pythons,
        _docker,
        _conda,
        _cgroups,
        _store,
        _cache,
        _network,
    )
    return [check(home) for check in checks]


def _git(_home: Home) -> Check:
    return _program("git", ["git", "--version"], "install git", needed=True)


def _uv(_home: Home) -> Check:
    from uv import find_uv_bin

    try:
        program = find_uv_bin()
    except FileNotFoundError:
        return Check(
            name="uv", state="broken", detail="its program is not there", hint="reinstall projrun with pip"
        )
    return _program("uv", [program, "--version"], "reinstall projrun with pip", needed=True)


def _pythons(_home: Home) -> Check:
    from projrun.environments.interpreters import installed

    versions = sorted({python.version_text for python in installed()}, key=_as_numbers, reverse=True)
    own = ".".join(str(part) for part in sys.version_info[:3])
    return Check(name="Pythons", state="ok", detail=", ".join(versions or [own]))


def _docker(home: Home) -> Check:
    if shutil.which("docker") is None:
        return Check(
            name="docker",
            state="missing",
            detail="there is no docker",
            hint="install it to run projects with docker_env",
        )
    from projrun.environments.shelf import remove_abandoned_builds

    remove_abandoned_builds(home)
    answer = ["docker", "version", "--format", "{{.Server.Version}}"]
    return _program("docker", answer, "start its engine, and see that you may use it", needed=False)


def _conda(_home: Home) -> Check:
    for name in ("conda", "mamba", "micromamba"):
        if shutil.which(name):
            return _program("conda", [name, "--version"], f"mend {name}", needed=False)
    return Check(
        name="conda",
        state="missing",
        detail="there is no conda, mamba or micromamba",
        hint="only projects that call it themselves need it",
    )


def _cgroups(_home: Home) -> Check:
    """Put a process into one, and see that it is there."""
    if (cgroup := new_cgroup()) is not None:
        look = "while read -r line; do echo $line; done </proc/self/cgroup"
        output = run_program(command_in_cgroup(cgroup.path, ["/bin/sh", "-c", look], os.environ)).stdout
        cgroup.end()
        if cgroup.path.name in output:
            detail = f"each run has its own in {cgroup.path.parent}"
            return Check(name="cgroups", state="ok", detail=detail)
    return Check(
        name="cgroups",
        state="missing",
        detail="none of version 2 can be made here",
        hint="daemons that drop their environment may outlive a run; on Linux with systemd, start with:"
        " systemd-run --user --scope projrun run …",
    )


def _store(home: Home) -> Check:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    address = without_credentials(uri) or str(home.data)
    try:
        with closing(tracking.open_store(home, uri)) as store:
            store.search_experiments(max_results=1)
    except ProjrunError as error:
        return Check(name="store", state="broken", detail=one_line(error.message), hint=error.hint)
    return Check(name="store", state="ok", detail=address)


def _cache(home: Home) -> Check:
    try:
        home.mark_cache()
        probe = home.cache / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
        free = shutil.disk_usage(home.cache).free
    except OSError as error:
        return Check(
            name="disk",
            state="broken",
            detail=f"{home.cache}: {error.strerror}",
            hint="mend its rights, or name another directory in PROJRUN_CACHE_DIR",
        )
    detail = f"{free / 1e9:.1f} GB free in {home.cache}"
    if free < ENOUGH_BYTES:
        return Check(name="disk", state="broken", detail=detail, hint="make room: environments need it")
    return Check(name="disk", state="ok", detail=detail)


def _network(_home: Home) -> Check:
    """Ask the package index, with uv as environments use it: it knows proxies, certificates, credentials."""
    from projrun.disk.file_operations import temporary_directory
    from projrun.environments.uv.program import uv_binary, uv_environ

    with temporary_directory() as temporary:
        requirements = temporary / "requirements.txt"
        requirements.write_text("iniconfig\n")
        options = ["--quiet", "--no-cache", "--no-deps", "--python", sys.executable]
        try:
            with uv_environ() as environ:
                answer = run_program(
                    [uv_binary(), "pip", "compile", *options, str(requirements)], environ=environ
                )
        except ProjrunError as error:
            return Check(name="network", state="broken", detail=one_line(str(error)), hint="see uv")
    if answer.ok:
        return Check(name="network", state="ok", detail="the package index answers")
    return Check(
        name="network",
        state="broken",
        detail=one_line(without_credentials(answer.stderr), 200) or "the package index does not answer",
        hint="see the network, or name an index in UV_DEFAULT_INDEX; what is built already runs without",
    )


def _program(name: str, argv: list[str], hint: str, *, needed: bool) -> Check:
    bad: Literal["broken", "missing"] = "broken" if needed else "missing"
    try:
        answer = run_program(argv)
    except ProjrunError as error:
        return Check(name=name, state=bad, detail=one_line(error.message), hint=hint)
    if not answer.ok:
        return Check(name=name, state="broken", detail=one_line(answer.stderr, 200), hint=hint)
    version = one_line(answer.stdout).removeprefix(f"{Path(argv[0]).name} ")
    return Check(name=name, state="ok", detail=version)


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
