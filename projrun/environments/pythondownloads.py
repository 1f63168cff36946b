"""Interpreters that uv downloads, where the user allows it."""

from __future__ import annotations

import re

from projrun.environments.uvprogram import uv_binary, uv_environ
from projrun.errors import BuildError
from projrun.files import temporary_directory
from projrun.output import one_line, say
from projrun.process import follow
from projrun.urls import without_credentials


def download(request: str) -> None:
    """Have uv install the Python that a descriptor asks for among its own. Raises BuildError."""
    say(f"downloading Python {request}")
    command = [uv_binary(), "python", "install", "--no-bin", request]
    environ = {**uv_environ(), "UV_PYTHON_DOWNLOADS": "manual"}
    with temporary_directory() as temporary:
        log = temporary / "download.log"
        if follow(command, log=log, environ=environ) == 0:
            return
        said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", log.read_text(errors="replace"))
    lines = [re.sub(r"^[\s│├╰─▶×]+|^\s*(error|Caused by): ", "", line).strip() for line in said.splitlines()]
    why = one_line(": ".join(line.rstrip(":. ") for line in lines if line))
    raise BuildError(
        f"Python {request} could not be downloaded: {without_credentials(why)}",
        "check the network and UV_PYTHON_INSTALL_MIRROR, or install it another way",
    )
