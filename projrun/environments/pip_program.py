"""The program pip: starting it with the index settings that a lock was resolved with, and its errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from projrun.console import one_line
from projrun.environments import LockFiles, lock_with_interpreter
from projrun.environments.installer_settings import INSTALLING, variables_of, without_settings
from projrun.environments.requirement_access import variables_for_git
from projrun.environments.uv.configuration import for_pip
from projrun.environments.uv.program import follow_cleaned
from projrun.errors import FREE_SPACE, BuildError
from projrun.plan import Access, Lock
from projrun.processes import merge_environ
from projrun.processes.programs import run_program
from projrun.record import Environment

_BUNDLED_PIP = """
import sys
from virtualenv.seed.wheels.embed import get_embed_wheel
wheel = get_embed_wheel("pip", sys.argv[1])
print(wheel.path if wheel else "")
"""
_OWN_PIP = """
import glob, os, ensurepip
print(*glob.glob(os.path.join(os.path.dirname(ensurepip.__file__), "_bundled", "pip-*.whl"))[:1])
"""


def pip_for(lock: Lock) -> Path:
    """A pip for this Python, as a wheel, which runs from there: virtualenv's, or the interpreter's own."""
    minor = ".".join(lock.python.split(".")[:2])
    wheel = run_program([sys.executable, "-I", "-c", _BUNDLED_PIP, minor]).stdout.strip()
    wheel = wheel or run_program([lock.interpreter, "-I", "-c", _OWN_PIP]).stdout.strip()
    if not wheel:
        raise BuildError(
            f"neither virtualenv nor Python {lock.python} brings a pip that runs on it",
            "use --env-manager uv",
        )
    return Path(wheel)


def requirements(pylock: str) -> tuple[list[str], list[str]]:
    """Requirement lines for pip: those with hashes, and those that can have none (Git, directories)."""
    from projrun.documents import toml_file

    hashed, unhashed = [], []
    entries = toml_file.parse(pylock, "pylock.toml").get("packages", []) if pylock else []
    for package in entries:
        marker = f" ; {package['marker']}" if "marker" in package else ""
        name = package["name"]
        if vcs := package.get("vcs"):
            below = f"#subdirectory={vcs['subdirectory']}" if "subdirectory" in vcs else ""
            at = f"{vcs['type']}+{vcs.get('url') or Path(vcs['path']).as_uri()}@{vcs['commit-id']}{below}"
            unhashed.append(f"{name} @ {at}{marker}")
        elif directory := package.get("directory"):
            editable = "-e " if directory.get("editable") else ""
            unhashed.append(f"{editable}{directory['path']}")
        elif archive := package.get("archive"):
            url = archive.get("url") or Path(archive["path"]).as_uri()
            hashed.append(f"{name} @ {url}{marker} {' '.join(_hashes([archive]))}")
        else:
            files = [*package.get("wheels", []), *filter(None, [package.get("sdist")])]
            hashed += [f"--find-links {Path(one['path']).parent}" for one in files if "path" in one]
            hashed.append(f"{name}=={package['version']}{marker} {' '.join(_hashes(files))}")
    return hashed, unhashed


def _hashes(files: list[dict[str, Any]]) -> Iterator[str]:
    for file in files:
        for algorithm, digest in file["hashes"].items():
            yield f"--hash={algorithm}:{digest}"


def run_pip(argv: list[str], log: Path, access: Access | None = None) -> None:
    """Run a tool, its output in `log`. Raises BuildError with its telling lines."""
    code, said = follow_cleaned(argv, log, None, _environ(access), access)
    if code:
        raise _error(said)


def _error(said: str) -> BuildError:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if line.lower().startswith(("error", "runtimeerror"))] or lines[-3:]
    if "No space left" in said:
        hint = FREE_SPACE
    elif "Failed to establish a new connection" in said or "No matching distribution" in said:
        hint = "check the network, the proxy and the index settings, then run it again"
    else:
        hint = "look at the log of the build, correct the requirements of the project, then run it again"
    return BuildError(f"the environment could not be made: {one_line(' '.join(telling))}", hint)


def _environ(access: Access | None) -> dict[str, str]:
    """The environment of virtualenv and pip: the user's index settings and none that changes the result.

    Index settings that are meant for uv count where pip has none of its own.
    """
    never = {"VIRTUAL_ENV": None, "PYTHONHOME": None, "PYTHONPATH": None}
    ours = {"VIRTUALENV_CONFIG_FILE": os.devnull}
    kept = variables_of(os.environ, INSTALLING)
    theirs = merge_environ(without_settings(os.environ), kept, for_pip(), never, ours)
    return merge_environ(theirs, variables_for_git(access, os.environ))


def download_packages(environment: Environment, files: LockFiles, target: Path, log: Path) -> None:
    """Download the file of every package that fits this machine; pip checks the hashes."""
    lock = lock_with_interpreter(environment, files)
    hashed, unhashed = requirements(lock.pylock)
    if unhashed:
        raise BuildError(
            f"{unhashed[0].partition(' ')[0]} is not from an index, so no bundle can hold it",
            "leave --with-packages out",
        )
    options = ["--no-deps", "--no-input", "--disable-pip-version-check", "--require-hashes"]
    wanted = log.with_suffix(".txt")
    try:
        wanted.write_text("\n".join(hashed) + "\n")
        pip = [lock.interpreter, "-I", str(pip_for(lock) / "pip"), "download", *options]
        run_pip([*pip, "--dest", str(target), "--requirement", str(wanted)], log)
    finally:
        wanted.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
