"""The changes that activating a conda environment makes to the variables of a process.

The scripts of activate.d run once, when the environment is built; the result is kept in its ready mark. So a
warm start needs no shell, and none of the builder's own variables gets into the environment.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from projrun.console import one_line
from projrun.disk.file_operations import temporary_directory
from projrun.environments.conda.rattler import CondaPackage
from projrun.errors import BuildError
from projrun.plan import Launch
from projrun.processes.child import HELPER_VARIABLE
from projrun.processes.programs import run_program, run_with_progress

SCRIPTS_DIRECTORY = "etc/conda/activate.d"
SHELL_VARIABLES = {"_", "PWD", "OLDPWD", "SHLVL", "PATH", HELPER_VARIABLE}
_RUN = f'for script in "$CONDA_PREFIX"/{SCRIPTS_DIRECTORY}/*.sh; do . "$script"; done >&2; exec env -0'


def make_launch(prefix: Path, variables: dict[str, str]) -> Launch:
    """Return the launch of a process in the environment at `prefix`. variables: those that its author set."""
    changes: dict[str, str | None] = {
        "CONDA_PREFIX": str(prefix),
        "CONDA_DEFAULT_ENV": str(prefix),
        "CONDA_SHLVL": "1",
        "CONDA_PROMPT_MODIFIER": None,
        "VIRTUAL_ENV": None,
        "PYTHONHOME": None,
        "__PYVENV_LAUNCHER__": None,
        **variables,
    }
    path = (str(prefix / "bin"),)
    scripts = prefix / SCRIPTS_DIRECTORY
    if not scripts.is_dir() or not any(scripts.glob("*.sh")):
        return Launch(variables=changes, path_entries=path)
    # The scripts see a plain environment, not the user's: the result is stored with the environment.
    before = {name: value for name, value in changes.items() if value is not None}
    before["PATH"] = os.pathsep.join((*path, os.defpath))
    for name in ("HOME", "LANG"):
        if name in os.environ:
            before[name] = os.environ[name]
    after = _activated(before)
    for name in before.keys() - after.keys():
        changes[name] = None
    for name, value in after.items():
        if before.get(name) != value and name not in SHELL_VARIABLES:
            changes[name] = value
    added = [entry for entry in after.get("PATH", "").split(os.pathsep) if entry]
    usual = os.defpath.split(os.pathsep)
    return Launch(
        variables=changes, path_entries=tuple(dict.fromkeys(e for e in added if e not in usual)) or path
    )


def _activated(before: dict[str, str]) -> dict[str, str]:
    """Return the variables after the scripts ran. A failing command in a script is ignored, as conda does."""
    answer = run_program(["bash", "--norc", "--noprofile", "-c", _RUN], environ=before)
    if not answer.ok:
        raise activation_error(answer.stderr)
    return parse_variables(answer.stdout)


def activation_error(stderr: str) -> BuildError:
    return BuildError(
        f"the activation scripts of the environment failed: {one_line(stderr)}",
        "leave out the package that they come from",
    )


def parse_variables(text: str) -> dict[str, str]:
    """Parse the output of `env -0`."""
    pairs = (entry.partition("=") for entry in text.split("\0") if "=" in entry)
    return {name: value for name, _, value in pairs}


PROGRAM_VARIABLE = "PROJRUN_CONDA_EXE"


def chosen_program() -> str:
    """Return the conda-like program that the user chose; empty for rattler."""
    return os.environ.get(PROGRAM_VARIABLE, "")


def create_with_program(
    program: str, packages: Sequence[CondaPackage], prefix: Path, offline: bool, log: Path
) -> None:
    """Install exactly `packages` at `prefix`: an explicit list leaves the program nothing to solve."""
    with temporary_directory() as temporary:
        explicit = temporary / "explicit.txt"
        lines = ["@EXPLICIT", *(f"{package.url}#sha256:{package.sha256}" for package in packages)]
        explicit.write_text("\n".join(lines) + "\n")
        argv = [program, "create", "--yes", "--prefix", str(prefix), "--file", str(explicit)]
        code = run_with_progress([*argv, "--offline"] if offline else argv, log=log, cwd=temporary)
    if code != 0 or not (prefix / "conda-meta").is_dir():
        ended = f"exited with code {code}" if code else "made no environment"
        raise BuildError(
            f"{program} ({PROGRAM_VARIABLE}) {ended}",
            f"look at what it said in {log}, or unset {PROGRAM_VARIABLE}",
        )
