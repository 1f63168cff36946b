"""Interpreters on this machine. Each is asked once for its version, and again when its file has changed.

Names prove nothing: links may be dead, directories may be named for another version, and shims cost much
and answer as the directory has it. What does not answer as itself is passed over.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from projrun.disk import home_from
from projrun.disk.file_operations import write_atomically
from projrun.errors import LaunchError
from projrun.processes.programs import run_program

KEPT = "pythons-v1.json"
"""File in the cache: what each interpreter said."""
PATIENCE_S = 20.0
_NAME = re.compile(r"(?:cpython-)?\d+\.\d+(?:\.\d+)?(?:-.*)?")
_ASK = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.executable)"
_ANSWER = re.compile(r"(\d+\.\d+\.\d+) (.+)")


class Interpreter(msgspec.Struct, frozen=True):
    path: Path
    version: tuple[int, int, int]

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))


class _Said(msgspec.Struct, frozen=True):
    """The answer of one interpreter, with the state of its file at that time."""

    mtime_ns: int
    size: int
    version: str
    """Empty: it is broken, or a shim."""


def running() -> Interpreter:
    """The interpreter below our own virtual environment."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    return Interpreter(Path(base), (sys.version_info[0], sys.version_info[1], sys.version_info[2]))


def installed() -> Iterator[Interpreter]:
    """Every working interpreter of this machine: ours, pyenv's, uv's own, and those on PATH."""
    ours = running()
    yield ours
    seen = {os.path.realpath(ours.path)}
    place = home_from().cache / KEPT
    before = _read(place)
    now: dict[str, _Said] = {}
    for path in _candidates():
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        said = _said(path, before.get(str(path)))
        if said is None:
            continue
        now[str(path)] = said
        if said.version:
            major, minor, patch = map(int, said.version.split("."))
            yield Interpreter(path, (major, minor, patch))
    if not now.items() <= before.items():
        _keep(place, {**before, **now})


def version_at(path: Path) -> str:
    """The version of one interpreter as it is now; '' when it does not work."""
    place = home_from().cache / KEPT
    before = _read(place)
    said = _said(path, before.get(str(path)))
    if said is None:
        return ""
    if before.get(str(path)) != said:
        _keep(place, {**before, str(path): said})
    return said.version


def _candidates() -> Iterator[Path]:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    managed = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    for directory in (pyenv, managed):
        # `3.12 -> 3.12.4` moves on with the next patch: an environment is made from what stays.
        for name in sorted(_names(directory), key=lambda name: os.path.islink(directory / name)):
            if _NAME.fullmatch(name):
                yield directory / name / "bin" / "python3"
    for entry in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if entry and not entry.rstrip("/").endswith("/shims"):
            for name in _names(Path(entry)):
                if re.fullmatch(r"python3\.\d+", name):
                    yield Path(entry, name)


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _said(path: Path, before: _Said | None) -> _Said | None:
    """Return the interpreter's answer, None without a file. It is asked again if its file has changed."""
    try:
        facts = path.stat()
    except OSError:
        return None
    if before and (before.mtime_ns, before.size) == (facts.st_mtime_ns, facts.st_size):
        return before
    return _Said(facts.st_mtime_ns, facts.st_size, _version(path))


def _version(path: Path) -> str:
    try:
        answer = run_program([str(path), "-I", "-S", "-c", _ASK], timeout_s=PATIENCE_S)
    except (LaunchError, TimeoutError):
        return ""
    match = _ANSWER.fullmatch(answer.stdout.strip())
    # What starts another program in its place is a shim.
    is_itself = match and os.path.realpath(match[2]) == os.path.realpath(path)
    return match[1] if answer.ok and match and is_itself else ""


def _read(place: Path) -> dict[str, _Said]:
    try:
        return msgspec.json.decode(place.read_bytes(), type=dict[str, _Said])
    except (OSError, msgspec.MsgspecError):
        return {}


def _keep(place: Path, said: dict[str, _Said]) -> None:
    home_from().mark_cache()
    there = {path: one for path, one in said.items() if os.path.exists(path)}
    write_atomically(place, msgspec.json.encode(there))
