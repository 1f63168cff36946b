"""The choice of a project's interpreter: one of this machine, or one that uv may download."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from projrun.console import one_line, say, warn
from projrun.disk.file_operations import temporary_directory
from projrun.documents.variables import is_on
from projrun.environments.interpreters import Interpreter, installed, running
from projrun.environments.uv.program import follow_cleaned, uv_binary, uv_environ
from projrun.errors import BuildError
from projrun.net import is_offline
from projrun.processes.programs import run_program

__all__ = ["DOWNLOADS_VARIABLE", "Interpreter", "choose", "installed", "refuse_another"]

DOWNLOADS_VARIABLE = "PROJRUN_PYTHON_DOWNLOADS"
OLDEST = (3, 8)
"""What uv and virtualenv make environments for."""


def choose(request: str, log: Path | None = None) -> tuple[Interpreter, str]:
    """The interpreter for what a descriptor asks (`3.11`, `3.11.7`, `>=3.10`, '') and a notice or ''.

    A minor version or a set means its highest patch; an exact patch that is not here means the nearest
    one of the same minor, which the notice says. Raises BuildError naming what there is.
    log: gets what uv says of a download.
    """
    ours = running()
    if not request or (_is_set(request) and _matches(request, ours)):
        return ours, ""
    found = list(_supported())
    fitting = _fitting(request, found)
    if not fitting and _may_download():
        found = _with_download(request, found, log)
        fitting = _fitting(request, found)
    if not fitting and is_exact(request):
        wanted = _numbers(request)
        minor = [python for python in found if python.version[:2] == wanted[:2]]
        if minor:
            nearest = min(minor, key=lambda python: abs(python.version[2] - wanted[2]))
            return nearest, f"Python {request} is not on this machine; using {nearest.version_text}"
    return _highest(fitting, request, found), ""


def is_exact(request: str) -> bool:
    """Return True if a descriptor names one patch version."""
    return re.fullmatch(r"\d+\.\d+\.\d+", request) is not None


def refuse_another(request: str, version: str) -> None:
    """Raise BuildError when a descriptor names an exact patch and `version` is another."""
    if is_exact(request) and _numbers(request) != _numbers(version):
        raise BuildError(
            f"--strict-python: the project wants Python {request}, and the nearest here is {version}",
            f"install it (for example `uv python install {request}`), or leave --strict-python out",
        )


def _fitting(request: str, found: list[Interpreter]) -> list[Interpreter]:
    if _is_set(request):
        return [python for python in found if _matches(request, python)]
    wanted = _numbers(request)
    return [python for python in found if python.version[: len(wanted)] == wanted]


def _supported() -> Iterator[Interpreter]:
    return (python for python in installed() if python.version >= OLDEST)


def _may_download(environ: Mapping[str, str] = os.environ) -> bool:
    """Return True if the user allows downloads, by projrun's variable or by uv's."""
    if is_offline(environ):
        return False
    ours = environ.get(DOWNLOADS_VARIABLE, "")
    return is_on(ours) if ours else environ.get("UV_PYTHON_DOWNLOADS", "") in ("automatic", "true")


def _with_download(request: str, found: list[Interpreter], log: Path | None) -> list[Interpreter]:
    """Download `request` by uv and return the interpreters. Fail only if no other patch serves."""

    if not _is_set(request) and _numbers(request) < OLDEST:
        return found
    try:
        download(request, log)
    except BuildError as error:
        wanted = _numbers(request)[:2] if is_exact(request) else None
        if not any(python.version[:2] == wanted for python in found):
            raise BuildError(f"{error.message}; this machine has {_listed(found)}", error.hint) from None
        warn(str(error.message))
        return found
    return list(_supported())


def _highest(fitting: list[Interpreter], request: str, found: list[Interpreter]) -> Interpreter:
    if fitting:
        return max(fitting, key=lambda python: python.version)
    if not _is_set(request) and _numbers(request) < OLDEST[: len(_numbers(request))]:
        raise BuildError(
            f"the project wants Python {request}, and environments can be made for 3.8 and newer; "
            f"this machine has {_listed(found)}",
            "name a newer Python in the project, or use --env-manager local or conda",
        )

    told = f"the project wants Python {request}, and this machine has {_listed(found)}"
    if offered(request) == []:
        raise BuildError(
            f"{told}; uv has {', '.join(offered() or ()) or 'none'} to download",
            "name one of these in the project, or use --env-manager local",
        )
    raise BuildError(
        told,
        f"install it (for example `uv python install '{request}'`), let projrun do so with "
        f"{DOWNLOADS_VARIABLE}=1, or use --env-manager local",
    )


def _listed(found: Iterable[Interpreter]) -> str:
    versions = sorted({python.version for python in found})
    return ", ".join(".".join(map(str, version)) for version in versions) or "none"


def _is_set(request: str) -> bool:
    return not re.fullmatch(r"\d+(\.\d+){0,2}", request)


def _numbers(request: str) -> tuple[int, ...]:
    return tuple(map(int, request.split(".")))


def _matches(request: str, python: Interpreter) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(request.replace(" ", "")).contains(python.version_text)
    except InvalidSpecifier:
        raise BuildError(
            f"'{request}' is not a Python version", "write one such as '3.11', '3.11.7' or '>=3.10'"
        ) from None


_RELEASE = re.compile(r"\d+\.\d+\.\d+")


class _Offer(msgspec.Struct, frozen=True):
    """One interpreter in the answer of `uv python list`."""

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
        answer = run_program(listing, environ=environ)
    try:
        found = msgspec.json.decode(answer.stdout, type=list[_Offer])
    except msgspec.MsgspecError:
        return None
    plain = [one.version for one in found if (one.implementation, one.variant) == ("cpython", "default")]
    return [version for version in plain if _RELEASE.fullmatch(version)]
