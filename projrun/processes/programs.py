"""Programs that projrun calls: to their end, on the terminal, or apart. Supervised ones are in `children`."""

from __future__ import annotations

import math
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from projrun.console import is_quiet, is_terminal, one_line
from projrun.errors import LaunchError, UnavailableError
from projrun.processes import defer_signals, merge_environ, shell_text, signal_number, start_process
from projrun.processes.cgroups import command_outside_runs
from projrun.processes.child import HELPER_VARIABLE, TOKEN_VARIABLE, Child, find_family, kill_group, new_token
from projrun.processes.streams import read_chunk, write_all

LIMIT_VARIABLE = "PROJRUN_HELPER_TIMEOUT"
LIMIT_S = 3600.0
FOLLOWED_LIMIT_S = 6 * 3600.0
"""For what people see the progress of: installing, building images."""
GRACE_S = 2.0
"""How long a helper may take to end after it was asked to."""
DRAIN_S = 2.0
"""How long output is read after the end of a helper that left somebody behind with its pipes."""
LOOK_S = 0.25
"""How often a helper that is silent is looked at."""


class ProgramResult(msgspec.Struct, frozen=True):
    """What a finished helper process said."""

    code: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.code == 0


def run_program(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    errors: str = "replace",
    timeout_s: float | None = None,
) -> ProgramResult:
    """Run a helper program to its end, with no terminal to prompt on. Raises LaunchError, TimeoutError.

    The helper is a process group of its own: ^C reaches it once, from us, and then it is ended with all that
    it started. errors: what becomes of bytes of its stdout that are not UTF-8. Without a time of its own it
    has that of `LIMIT_VARIABLE`, and its end is an UnavailableError.
    """
    return _heard(argv, cwd, environ, stdin, errors, timeout_s, aloud=False)


def run_on_terminal(
    argv: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str] | None,
    errors: str = "replace",
    timeout_s: float | None,
) -> ProgramResult:
    """As `run_program`, on our own terminal: the helper may prompt there, and its stderr shows at once.

    It stays in our process group, else it could not read from the terminal.
    """
    return _heard(argv, cwd, environ, None, errors, timeout_s, aloud=True)


def _heard(
    argv: Sequence[str],
    cwd: Path | None,
    environ: Mapping[str, str] | None,
    stdin: bytes | None,
    errors: str,
    timeout_s: float | None,
    *,
    aloud: bool,
) -> ProgramResult:
    limit_s = time_limit_s(LIMIT_S) if timeout_s is None else timeout_s
    mark = new_token()
    own = merge_environ(os.environ if environ is None else environ, {HELPER_VARIABLE: mark})
    pipe = subprocess.PIPE
    with defer_signals():
        source = subprocess.DEVNULL if not stdin else pipe
        child = start_process(argv, cwd, own, source, pipe, pipe, apart=not aloud)
    try:
        stdout, stderr = _conversation(child, stdin or b"", limit_s, sys.stderr.fileno() if aloud else None)
    except TimeoutError:
        _end_family(child, mark, apart=not aloud)
        if timeout_s is None:
            raise time_limit_error(argv, limit_s) from None
        raise
    except BaseException:
        _end_family(child, mark, apart=not aloud)
        raise
    finally:
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                with suppress(OSError):  # it did not read all that it was told
                    stream.close()
    return ProgramResult(child.returncode, stdout.decode(errors=errors), stderr.decode(errors="replace"))


def _conversation(
    child: subprocess.Popen[bytes], stdin: bytes, limit_s: float, echo: int | None
) -> tuple[bytes, bytes]:
    """Its stdout and stderr until it has ended. Raises TimeoutError, and leaves the process to the caller.

    What it left in the background may hold the pipes: they are read for `DRAIN_S` after its end at most.
    echo: a file descriptor that gets a copy of its stderr.
    """
    assert child.stdout is not None and child.stderr is not None
    deadline, ended = time.monotonic() + limit_s, math.inf
    heard: dict[int, list[bytes]] = {child.stdout.fileno(): [], child.stderr.fileno(): []}
    unsaid = memoryview(stdin)
    with selectors.DefaultSelector() as selector:
        for fd in heard:
            selector.register(fd, selectors.EVENT_READ)
        if child.stdin is not None:
            os.set_blocking(child.stdin.fileno(), False)
            selector.register(child.stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            now = time.monotonic()
            if now > min(deadline, ended + DRAIN_S):
                break
            for ready, _ in selector.select(min(LOOK_S, max(deadline - now, 0))):
                if ready.fileobj is child.stdin:
                    unsaid = _said(ready.fd, unsaid)
                    if not unsaid:
                        selector.unregister(child.stdin)
                        child.stdin.close()
                elif chunk := read_chunk(ready.fd):
                    heard[ready.fd].append(chunk)
                    if echo is not None and ready.fd == child.stderr.fileno():
                        write_all(echo, chunk)
                else:
                    selector.unregister(ready.fd)
            if ended == math.inf and child.poll() is not None:
                ended = time.monotonic()
    try:
        child.wait(max(deadline - time.monotonic(), 0.0))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    stdout, stderr = (b"".join(chunks) for chunks in heard.values())
    return stdout, stderr


def _said(fd: int, unsaid: memoryview) -> memoryview:
    """What is left to say after as much as the pipe takes; nothing when nobody reads it any more."""
    try:
        return unsaid[os.write(fd, unsaid) :]
    except BlockingIOError:
        return unsaid
    except OSError:
        return unsaid[:0]


def _end_family(child: subprocess.Popen[bytes], mark: str, *, apart: bool) -> None:
    """End a helper and all that it started, wherever that went; even a second ^C does not leave it behind."""
    try:
        if not _is_ended(child, mark, signal.SIGTERM, apart=apart):
            _is_ended(child, mark, signal.SIGKILL, apart=apart)
    except BaseException:
        with defer_signals():
            _is_ended(child, mark, signal.SIGKILL, apart=apart)
        raise


def _is_ended(child: subprocess.Popen[bytes], mark: str, number: int, *, apart: bool) -> bool:
    """Send the signal to each of the family once, and wait a little for the end of all."""
    if apart:
        kill_group(child.pid, number)
    elif child.poll() is None:
        child.send_signal(number)
    told = {child.pid}
    deadline = time.monotonic() + GRACE_S
    while True:
        has_ended = child.poll() is not None
        family = find_family(0 if has_ended else child.pid, mark)
        if has_ended and not family:
            return True
        for pid in family - told:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        told |= family
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def time_limit_s(default_s: float) -> float:
    """Seconds that a helper may take which has no time of its own."""
    from projrun.documents.variables import number

    return number(LIMIT_VARIABLE, default_s) if LIMIT_VARIABLE in os.environ else default_s


def time_limit_error(argv: Sequence[str], limit_s: float) -> UnavailableError:
    return UnavailableError(
        f"'{one_line(shell_text(argv), 120)}' did not end within {limit_s:g} s and was ended",
        f"see what it waits for, or set {LIMIT_VARIABLE} to wait longer",
    )


def run_with_progress(
    argv: Sequence[str],
    *,
    log: Path,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Run a helper program whose progress people want to see: on the terminal if there is one, and in `log`.

    Returns its exit code. stdout goes where stderr goes: it is talk, not data. Raises UnavailableError when
    it takes longer than `LIMIT_VARIABLE` allows.
    """
    stderr = sys.stderr.fileno() if is_terminal(sys.stderr) and not is_quiet() else None
    child: Child | None = None
    try:
        with defer_signals():
            null = subprocess.DEVNULL
            child = Child(argv, cwd=cwd, environ=environ, log=log, stdin=null, out=stderr, err=stderr)
        limit_s = time_limit_s(FOLLOWED_LIMIT_S)
        return child.wait(limit_s)
    except TimeoutError:
        assert child is not None
        child.end(signal.SIGTERM)
        raise time_limit_error(argv, limit_s) from None
    except BaseException:
        if child is not None:
            child.end(signal.SIGTERM)
        raise


def run_interactive(argv: Sequence[str], *, cwd: Path, environ: Mapping[str, str]) -> int:
    """Hand our terminal to a program until it ends; its exit code as a shell has it. Raises LaunchError.

    It stays in our process group: ^C is its own to answer. Other signals that end us are passed on to it, and
    what has not ended then is killed. It has no time limit, for somebody sits before it.
    """
    mark = new_token()
    try:
        child = subprocess.Popen(list(argv), cwd=cwd, env={**environ, HELPER_VARIABLE: mark})
    except (OSError, ValueError) as error:
        raise LaunchError(f"cannot start '{argv[0]}': {error}", "check the name") from None
    while True:
        try:
            code = child.wait()
            return 128 - code if code < 0 else code
        except KeyboardInterrupt as interrupt:
            if (number := signal_number(interrupt)) != signal.SIGINT:
                child.send_signal(number)
                _end_family(child, mark, apart=False)


def start_on_pipe(argv: Sequence[str]) -> DetachedProcess:
    """Start a program that outlives us and reads from a pipe of ours; what it says is not heard."""
    null = subprocess.DEVNULL
    own = _outliving(os.environ)
    return start_process(command_outside_runs(argv, own), None, own, subprocess.PIPE, null, null, told=False)


DetachedProcess = subprocess.Popen[bytes]


def start_detached(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    silent: bool = False,
    pass_fds: Sequence[int] = (),
) -> DetachedProcess:
    """Start a program that outlives us and the run that we are part of, without stdin. silent: no output."""
    own = _outliving(os.environ if environ is None else environ)
    stream = subprocess.DEVNULL if silent else None
    argv = command_outside_runs(argv, own)
    return start_process(argv, None, own, subprocess.DEVNULL, stream, stream, pass_fds=pass_fds)


def _outliving(environ: Mapping[str, str]) -> dict[str, str]:
    """That of a process which does not end with the run that we are part of."""
    return merge_environ(environ, {TOKEN_VARIABLE: None})


# The pause lets projrun end first: the engine's work would take a processor from what the user waits for.
_EXECUTE = """
trap '' INT TERM HUP
read -r _
sleep 0.05
did=$("$@" 2>/dev/null)
[ -n "$did" ] || { sleep 1; "$@"; }
"""
_executors: list[DetachedProcess] = []
"""Those that may still run; nobody waits for them, but they must not stay as zombies."""


class ExitProgram:
    """A program to run when this process ends, by whatever signal, or when it is time.

    One that prints nothing found nothing to do and is run once more: what it is to end may just start.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._executor = start_on_pipe(["/bin/sh", "-c", _EXECUTE, "sh", *argv])
        _executors[:] = [other for other in _executors if other.poll() is None]
        _executors.append(self._executor)

    def execute(self) -> None:
        """Have it done now, and do not wait. Once more is fine."""
        if self._executor.stdin is not None and not self._executor.stdin.closed:
            self._executor.stdin.close()
