"""The program uv: starting it, and what its complaints mean to a user."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from projrun.console import one_line
from projrun.environments import pip_settings
from projrun.environments.installer_settings import (
    INSTALLING,
    RESOLVING,
    Place,
    variables_of,
    without_settings,
)
from projrun.environments.requirement_access import cleaned, variables_for_uv
from projrun.environments.uv.configuration import configuration, configuration_for_resolving
from projrun.errors import FREE_SPACE, BuildError
from projrun.net import is_offline
from projrun.plan import Access
from projrun.processes import merge_environ
from projrun.processes.programs import run_program, run_with_progress

Purpose = Literal["resolve", "export", "install"]
"""What uv is started for: to choose packages, to read the lock of a project, to install what is chosen."""

_NETWORK = re.compile(
    r"dns error|error sending request|tcp connect|timed out|connection (refused|reset)"
    r"|network (was |is )?(disabled|unreachable)|failed to connect|could not resolve host",
    re.IGNORECASE,
)
_CONTROL = r"\x1b\[[0-9;?]*[A-Za-z]"
_WITHOUT_STDOUT = ("/bin/sh", "-c", 'exec "$0" "$@" >/dev/null')
"""For what tells its result on stdout as well, and falls silent altogether when told to be quiet."""


def run_uv(
    arguments: list[str],
    log: Path,
    cwd: Path | None = None,
    hint: str = "",
    access: Access | None = None,
    settings: Mapping[str, str] | None = None,
    purpose: Purpose = "install",
) -> None:
    """Run uv, its output cleaned in `log`. Raises BuildError with uv's own telling lines.

    settings: variables for uv. purpose: decides which settings of the user and the project count. Its
    stdout is not heard.
    """
    argv = [*_WITHOUT_STDOUT, uv_binary(), *arguments]
    with uv_environ(access, purpose) as environ:
        code, said = follow_cleaned(argv, log, cwd, {**environ, **(settings or {})}, access)
    if code:
        raise _error(said, hint)


def ask_uv(
    arguments: list[str], access: Access | None = None, settings: Mapping[str, str] | None = None
) -> bool:
    """Run a quick uv command without showing or keeping its output; return True if it succeeded."""
    cwd = access.directory if access else None  # where the project's own settings for uv are
    with uv_environ(access) as environ:
        return run_program([uv_binary(), *arguments], cwd=cwd, environ={**environ, **(settings or {})}).ok


def follow_cleaned(
    argv: list[str], log: Path, cwd: Path | None, environ: dict[str, str], access: Access | None
) -> tuple[int, str]:
    """The exit code of a tool, and what it said, as it is in `log` then: no credentials, no progress."""
    before = log.stat().st_size if log.exists() else 0
    try:
        code = run_with_progress(argv, log=log, cwd=cwd, environ=environ)
    finally:
        said = _clean(log, before, access)
    return code, said


def _clean(log: Path, start: int, access: Access | None) -> str:
    """Take credentials and what a terminal overwrote out of `log` from `start` on; what is left of it."""
    if not log.exists():
        return ""
    with log.open("r+b") as file:
        file.seek(start)
        said = file.read().decode(errors="replace")
        clean = cleaned(_as_left_on_a_terminal(said), access)
        if clean != said:
            file.seek(start)
            file.write(clean.encode())
            file.truncate()
    return clean


def _as_left_on_a_terminal(said: str) -> str:
    """Lines as they were in the end, without colours and the states of progress bars."""
    lines = []
    for line in re.sub(_CONTROL, "", said).split("\n"):
        left = line.removesuffix("\r").rpartition("\r")[2].rstrip()
        if left or not line.strip():
            lines.append(left)
    return "\n".join(lines)


def _error(plain: str, advice: str) -> BuildError:
    telling = re.search(r"^\s*(×|error:).*", plain, re.MULTILINE | re.DOTALL)
    lines = (telling[0] if telling else plain).splitlines()
    lines = [re.sub(r"^[\s│├╰─▶×]+", "", line).strip() for line in lines]
    told = one_line(" ".join(line for line in lines if line and not line.startswith(("hint:", "warning:"))))
    told = told.removeprefix("error: ").rstrip(".")
    if _NETWORK.search(plain):
        hint = "check the network, the proxy and the index settings, then run it again"
    elif "No space left" in plain:
        hint = FREE_SPACE
    elif "subsequent index" in plain:
        hint = (
            "an index keeps what it has to itself: UV_INDEX_STRATEGY=unsafe-best-match asks all, as pip does"
        )
    else:
        hint = advice or "correct the requirements of the project, then run it again"
    return BuildError(f"the environment could not be made: {told}", hint)


def uv_binary() -> str:
    from uv import find_uv_bin

    try:
        return os.fspath(find_uv_bin())
    except FileNotFoundError:
        raise BuildError("uv is not installed", "install it: pip install uv") from None


def variables_for(access: Access | None, places: tuple[Place, ...] = INSTALLING) -> dict[str, str]:
    """The environment of uv: the user's settings with these places and the project's index settings.

    uv never sees another environment, and never downloads an interpreter.
    """
    never = {"VIRTUAL_ENV": None, "CONDA_PREFIX": None}
    ours = {"UV_PYTHON_DOWNLOADS": "never", "UV_PREVIEW_FEATURES": "pylock"}
    if is_offline():
        ours["UV_OFFLINE"] = "1"
    theirs = merge_environ(
        without_settings(os.environ), variables_of(os.environ, places), pip_settings.for_uv(places=places)
    )
    return merge_environ(theirs, never, variables_for_uv(access, theirs), ours)


@contextmanager
def uv_environ(access: Access | None = None, purpose: Purpose = "install") -> Iterator[dict[str, str]]:
    """The environment of uv for `purpose`, with the configuration file that counts for it."""
    directory = access.directory if access else None
    if purpose == "resolve" and directory:
        places, configured = RESOLVING, configuration_for_resolving(directory)
    else:
        places, of_project = INSTALLING, RESOLVING if purpose == "export" else INSTALLING
        configured = configuration(directory, INSTALLING, of_project)
    with configured as files:
        yield merge_environ(variables_for(access, places), files)
