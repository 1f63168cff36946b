"""projrun doctor: check the programs and services that projrun works with."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal

import click
import msgspec

from projrun.cli.verbs import Verb, json_option
from projrun.console import json_text, one_line, print_data
from projrun.disk import Home, home_from
from projrun.errors import ProjrunError
from projrun.net import without_credentials
from projrun.processes.programs import run_program

ENOUGH_BYTES = 2_000_000_000


@click.command(cls=Verb)
@json_option("Print a JSON array.")
def doctor(as_json: bool) -> int:
    """Check git, uv, Pythons, docker, conda, cgroups, the store, the disk and the network.

    The exit code is 1 if something is broken. A missing program that only some projects need leaves it 0.
    """
    from projrun.console.tables import format_table

    home = home_from()
    checks = [check(home) for check in CHECKS]
    if as_json:
        print_data(json_text(checks))
    else:
        rows = [
            (check.name, check.state, f"{check.detail}; {check.hint}" if check.hint else check.detail)
            for check in checks
        ]
        print_data(format_table(("WHAT", "STATE", "DETAIL"), rows, states="STATE", wrapped=True))
    return int(any(check.state == "broken" for check in checks))


class Check(msgspec.Struct, frozen=True):
    name: str
    state: Literal["ok", "missing", "broken"]  # missing: not there, and only some projects need it
    detail: str
    hint: str = ""  # what to do, when it is not ok


def _check_git(_home: Home) -> Check:
    return _check_program("git", ["git", "--version"], "install git", needed=True)


def _check_uv(_home: Home) -> Check:
    from uv import find_uv_bin

    hint = "reinstall projrun with pip"
    try:
        program = find_uv_bin()
    except FileNotFoundError:
        return Check("uv", "broken", "its program is not there", hint)
    return _check_program("uv", [program, "--version"], hint, needed=True)


def _check_pythons(_home: Home) -> Check:
    from projrun.environments.interpreters import installed

    def as_numbers(version: str) -> list[int]:  # 3.9 comes before 3.10
        return [int(part) for part in version.split(".") if part.isdigit()]

    versions = sorted({python.version_text for python in installed()}, key=as_numbers, reverse=True)
    own = ".".join(str(part) for part in sys.version_info[:3])
    return Check("Pythons", "ok", ", ".join(versions or [own]))


def _check_docker(home: Home) -> Check:
    from projrun.environments.shelf import remove_abandoned_builds

    if shutil.which("docker") is None:
        return Check("docker", "missing", "there is no docker", "install it to run projects with docker_env")
    remove_abandoned_builds(home)
    # `docker --version` would succeed without an engine: only the server's version needs one
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    return _check_program("docker", command, "start its engine, and see that you may use it", needed=False)


def _check_conda(_home: Home) -> Check:
    for name in ("conda", "mamba", "micromamba"):
        if shutil.which(name):
            return _check_program("conda", [name, "--version"], f"mend {name}", needed=False)
    hint = "only projects that call it themselves need it"
    return Check("conda", "missing", "there is no conda, mamba or micromamba", hint)


def _check_cgroups(_home: Home) -> Check:
    """Start a process in a new control group, and check that the kernel has put it there."""
    from projrun.processes.cgroups import command_in_cgroup, new_cgroup

    if (cgroup := new_cgroup()) is not None:
        script = "while read -r line; do echo $line; done </proc/self/cgroup"
        output = run_program(command_in_cgroup(cgroup.path, ["/bin/sh", "-c", script], os.environ)).stdout
        cgroup.end()
        if cgroup.path.name in output:
            return Check("cgroups", "ok", f"each run has its own in {cgroup.path.parent}")
    return Check(
        "cgroups",
        "missing",
        "none of version 2 can be made here",
        "daemons that drop their environment may outlive a run; on Linux with systemd, start with:"
        " systemd-run --user --scope projrun run …",
    )


def _check_store(home: Home) -> Check:
    from projrun import tracking

    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    try:
        with closing(tracking.open_store(home, uri)) as store:
            store.search_experiments(max_results=1)
    except ProjrunError as error:
        return Check("store", "broken", one_line(error.message), error.hint)
    return Check("store", "ok", without_credentials(uri) or str(home.data))


def _check_disk(home: Home) -> Check:
    try:
        home.mark_cache()
        # os.access would answer for the real user and ignores mounts: only writing tells
        probe = home.cache / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
        free = shutil.disk_usage(home.cache).free
    except OSError as error:
        hint = "mend its rights, or name another directory in PROJRUN_CACHE_DIR"
        return Check("disk", "broken", f"{home.cache}: {error.strerror}", hint)
    detail = f"{free / 1e9:.1f} GB free in {home.cache}"
    if free < ENOUGH_BYTES:
        return Check("disk", "broken", detail, "make room: environments need it")
    return Check("disk", "ok", detail)


def _check_network(_home: Home) -> Check:
    from projrun.disk.file_operations import temporary_directory
    from projrun.environments.uv.program import uv_binary, uv_environ

    # uv asks, as it does for environments: it alone knows the user's proxies, certificates and credentials
    options = ["--quiet", "--no-cache", "--no-deps", "--python", sys.executable]
    with temporary_directory() as temporary:
        requirements = temporary / "requirements.txt"
        requirements.write_text("iniconfig\n")  # a package without dependencies
        try:
            with uv_environ() as environ:
                command = [uv_binary(), "pip", "compile", *options, str(requirements)]
                result = run_program(command, environ=environ)
        except ProjrunError as error:
            return Check("network", "broken", one_line(str(error)), "see uv")
    if result.ok:
        return Check("network", "ok", "the package index answers")
    return Check(
        "network",
        "broken",
        one_line(without_credentials(result.stderr), 200) or "the package index does not answer",
        "see the network, or name an index in UV_DEFAULT_INDEX; what is built already runs without",
    )


CHECKS: tuple[Callable[[Home], Check], ...] = (
    *(_check_git, _check_uv, _check_pythons, _check_docker, _check_conda),
    *(_check_cgroups, _check_store, _check_disk, _check_network),
)


def _check_program(name: str, command: list[str], hint: str, *, needed: bool) -> Check:
    try:
        result = run_program(command)
    except ProjrunError as error:
        return Check(name, "broken" if needed else "missing", one_line(error.message), hint)
    if not result.ok:
        return Check(name, "broken", one_line(result.stderr, 200), hint)
    return Check(name, "ok", one_line(result.stdout).removeprefix(f"{Path(command[0]).name} "))
