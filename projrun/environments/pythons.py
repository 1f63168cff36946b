"""Interpreters on this machine, found without asking shims: they cost much and may lie."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from projrun.errors import BuildError, LaunchError
from projrun.process import ask

_VERSION = re.compile(r"(?:cpython-)?(\d+)\.(\d+)\.(\d+)(?:-.*)?")
_ASK_VERSION = "import sys; print('%d.%d.%d' % sys.version_info[:3])"


@dataclass(frozen=True)
class Interpreter:
    path: Path
    version: tuple[int, int, int]

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))


def choose(request: str) -> tuple[Interpreter, str]:
    """The interpreter for what a descriptor asks (`3.11`, `3.11.7`, `>=3.10`, '') and a notice or ''.

    A minor version or a set means its highest patch; an exact patch that is not here means the nearest
    one of the same minor, which the notice says. Raises BuildError naming what there is.
    """
    running = _running()
    if not request or (_is_set(request) and _matches(request, running)):
        return running, ""
    found = list(installed())
    if _is_set(request):
        fitting = [python for python in found if _matches(request, python)]
        return _highest(fitting, request, found), ""
    wanted = _numbers(request)
    same = [python for python in found if python.version[: len(wanted)] == wanted]
    if same or len(wanted) < 3:
        return _highest(same, request, found), ""
    minor = [python for python in found if python.version[:2] == wanted[:2]]
    _highest(minor, request, found)
    nearest = min(minor, key=lambda python: abs(python.version[2] - wanted[2]))
    return nearest, f"Python {request} is not on this machine; using {nearest.version_text}"


def installed() -> Iterator[Interpreter]:
    """Every interpreter of this machine: ours, pyenv's, uv's own, and those on PATH."""
    seen: set[Path] = set()
    for python in _candidates():
        real = python.path.resolve()
        if real not in seen:
            seen.add(real)
            yield python


def _candidates() -> Iterator[Interpreter]:
    yield _running()
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    managed = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    for directory in (pyenv, managed):
        yield from _versioned(directory)
    for entry in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if entry and not entry.rstrip("/").endswith("/shims"):
            yield from _on_path(Path(entry))


def _running() -> Interpreter:
    """The interpreter below our own virtual environment."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    return Interpreter(Path(base), (sys.version_info[0], sys.version_info[1], sys.version_info[2]))


def _versioned(directory: Path) -> Iterator[Interpreter]:
    """Installations whose directory is named for its version: no process is needed to know it."""
    if not directory.is_dir():
        return
    for child in sorted(directory.iterdir()):
        match = _VERSION.fullmatch(child.name)
        python = child / "bin" / "python3"
        if match and python.exists():
            major, minor, patch = map(int, match.groups())
            yield Interpreter(python, (major, minor, patch))


def _on_path(directory: Path) -> Iterator[Interpreter]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        if re.fullmatch(r"python3\.\d+", name):
            try:
                answer = ask([str(directory / name), "-I", "-S", "-c", _ASK_VERSION])
            except LaunchError:
                continue
            if answer.ok and (match := _VERSION.fullmatch(answer.stdout.strip())):
                major, minor, patch = map(int, match.groups())
                yield Interpreter(directory / name, (major, minor, patch))


def _highest(fitting: list[Interpreter], request: str, found: list[Interpreter]) -> Interpreter:
    if fitting:
        return max(fitting, key=lambda python: python.version)
    versions = sorted({python.version for python in found})
    have = ", ".join(".".join(map(str, version)) for version in versions)
    raise BuildError(
        f"the project wants Python {request}, and this machine has {have}",
        f"install it (for example `uv python install {request}`), or use --env-manager local",
    )


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
