"""The files of a lock's packages, downloaded to be taken elsewhere."""

from __future__ import annotations

from pathlib import Path

from projrun.environments.virtualenv import pip_for, requirements, run_pip
from projrun.errors import BuildError
from projrun.plan import Lock


def download(lock: Lock, target: Path, log: Path) -> None:
    """The file of every package that fits this machine, into `target`. Raises BuildError.

    By pip, which checks the hashes: uv keeps no files, it keeps what was in them.
    """
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
