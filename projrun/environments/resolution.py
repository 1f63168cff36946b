"""A descriptor resolved by uv to a pylock.toml with hashes."""

from __future__ import annotations

import re
from pathlib import Path

from projrun.environments import pythons
from projrun.environments.uvprogram import run_uv
from projrun.errors import BuildError, UnavailableError
from projrun.files import temporary_directory
from projrun.plan import Descriptor, Lock

_LOCAL = re.compile(r"(-e\b|--editable\b|\.{1,2}/|/|file:|[^#]*@\s*file:)|\.$")


def resolve(manager: str, descriptor: Descriptor, directory: Path, log: Path) -> Lock:
    _refuse_what_is_not_there(descriptor)
    python, notice = pythons.choose(descriptor.python)
    requirements = (*descriptor.build_dependencies, *descriptor.dependencies)
    if not requirements:
        nothing = "the project names no packages: its environment is empty"
        return Lock(
            manager=manager,
            python=python.version_text,
            interpreter=str(python.path),
            pylock="",
            notices=tuple(filter(None, (notice, nothing))),
        )
    pylock = _resolve(requirements, descriptor.constraints, python.path, directory, log)
    return Lock(
        manager=manager,
        python=python.version_text,
        interpreter=str(python.path),
        pylock=pylock,
        notices=(notice,) if notice else (),
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
        run_uv(
            ["pip", "compile", *options, "--python", str(python), "-c", str(bounds), str(wanted)],
            log,
            cwd=directory,
        )
        return pylock.read_text()
