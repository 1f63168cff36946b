"""Making the prefix with the user's own conda, mamba or micromamba: PROJRUN_CONDA_EXE names it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from projrun.environments.condarattler import CondaPackage
from projrun.errors import BuildError
from projrun.files import temporary_directory
from projrun.process import follow

VARIABLE = "PROJRUN_CONDA_EXE"


def chosen() -> str:
    """The program; empty for rattler."""
    return os.environ.get(VARIABLE, "")


def create(program: str, packages: Sequence[CondaPackage], prefix: Path, offline: bool, log: Path) -> None:
    """Exactly `packages` at `prefix`: the program solves nothing."""
    with temporary_directory() as temporary:
        explicit = temporary / "explicit.txt"
        lines = ["@EXPLICIT", *(f"{package.url}#sha256:{package.sha256}" for package in packages)]
        explicit.write_text("\n".join(lines) + "\n")
        argv = [program, "create", "--yes", "--prefix", str(prefix), "--file", str(explicit)]
        code = follow([*argv, "--offline"] if offline else argv, log=log, cwd=temporary)
    if code != 0 or not (prefix / "conda-meta").is_dir():
        ended = f"exited with code {code}" if code else "made no environment"
        raise BuildError(
            f"{program} ({VARIABLE}) {ended}", f"look at what it said in {log}, or unset {VARIABLE}"
        )
