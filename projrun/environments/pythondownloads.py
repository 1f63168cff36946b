"""Interpreters that uv downloads, where the user allows it."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from projrun.environments.uvprogram import follow_cleaned, uv_binary, uv_environ
from projrun.errors import BuildError
from projrun.files import temporary_directory
from projrun.output import one_line, say
from projrun.process import ask

_RELEASE = re.compile(r"\d+\.\d+\.\d+")


class _Offer(msgspec.Struct, frozen=True):
    """What `uv python list` says of one interpreter."""

    version: str
    implementation: str
    variant: str = "default"


def download(request: str, log: Path | None = None) -> None:
    """Have uv install the Python that a descriptor asks for among its own. Raises BuildError.

    log: gets what uv says.
    """
    say(f"downloading Python {request}")
    command = [uv_binary(), "python", "install", "--no-bin", request]
    with temporary_directory() as temporary, uv_environ() as environ:
        environ["UV_PYTHON_DOWNLOADS"] = "manual"
        code, said = follow_cleaned(command, log or temporary / "download.log", None, environ, None)
    if code == 0:
        return
    lines = [re.sub(r"^[\s│├╰─▶×]+|^\s*(error|Caused by): ", "", line).strip() for line in said.splitlines()]
    why = one_line(": ".join(line.rstrip(":. ") for line in lines if line))
    raise BuildError(
        f"Python {request} could not be downloaded: {why}",
        "check the network and UV_PYTHON_INSTALL_MIRROR, or install it another way",
    )


def offered(request: str = "") -> list[str] | None:
    """Versions that uv has to download, the newest first: those that fit, or the newest of each minor one.

    None where uv does not know without a network.
    """
    wanted = [request] if request else []
    listing = [uv_binary(), "python", "list", "--only-downloads", "--output-format", "json", *wanted]
    with uv_environ() as environ:
        answer = ask(listing, environ=environ)
    try:
        found = msgspec.json.decode(answer.stdout, type=list[_Offer])
    except msgspec.MsgspecError:
        return None
    plain = [one.version for one in found if (one.implementation, one.variant) == ("cpython", "default")]
    return [version for version in plain if _RELEASE.fullmatch(version)]
