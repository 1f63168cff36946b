"""Environments made by uv: resolved to a pylock.toml with hashes, installed from it and nothing else."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from projrun.environments import contents as installed
from projrun.environments import pythons
from projrun.environments.carried import with_files
from projrun.errors import BuildError, UnavailableError
from projrun.files import temporary_directory
from projrun.output import one_line
from projrun.plan import Descriptor, Launch, Lock
from projrun.process import ask, follow, merged
from projrun.record import Package

BUILDS = True

_LOCAL = re.compile(r"(-e\b|--editable\b|\.{1,2}/|/|file:|[^#]*@\s*file:)|\.$")
_NETWORK = re.compile(
    r"dns error|error sending request|tcp connect|timed out|connection (refused|reset)"
    r"|network (was |is )?(disabled|unreachable)|failed to connect|could not resolve host",
    re.IGNORECASE,
)


def lock(descriptor: Descriptor, directory: Path, log: Path) -> Lock:
    _refuse_what_is_not_there(descriptor)
    python, notice = pythons.choose(descriptor.python)
    requirements = (*descriptor.build_dependencies, *descriptor.dependencies)
    if not requirements:
        nothing = "the project names no packages: its environment is empty"
        return Lock(
            manager="uv",
            python=python.version_text,
            interpreter=str(python.path),
            pylock="",
            notices=tuple(filter(None, (notice, nothing))),
        )
    pylock = _resolve(requirements, descriptor.constraints, python.path, directory, log)
    return Lock(
        manager="uv",
        python=python.version_text,
        interpreter=str(python.path),
        pylock=pylock,
        notices=(notice,) if notice else (),
    )


def key(lock: Lock) -> dict[str, object]:
    return {
        "pylock": lock.pylock,
        "python": lock.python,
        "interpreter": lock.interpreter,
        "platform": [sys.platform, os.uname().machine],
    }


def build(lock: Lock, dest: Path, log: Path) -> None:
    _run_uv(
        ["venv", "--quiet", "--relocatable", "--no-project", "--python", lock.interpreter, str(dest)], log
    )
    if not lock.pylock:
        return
    with temporary_directory() as temporary:
        pylock = temporary / "pylock.toml"
        pylock.write_text(with_files(lock.pylock, lock.packages))
        sync = ["pip", "sync", "--python", str(dest / "bin" / "python"), str(pylock)]
        # Packages that are in the cache need no index, and asking it costs most of the time.
        if not ask([_uv(), *sync, "--offline"], environ=_environ()).ok:
            _run_uv(sync, log)


def unhealthy(dest: Path) -> str | None:
    python = dest / "bin" / "python"
    return None if python.exists() else f"its interpreter {python} is gone"


def contents(dest: Path) -> tuple[Package, ...]:
    return installed.packages(dest)


def launch(dest: Path) -> Launch:
    return Launch(
        variables={"VIRTUAL_ENV": str(dest), "PYTHONHOME": None, "__PYVENV_LAUNCHER__": None},
        path_entries=(str(dest / "bin"),),
    )


def _refuse_what_is_not_there(descriptor: Descriptor) -> None:
    if descriptor.conda_dependencies:
        raise BuildError(
            f"{descriptor.file} lists conda packages, which uv cannot install: "
            f"{', '.join(descriptor.conda_dependencies)}",
            "move those that PyPI has to its pip section, or use --env-manager local",
        )
    local = [line for line in descriptor.dependencies if _LOCAL.match(line)]
    if local:
        raise UnavailableError(
            f"{descriptor.file}: '{local[0]}': local requirements are not part of this version of projrun",
            "name a released package or a Git URL, or use --env-manager local",
        )


def _resolve(
    requirements: tuple[str, ...], constraints: tuple[str, ...], python: Path, directory: Path, log: Path
) -> str:
    with temporary_directory() as temporary:
        wanted, bounds = temporary / "requirements.txt", temporary / "constraints.txt"
        pylock = temporary / "pylock.toml"
        wanted.write_text("\n".join(requirements) + "\n")
        bounds.write_text("\n".join(constraints) + "\n")
        options = ["--quiet", "--no-header", "--no-annotate", "--format", "pylock.toml", "-o", str(pylock)]
        _run_uv(
            ["pip", "compile", *options, "--python", str(python), "-c", str(bounds), str(wanted)],
            log,
            cwd=directory,
        )
        return pylock.read_text()


def _run_uv(arguments: list[str], log: Path, cwd: Path | None = None) -> None:
    """Run uv, its output in `log`. Raises BuildError with uv's own telling lines."""
    before = log.stat().st_size if log.exists() else 0
    if follow([_uv(), *arguments], log=log, cwd=cwd, environ=_environ()) == 0:
        return
    with log.open("rb") as file:
        file.seek(before)
        said = file.read().decode(errors="replace")
    raise _error(said)


def _error(said: str) -> BuildError:
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    telling = re.search(r"^\s*(×|error:).*", plain, re.MULTILINE | re.DOTALL)
    lines = (telling[0] if telling else plain).splitlines()
    lines = [re.sub(r"^[\s│├╰─▶×]+", "", line).strip() for line in lines]
    told = one_line(" ".join(line for line in lines if line and not line.startswith(("hint:", "warning:"))))
    told = told.removeprefix("error: ").rstrip(".")
    if _NETWORK.search(plain):
        hint = "check the network, the proxy and the index settings, then run it again"
    elif "No space left" in plain:
        hint = "free some space, or name another disk with PROJRUN_CACHE_DIR, then run it again"
    else:
        hint = "correct the requirements of the project, then run it again"
    return BuildError(f"the environment could not be made: {told}", hint)


def _uv() -> str:
    from uv import find_uv_bin

    try:
        return os.fspath(find_uv_bin())
    except FileNotFoundError:
        raise BuildError("uv is not installed", "install it: pip install uv") from None


def _environ() -> dict[str, str]:
    """uv with the user's index settings, but never another environment or a download of an interpreter."""
    never = {"VIRTUAL_ENV": None, "CONDA_PREFIX": None, "UV_PYTHON": None, "UV_PROJECT": None}
    return merged(os.environ, never, {"UV_PYTHON_DOWNLOADS": "never", "UV_PREVIEW_FEATURES": "pylock"})
