"""Programs that projrun calls: to their end, on the terminal, or apart. Supervised ones are in `children`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from projrun.cgroups import started_outside
from projrun.children import Child
from projrun.errors import LaunchError
from projrun.interrupts import signal_of, uninterrupted
from projrun.output import is_quiet, is_terminal
from projrun.reaper import TOKEN_VARIABLE, kill_group, steps
from projrun.starting import merged, popen
from projrun.streams import read, write


class Answer(msgspec.Struct, frozen=True):
    """What a finished helper process said."""

    code: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.code == 0


def ask(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    errors: str = "replace",
    timeout_s: float | None = None,
) -> Answer:
    """Run a helper program to its end, with no terminal to prompt on. Raises LaunchError, TimeoutError.

    The helper is a process group of its own: ^C reaches it once, from us, and it leaves nothing behind.
    errors: what becomes of bytes of its stdout that are not UTF-8.
    """
    pipe = subprocess.PIPE
    with popen(argv, cwd, environ, stdin=pipe, stdout=pipe, stderr=pipe) as child:
        try:
            stdout, stderr = child.communicate(stdin, timeout_s)
        except BaseException as error:
            _end_group(child, signal.SIGTERM, grace_s=2.0)
            raise TimeoutError if isinstance(error, subprocess.TimeoutExpired) else error from None
    return Answer(child.returncode, stdout.decode(errors=errors), stderr.decode(errors="replace"))


def ask_aloud(
    argv: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str] | None,
    errors: str = "replace",
    timeout_s: float | None,
) -> Answer:
    """As `ask`, on our own terminal: the helper may prompt there, and its stderr shows at once."""
    heard: list[bytes] = []

    def hear(fd: int) -> None:
        while chunk := read(fd):
            heard.append(chunk)
            write(sys.stderr.fileno(), chunk)

    def end_late() -> None:
        late.set()
        child.terminate()

    late = threading.Event()
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with popen(argv, cwd, environ, stdin=null, stdout=pipe, stderr=pipe, apart=False) as child:
        assert child.stdout is not None and child.stderr is not None
        listener = threading.Thread(target=hear, args=(child.stderr.fileno(),), daemon=True)
        alarm = threading.Timer(timeout_s or threading.TIMEOUT_MAX, end_late)
        alarm.daemon = True
        listener.start()
        alarm.start()
        try:
            stdout = child.stdout.read()
            child.wait()
            listener.join()
        except BaseException:
            child.terminate()
            raise
        finally:
            alarm.cancel()
    if late.is_set():
        raise TimeoutError
    return Answer(child.returncode, stdout.decode(errors=errors), b"".join(heard).decode(errors="replace"))


def follow(
    argv: Sequence[str],
    *,
    log: Path,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Run a helper program whose progress people want to see: on the terminal if there is one, and in `log`.

    Returns its exit code. stdout goes where stderr goes: it is talk, not data.
    """
    stderr = sys.stderr.fileno() if is_terminal(sys.stderr) and not is_quiet() else None
    child: Child | None = None
    try:
        with uninterrupted():
            null = subprocess.DEVNULL
            child = Child(argv, cwd=cwd, environ=environ, log=log, stdin=null, out=stderr, err=stderr)
        return child.wait()
    except BaseException:
        if child is not None:
            child.end(signal.SIGTERM)
        raise


def interact(argv: Sequence[str], *, cwd: Path, environ: Mapping[str, str]) -> int:
    """Hand our terminal to a program until it ends; its exit code as a shell has it. Raises LaunchError.

    It stays in our process group: ^C is its own to answer, other signals are passed on to it.
    """
    try:
        child = subprocess.Popen(list(argv), cwd=cwd, env=environ)
    except (OSError, ValueError) as error:
        raise LaunchError(f"cannot start '{argv[0]}': {error}", "check the name") from None
    while True:
        try:
            code = child.wait()
            return 128 - code if code < 0 else code
        except KeyboardInterrupt as interrupt:
            if signal_of(interrupt) != signal.SIGINT:
                child.send_signal(signal_of(interrupt))


def start_waiting(argv: Sequence[str]) -> Detached:
    """Start a program that outlives us and reads from a pipe of ours; what it says is not heard."""
    null = subprocess.DEVNULL
    own = _outliving(os.environ)
    return popen(started_outside(argv, own), None, own, subprocess.PIPE, null, null, told=False)


Detached = subprocess.Popen[bytes]


def detach(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    silent: bool = False,
    pass_fds: Sequence[int] = (),
) -> Detached:
    """Start a program that outlives us and the run that we are part of, without stdin. silent: no output."""
    own = _outliving(os.environ if environ is None else environ)
    stream = subprocess.DEVNULL if silent else None
    argv = started_outside(argv, own)
    return popen(argv, None, own, subprocess.DEVNULL, stream, stream, pass_fds=pass_fds)


def _outliving(environ: Mapping[str, str]) -> dict[str, str]:
    """That of a process which does not end with the run that we are part of."""
    return merged(environ, {TOKEN_VARIABLE: None})


def _end_group(child: subprocess.Popen[bytes], number: int, grace_s: float) -> None:
    for step in steps(number):
        kill_group(child.pid, step)
        try:
            child.wait(grace_s)
            return
        except subprocess.TimeoutExpired:
            continue
