"""Helper programs: run to their end, on the terminal, or detached. `child` has the supervised processes."""

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
from projrun.console.masking import output_secrets
from projrun.errors import LaunchError, UnavailableError
from projrun.processes import defer_signals, merge_environ, shell_text, signal_number, start_process
from projrun.processes.cgroups import command_outside_runs
from projrun.processes.child import HELPER_VARIABLE, TOKEN_VARIABLE, Child, find_family, kill_group, new_token
from projrun.processes.streams import read_chunk, write_all

LIMIT_VARIABLE = "PROJRUN_HELPER_TIMEOUT"
LIMIT_S = 3600.0
# Time limit in seconds of programs whose progress is shown: installing, building images
FOLLOWED_LIMIT_S = 6 * 3600.0
GRACE_S = 2.0  # seconds that a helper may take to end after it was asked to
DRAIN_S = 2.0  # seconds that output is read after a helper has ended, if a background process holds its pipes
LOOK_S = 0.25  # seconds between checks whether a silent helper has ended


class ProgramResult(msgspec.Struct, frozen=True):
    """Exit code and output of a helper that has ended."""

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
    on_terminal: bool = False,
) -> ProgramResult:
    """Run a helper program to its end. Raises LaunchError, TimeoutError.

    It leads a process group of its own without a terminal; ^C ends it and all that it started.
    errors: how bytes of its stdout that are not UTF-8 are decoded.
    timeout_s: None stands for the limit of `LIMIT_VARIABLE`; exceeding that raises UnavailableError.
    on_terminal: it may prompt on our terminal, and its stderr is shown live. Then it stays in our process
    group, because a background group may not read from the terminal.
    """
    limit_s = time_limit_s(LIMIT_S) if timeout_s is None else timeout_s
    token = new_token()
    own = merge_environ(os.environ if environ is None else environ, {HELPER_VARIABLE: token})
    pipe = subprocess.PIPE
    with defer_signals():
        source = subprocess.DEVNULL if not stdin else pipe
        child = start_process(argv, cwd, own, source, pipe, pipe, new_session=not on_terminal)
    try:
        stdout, stderr = _communicate(child, stdin, limit_s, sys.stderr.fileno() if on_terminal else None)
    except BaseException as error:
        _end_family(child, token, own_group=not on_terminal)
        if isinstance(error, TimeoutError) and timeout_s is None:
            raise time_limit_error(argv, limit_s) from None
        raise
    finally:
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                with suppress(OSError):  # it did not read all that it was told
                    stream.close()
    return ProgramResult(child.returncode, stdout.decode(errors=errors), stderr.decode(errors="replace"))


def _communicate(
    child: subprocess.Popen[bytes], stdin: bytes, limit_s: float, echo: int | None
) -> tuple[bytes, bytes]:
    """Return its stdout and stderr when it has ended. Raises TimeoutError, with the process still running.

    A background process may hold the pipes, so they are read for `DRAIN_S` after the end at most.
    echo: a file descriptor that gets a copy of its stderr.
    """
    assert child.stdout is not None and child.stderr is not None
    deadline, ended = time.monotonic() + limit_s, math.inf
    output: dict[int, list[bytes]] = {child.stdout.fileno(): [], child.stderr.fileno(): []}
    unwritten = memoryview(stdin)
    with selectors.DefaultSelector() as selector:
        for fd in output:
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
                    unwritten = _write_some(ready.fd, unwritten)
                    if not unwritten:
                        selector.unregister(child.stdin)
                        child.stdin.close()
                elif chunk := read_chunk(ready.fd):
                    output[ready.fd].append(chunk)
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
    stdout, stderr = (b"".join(chunks) for chunks in output.values())
    return stdout, stderr


def _write_some(fd: int, unwritten: memoryview) -> memoryview:
    """Write as much as the pipe takes and return the rest; nothing when the reader is gone."""
    try:
        return unwritten[os.write(fd, unwritten) :]
    except BlockingIOError:
        return unwritten
    except OSError:
        return unwritten[:0]


def _end_family(child: subprocess.Popen[bytes], token: str, *, own_group: bool) -> None:
    """End a helper and all that it started; a second ^C kills them at once."""
    try:
        if not _try_end(child, token, signal.SIGTERM, own_group=own_group):
            _try_end(child, token, signal.SIGKILL, own_group=own_group)
    except BaseException:
        with defer_signals():
            _try_end(child, token, signal.SIGKILL, own_group=own_group)
        raise


def _try_end(child: subprocess.Popen[bytes], token: str, number: int, *, own_group: bool) -> bool:
    """Send the signal once to each process of the family; return True if all end within `GRACE_S`."""
    if own_group:
        kill_group(child.pid, number)
    elif child.poll() is None:
        child.send_signal(number)
    signalled = {child.pid}
    deadline = time.monotonic() + GRACE_S
    while True:
        has_ended = child.poll() is not None
        family = find_family(0 if has_ended else child.pid, token)
        if has_ended and not family:
            return True
        for pid in family - signalled:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        signalled |= family
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def time_limit_s(default_s: float) -> float:
    """Return the seconds that `LIMIT_VARIABLE` gives a helper, else `default_s`."""
    from projrun.documents.variables import read_number

    return read_number(LIMIT_VARIABLE, default_s) if LIMIT_VARIABLE in os.environ else default_s


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
    """Run a helper whose output goes to `log` and to the terminal, if there is one; return its exit code.

    Its stdout goes to stderr, because it is talk, not data. Raises UnavailableError when it takes longer than
    `LIMIT_VARIABLE` allows.
    """
    stderr = sys.stderr.fileno() if is_terminal(sys.stderr) and not is_quiet() else None
    child: Child | None = None
    try:
        with defer_signals():
            null = subprocess.DEVNULL
            masks = output_secrets()
            child = Child(
                argv, cwd=cwd, environ=environ, log=log, stdin=null, out=stderr, err=stderr, masks=masks
            )
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
    """Give our terminal to a program until it ends; return its exit code as a shell has it. Raises
    LaunchError.

    It stays in our process group and handles ^C itself. Other signals that end us are passed on, and
    processes that do not end then are killed. It has no time limit, because a person uses it.
    """
    token = new_token()
    try:
        child = subprocess.Popen(list(argv), cwd=cwd, env={**environ, HELPER_VARIABLE: token})
    except (OSError, ValueError) as error:
        raise LaunchError(f"cannot start '{argv[0]}': {error}", "check the name") from None
    while True:
        try:
            code = child.wait()
            return 128 - code if code < 0 else code
        except KeyboardInterrupt as interrupt:
            if (number := signal_number(interrupt)) != signal.SIGINT:
                child.send_signal(number)
                _end_family(child, token, own_group=False)


DetachedProcess = subprocess.Popen[bytes]


def start_detached(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    silent: bool = False,
    pass_fds: Sequence[int] = (),
) -> DetachedProcess:
    """Start a program that outlives us and the run that we are part of, without stdin. silent: no output."""
    own = _detached_environ(os.environ if environ is None else environ)
    stream = subprocess.DEVNULL if silent else None
    argv = command_outside_runs(argv, own)
    return start_process(argv, None, own, subprocess.DEVNULL, stream, stream, pass_fds=pass_fds)


def _detached_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that does not end with the run that we are part of."""
    return merge_environ(environ, {TOKEN_VARIABLE: None})


# The pause lets projrun end first, so that the engine's work takes no processor from what the user waits for.
_EXECUTE = """
trap '' INT TERM HUP
read -r _
sleep 0.05
did=$("$@" 2>/dev/null)
[ -n "$did" ] || { sleep 1; "$@"; }
"""
# PIDs of shells that may still run. Nobody waits for them, but polling keeps them from staying zombies.
_shells: list[int] = []


class ExitProgram:
    """A program that runs when this process ends, by whatever signal, or when `start` is called.

    A shell waits on a pipe of ours, so it notices every way that we can end. A program that prints nothing
    found nothing to do and is run once more, because what it is to end may just be starting.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        own, null = _detached_environ(os.environ), subprocess.DEVNULL
        shell = command_outside_runs(["/bin/sh", "-c", _EXECUTE, "sh", *argv], own)
        read_end, self._write_end = os.pipe()
        try:
            process = start_process(shell, None, own, read_end, null, null, explained=False)
        except BaseException:
            os.close(self._write_end)
            raise
        finally:
            os.close(read_end)
        # It outlives us on purpose, of which Popen would warn when it is collected without an exit code.
        process.returncode = 0
        _shells[:] = [pid for pid in _shells if not _is_reaped(pid)]
        _shells.append(process.pid)

    def start(self) -> None:
        """Run the program now, without waiting for it. May be called again."""
        if self._write_end >= 0:
            os.close(self._write_end)
            self._write_end = -1


def _is_reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:  # somebody else reaped it
        return True
