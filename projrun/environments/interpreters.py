"""The interpreters of this machine, and the choice of a project's: one of these, or one that uv downloads.

Each is asked once for its version, and again when its file has changed. Names prove nothing: links may be
dead, directories may be named for another version, and shims answer as the directory has it. An interpreter
that does not answer as itself is passed over.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from projrun.console import one_line, say, warn
from projrun.disk import home_from
from projrun.disk.file_operations import temporary_directory, write_atomically
from projrun.documents.variables import is_on
from projrun.environments.uv.program import follow_cleaned, uv_binary, uv_environ
from projrun.errors import BuildError, LaunchError
from projrun.net import is_offline
from projrun.processes.programs import run_program

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

DOWNLOADS_VARIABLE = "PROJRUN_PYTHON_DOWNLOADS"
OLDEST = (3, 8)  # the oldest version that uv and virtualenv make environments for
NOTES = "pythons-v1.json"  # file in the cache with the answer of each interpreter
PATIENCE_S = 20.0
_DIRECTORY_NAME = re.compile(r"(?:cpython-)?\d+\.\d+(?:\.\d+)?(?:-.*)?")
_QUESTION = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.executable)"
_ANSWER = re.compile(r"(\d+\.\d+\.\d+) (.+)")


class Interpreter(msgspec.Struct, frozen=True):
    path: Path
    version: tuple[int, int, int]

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))


class _Answer(msgspec.Struct, frozen=True):
    """The answer of one interpreter, with the state of its file at that time."""

    mtime_ns: int
    size: int
    version: str  # empty for a broken interpreter or a shim


def running() -> Interpreter:
    """Return the interpreter below our own virtual environment."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    return Interpreter(Path(base), (sys.version_info[0], sys.version_info[1], sys.version_info[2]))


def installed() -> Iterator[Interpreter]:
    """Yield every working interpreter of this machine: ours, pyenv's, uv's own, and those on PATH."""
    ours = running()
    yield ours
    seen = {os.path.realpath(ours.path)}
    notes = home_from().cache / NOTES
    before = _read_notes(notes)
    answers: dict[str, _Answer] = {}
    for path in _candidates():
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        answer = _ask(path, before.get(str(path)))
        if answer is None:
            continue
        answers[str(path)] = answer
        if answer.version:
            major, minor, patch = _numbers(answer.version)
            yield Interpreter(path, (major, minor, patch))
    if not answers.items() <= before.items():
        _write_notes(notes, {**before, **answers})


def version_at(path: Path) -> str:
    """Return the version of one interpreter as it is now; '' when it does not work."""
    notes = home_from().cache / NOTES
    before = _read_notes(notes)
    answer = _ask(path, before.get(str(path)))
    if answer is None:
        return ""
    if before.get(str(path)) != answer:
        _write_notes(notes, {**before, str(path): answer})
    return answer.version


def _candidates() -> Iterator[Path]:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    managed = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    for directory in (pyenv, managed):
        # `3.12 -> 3.12.4` moves on with the next patch: an environment is made from what stays.
        for name in sorted(_list(directory), key=lambda name: os.path.islink(directory / name)):
            if _DIRECTORY_NAME.fullmatch(name):
                yield directory / name / "bin" / "python3"
    for entry in os.environ.get("PATH", os.defpath).split(os.pathsep):
        # A shim is a shell script, which takes many times longer to answer than an interpreter.
        if entry and not entry.rstrip("/").endswith("/shims"):
            for name in _list(Path(entry)):
                if re.fullmatch(r"python3\.\d+", name):
                    yield Path(entry, name)


def _list(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _ask(path: Path, before: _Answer | None) -> _Answer | None:
    """Return the interpreter's answer, None without a file. It is asked again if its file has changed."""
    try:
        facts = path.stat()
    except OSError:
        return None
    if before and (before.mtime_ns, before.size) == (facts.st_mtime_ns, facts.st_size):
        return before
    return _Answer(facts.st_mtime_ns, facts.st_size, _version(path))


def _version(path: Path) -> str:
    try:
        answer = run_program([str(path), "-I", "-S", "-c", _QUESTION], timeout_s=PATIENCE_S)
    except (LaunchError, TimeoutError):
        return ""
    match = _ANSWER.fullmatch(answer.stdout.strip())
    # A program that starts another one in its place is a shim.
    is_itself = match and os.path.realpath(match[2]) == os.path.realpath(path)
    return match[1] if answer.ok and match and is_itself else ""


def _read_notes(notes: Path) -> dict[str, _Answer]:
    try:
        return msgspec.json.decode(notes.read_bytes(), type=dict[str, _Answer])
    except (OSError, msgspec.MsgspecError):
        return {}


def _write_notes(notes: Path, answers: dict[str, _Answer]) -> None:
    home_from().mark_cache()
    present = {path: answer for path, answer in answers.items() if os.path.exists(path)}
    write_atomically(notes, msgspec.json.encode(present))


def choose(request: str, log: Path | None = None) -> tuple[Interpreter, str]:
    """Return the interpreter for a descriptor's `3.11`, `3.11.7`, `>=3.10` or '', and a notice or ''.

    A minor version or a set means its highest patch; an exact patch that is not here means the nearest one of
    the same minor version, which the notice says. Raises BuildError naming those that are here.
    log: gets the output of a download.
    """
    ours = running()
    if not request or (_is_set(request) and _matches(request, ours)):
        return ours, ""
    present = list(_supported())
    fitting = _fitting(request, present)
    if not fitting and _may_download():
        present = _with_download(request, present, log)
        fitting = _fitting(request, present)
    if fitting:
        return max(fitting, key=lambda python: python.version), ""
    if is_exact(request):
        *minor, patch = _numbers(request)
        if same_minor := [python for python in present if python.version[:2] == tuple(minor)]:
            nearest = min(same_minor, key=lambda python: abs(python.version[2] - patch))
            return nearest, f"Python {request} is not on this machine; using {nearest.version_text}"
    raise _missing(request, present)


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


def _fitting(request: str, present: list[Interpreter]) -> list[Interpreter]:
    if _is_set(request):
        return [python for python in present if _matches(request, python)]
    numbers = _numbers(request)
    return [python for python in present if python.version[: len(numbers)] == numbers]


def _supported() -> Iterator[Interpreter]:
    return (python for python in installed() if python.version >= OLDEST)


def _may_download(environ: Mapping[str, str] = os.environ) -> bool:
    """Return True if the user allows downloads, by projrun's variable or by uv's."""
    if is_offline(environ):
        return False
    ours = environ.get(DOWNLOADS_VARIABLE, "")
    return is_on(ours) if ours else environ.get("UV_PYTHON_DOWNLOADS", "") in ("automatic", "true")


def _with_download(request: str, present: list[Interpreter], log: Path | None) -> list[Interpreter]:
    """Download `request` by uv and return the interpreters. Fail only if no other patch serves."""
    if not _is_set(request) and _numbers(request) < OLDEST:
        return present
    try:
        _download(request, log)
    except BuildError as error:
        minor = _numbers(request)[:2] if is_exact(request) else None
        if not any(python.version[:2] == minor for python in present):
            raise BuildError(f"{error.message}; this machine has {_listed(present)}", error.hint) from None
        warn(str(error.message))
        return present
    return list(_supported())


def _missing(request: str, present: list[Interpreter]) -> BuildError:
    if not _is_set(request) and _numbers(request) < OLDEST[: len(_numbers(request))]:
        return BuildError(
            f"the project wants Python {request}, and environments can be made for 3.8 and newer; "
            f"this machine has {_listed(present)}",
            "name a newer Python in the project, or use --env-manager local or conda",
        )
    message = f"the project wants Python {request}, and this machine has {_listed(present)}"
    if _downloadable(request) == []:
        return BuildError(
            f"{message}; uv has {', '.join(_downloadable() or ()) or 'none'} to download",
            "name one of these in the project, or use --env-manager local",
        )
    return BuildError(
        message,
        f"install it (for example `uv python install '{request}'`), let projrun do so with "
        f"{DOWNLOADS_VARIABLE}=1, or use --env-manager local",
    )


def _listed(present: Iterable[Interpreter]) -> str:
    versions = sorted({python.version for python in present})
    return ", ".join(".".join(map(str, version)) for version in versions) or "none"


def _is_set(request: str) -> bool:
    return not re.fullmatch(r"\d+(\.\d+){0,2}", request)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _matches(request: str, python: Interpreter) -> bool:
    return parse_versions(request).contains(python.version_text)


def parse_versions(request: str) -> SpecifierSet:
    """Parse a set of Python versions such as `>=3.10`. Raises BuildError."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(request.replace(" ", ""))
    except InvalidSpecifier:
        raise BuildError(
            f"'{request}' is not a Python version", "write one such as '3.11', '3.11.7' or '>=3.10'"
        ) from None


def _download(request: str, log: Path | None) -> None:
    """Have uv install the Python that a descriptor asks for among its own. Raises BuildError."""
    say(f"downloading Python {request}")
    command = [uv_binary(), "python", "install", "--no-bin", request]
    with temporary_directory() as temporary, uv_environ() as environ:
        environ["UV_PYTHON_DOWNLOADS"] = "manual"
        code, output = follow_cleaned(command, log or temporary / "download.log", None, environ, None)
    if code == 0:
        return
    lines = [
        re.sub(r"^[\s│├╰─▶×]+|^\s*(error|Caused by): ", "", line).strip() for line in output.splitlines()
    ]
    reason = one_line(": ".join(line.rstrip(":. ") for line in lines if line))
    raise BuildError(
        f"Python {request} could not be downloaded: {reason}",
        "check the network and UV_PYTHON_INSTALL_MIRROR, or install it another way",
    )


class _Download(msgspec.Struct, frozen=True):
    """One interpreter in the answer of `uv python list`."""

    version: str
    implementation: str
    variant: str = "default"


def _downloadable(request: str = "") -> list[str] | None:
    """Return versions that uv can download, newest first; without a request the newest of each minor one.

    None where uv does not know without a network.
    """
    fitting = [request] if request else []
    listing = [uv_binary(), "python", "list", "--only-downloads", "--output-format", "json", *fitting]
    with uv_environ() as environ:
        answer = run_program(listing, environ=environ)
    try:
        downloads = msgspec.json.decode(answer.stdout, type=list[_Download])
    except msgspec.MsgspecError:
        return None
    plain = [d.version for d in downloads if (d.implementation, d.variant) == ("cpython", "default")]
    return [version for version in plain if is_exact(version)]
