"""The program uv: starting it, and what its complaints mean to a user."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from projrun.console import one_line
from projrun.environments.installer_settings import (
    INSTALLING,
    RESOLVING,
    Scope,
    variables_of,
    without_settings,
)
from projrun.environments.requirement_access import redact, variables_for_uv
from projrun.environments.user_settings import UserSettings, read_user_settings
from projrun.environments.uv.configuration import configuration, configuration_for_resolving
from projrun.errors import FREE_SPACE, BuildError
from projrun.net import is_offline
from projrun.plan import Access
from projrun.processes import merge_environ
from projrun.processes.programs import run_program, run_with_progress

# The work that uv is started for: to choose packages, read a project's lock, or install what is chosen
Purpose = Literal["resolve", "export", "install"]

_NETWORK = re.compile(
    r"dns error|error sending request|tcp connect|timed out|connection (refused|reset)"
    r"|network (was |is )?(disabled|unreachable)|failed to connect|could not resolve host",
    re.IGNORECASE,
)
_CONTROL = r"\x1b\[[0-9;?]*[A-Za-z]"


def run_uv(
    arguments: list[str],
    log: Path,
    cwd: Path | None = None,
    hint: str = "",
    access: Access | None = None,
    variables: Mapping[str, str] | None = None,
    purpose: Purpose = "install",
    user: UserSettings | None = None,
) -> None:
    """Run uv, its output cleaned in `log`. Raises BuildError with the lines of uv that tell the reason.

    variables: added to the environment. purpose: decides which settings of the user and the project count.
    user: read if not given.
    """
    # uv prints its result on stdout too, and with --quiet it prints no progress either.
    argv = ["/bin/sh", "-c", 'exec "$0" "$@" >/dev/null', uv_binary(), *arguments]
    with uv_environ(access, purpose, user) as environ:
        code, output = follow_cleaned(argv, log, cwd, {**environ, **(variables or {})}, access)
    if code:
        raise _build_error(output, hint)


def ask_uv(
    arguments: list[str], access: Access | None = None, variables: Mapping[str, str] | None = None
) -> bool:
    """Run a quick uv command without showing or keeping its output; return True if it succeeded."""
    cwd = access.directory if access else None  # where the project's own settings for uv are
    with uv_environ(access) as environ:
        environ.update(variables or {})
        return run_program([uv_binary(), *arguments], cwd=cwd, environ=environ).ok


def follow_cleaned(
    argv: list[str], log: Path, cwd: Path | None, environ: dict[str, str], access: Access | None
) -> tuple[int, str]:
    """Run a tool; return its exit code, and its output as `log` has it: no credentials, no progress."""
    start = log.stat().st_size if log.exists() else 0
    try:
        code = run_with_progress(argv, log=log, cwd=cwd, environ=environ)
    finally:
        output = _clean(log, start, access)
    return code, output


def _clean(log: Path, start: int, access: Access | None) -> str:
    """Clean `log` from the byte `start` on, and return the clean text."""
    if not log.exists():
        return ""
    with log.open("r+b") as file:
        file.seek(start)
        output = file.read().decode(errors="replace")
        clean = redact(_as_left_on_a_terminal(output), access)
        if clean != output:
            file.seek(start)
            file.write(clean.encode())
            file.truncate()
    return clean


def _as_left_on_a_terminal(output: str) -> str:
    """Return the last state of each line, without colours and the earlier states of progress bars."""
    lines = []
    for line in re.sub(_CONTROL, "", output).split("\n"):
        last = line.removesuffix("\r").rpartition("\r")[2].rstrip()
        if last or not line.strip():
            lines.append(last)
    return "\n".join(lines)


def _build_error(output: str, advice: str) -> BuildError:
    error = re.search(r"^\s*(×|error:).*", output, re.MULTILINE | re.DOTALL)
    lines = (error[0] if error else output).splitlines()
    lines = [re.sub(r"^[\s│├╰─▶×]+", "", line).strip() for line in lines]
    reason = one_line(" ".join(line for line in lines if line and not line.startswith(("hint:", "warning:"))))
    reason = reason.removeprefix("error: ").rstrip(".")
    if _NETWORK.search(output):
        hint = "check the network, the proxy and the index settings, then run it again"
    elif "No space left" in output:
        hint = FREE_SPACE
    elif "subsequent index" in output:
        hint = (
            "an index keeps what it has to itself: UV_INDEX_STRATEGY=unsafe-best-match asks all, as pip does"
        )
    else:
        hint = advice or "correct the requirements of the project, then run it again"
    return BuildError(f"the environment could not be made: {reason}", hint)


def uv_binary() -> str:
    from uv import find_uv_bin

    try:
        return os.fspath(find_uv_bin())
    except FileNotFoundError:
        raise BuildError("uv is not installed", "install it: pip install uv") from None


def variables_for(
    access: Access | None, user: UserSettings, scopes: tuple[Scope, ...] = INSTALLING
) -> dict[str, str]:
    """Return the environment of uv: the user's settings with these scopes, and the project's indexes.

    uv never sees another environment, and never downloads an interpreter.
    """
    never = {"VIRTUAL_ENV": None, "CONDA_PREFIX": None}
    ours = {"UV_PYTHON_DOWNLOADS": "never", "UV_PREVIEW_FEATURES": "pylock"}
    if is_offline():
        ours["UV_OFFLINE"] = "1"
    theirs = merge_environ(
        without_settings(os.environ), variables_of(os.environ, scopes), user.for_uv(scopes)
    )
    return merge_environ(theirs, never, variables_for_uv(access, theirs), ours)


@contextmanager
def uv_environ(
    access: Access | None = None, purpose: Purpose = "install", user: UserSettings | None = None
) -> Iterator[dict[str, str]]:
    """Yield the environment of uv for `purpose`, with the configuration file that counts for it."""
    user = user or read_user_settings()
    directory = access.directory if access else None
    if purpose == "resolve" and directory:
        scopes, configured = RESOLVING, configuration_for_resolving(user, directory)
    else:
        scopes, of_project = INSTALLING, RESOLVING if purpose == "export" else INSTALLING
        configured = configuration(user, directory, INSTALLING, of_project)
    with configured as files:
        yield merge_environ(variables_for(access, user, scopes), files)
