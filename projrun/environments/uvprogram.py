"""The program uv: starting it, and what its complaints mean to a user."""

from __future__ import annotations

import os
import re
from pathlib import Path

from projrun.errors import BuildError
from projrun.network import is_offline
from projrun.output import one_line
from projrun.process import follow
from projrun.starting import merged
from projrun.urls import without_credentials

_UV_VARIABLES = ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_CONFIG_FILE")
_PIP_VARIABLES = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
}
_NETWORK = re.compile(
    r"dns error|error sending request|tcp connect|timed out|connection (refused|reset)"
    r"|network (was |is )?(disabled|unreachable)|failed to connect|could not resolve host",
    re.IGNORECASE,
)


def run_uv(arguments: list[str], log: Path, cwd: Path | None = None, hint: str = "") -> None:
    """Run uv, its output in `log`. Raises BuildError with uv's own telling lines."""
    before = log.stat().st_size if log.exists() else 0
    if follow([uv_binary(), *arguments], log=log, cwd=cwd, environ=uv_environ()) == 0:
        return
    with log.open("rb") as file:
        file.seek(before)
        said = file.read().decode(errors="replace")
    raise _error(said, hint)


def _error(said: str, advice: str) -> BuildError:
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
        hint = advice or "correct the requirements of the project, then run it again"
    return BuildError(f"the environment could not be made: {without_credentials(told)}", hint)


def uv_binary() -> str:
    from uv import find_uv_bin

    try:
        return os.fspath(find_uv_bin())
    except FileNotFoundError:
        raise BuildError("uv is not installed", "install it: pip install uv") from None


def uv_environ() -> dict[str, str]:
    """uv with the user's index settings, but never another environment or a download of an interpreter."""
    never = {"VIRTUAL_ENV": None, "CONDA_PREFIX": None, "UV_PYTHON": None, "UV_PROJECT": None}
    ours = {"UV_PYTHON_DOWNLOADS": "never", "UV_PREVIEW_FEATURES": "pylock"}
    if is_offline():
        ours["UV_OFFLINE"] = "1"
    return merged(os.environ, never, _from_pip(), ours)


def _from_pip() -> dict[str, str]:
    """pip's index variables as uv's, which win. In the environment, because they may hold credentials."""
    if any(os.environ.get(name) for name in _UV_VARIABLES):
        return {}
    named = {uv: os.environ.get(pip, "") for pip, uv in _PIP_VARIABLES.items()}
    return {uv: value for uv, value in named.items() if value and not os.environ.get(uv)}
