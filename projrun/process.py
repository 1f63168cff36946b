"""Starting processes: the one place of projrun that does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from projrun.errors import LaunchError
from projrun.interrupts import uninterrupted
from projrun.output import is_terminal
from projrun.reaper import (
    TOKEN_VARIABLE,
    WATCHER_ENVIRON,
    kill_group,
    kill_strays,
    new_token,
    steps,
    watcher_argv,
)
from projrun.streams import Pump, channels, following_size
from projrun.usage import Usage

Variables = Mapping[str, str | None]
"""Environment variables to set on top of others; None removes one."""

GRACE_S = 10.0
"""How long a process may take to end after it was asked to."""
DRAIN_S = 1.0
"""How long output of background processes is awaited after their parent has ended."""


def merged(environ: Mapping[str, str], *layers: Variables) -> dict[str, str]:
    """`environ` with each layer on top of it."""
    result = dict(environ)
    for layer in layers:
        for name, value in layer.items():
            if value is None:
                result.pop(name, None)
            else:
                result[name] = value
    return result


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
) -> Answer:
    """Run a helper program to its end, with no terminal to prompt on. Raises LaunchError.

    The helper is a process group of its own: ^C reaches it once, from us, and it leaves nothing behind.
    """
    pipe = subprocess.PIPE
    with _popen(argv, cwd, environ, stdin=pipe, stdout=pipe, stderr=pipe) as child:
        try:
            stdout, stderr = child.communicate(stdin)
        except BaseException:
            _end_group(child, signal.SIGTERM, grace_s=2.0)
            raise
    return Answer(child.returncode, stdout.decode(errors="replace"), stderr.decode(errors="replace"))


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
    stderr = sys.stderr.fileno() if is_terminal(sys.stderr) else None
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


Detached = subprocess.Popen[bytes]


def detach(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    silent: bool = False,
    pass_fds: Sequence[int] = (),
) -> Detached:
    """Start a program that outlives us and the run that we are part of, without stdin. silent: no output."""
    own = merged(os.environ if environ is None else environ, {TOKEN_VARIABLE: None})
    stream = subprocess.DEVNULL if silent else None
    return _popen(argv, None, own, subprocess.DEVNULL, stream, stream, pass_fds)


class Child:
    """A supervised process: a group of its own, its output in a log and, live, on our own streams.

    out, err: file descriptors that its stdout and stderr are copied to, None for nowhere. Where they are
    terminals the child sees a terminal too, which changes its size with ours. It leads a session of its own,
    so ^C on the terminal reaches only us and we decide what the child is told; it can still read from the
    terminal. indexed: keep beside the log which stream each part came from. All that it started ends with
    it, and with us, even if we are killed.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None,
        environ: Mapping[str, str] | None,
        log: Path,
        stdin: int | None = None,
        out: int | None = None,
        err: int | None = None,
        indexed: bool = False,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._token = new_token()
        own = merged(os.environ if environ is None else environ, {TOKEN_VARIABLE: self._token})
        stdout, stderr = channels(out, err)
        self._terminals = {channel for channel in (stdout, stderr) if channel.is_terminal}
        watcher: _Watcher | None = None
        pump: Pump | None = None
        try:
            pump = Pump({stdout, stderr}, log, indexed=indexed)
            watcher = _Watcher(self._token)
            self._popen = _popen(argv, cwd, own, stdin, stdout.write_end, stderr.write_end)
        except BaseException:
            if watcher is not None:
                watcher.close()
            if pump is not None:
                pump.close()
            else:
                _close(stdout.read_end, stderr.read_end)
            raise
        finally:
            _close(stdout.write_end, stderr.write_end)
        self._started = time.monotonic()
        self.pid = self._popen.pid
        self.usage: Usage | None = None
        self._watcher, self._pump = watcher, pump
        watcher.tell(self.pid)
        self._pump.start()

    def wait(self, timeout_s: float | None = None) -> int:
        """The exit code as a shell has it (128 + n for signal n). Raises TimeoutError while it runs.

        `usage` is known afterwards.
        """
        with following_size(self._terminals, self._resized):
            if not self._has_ended(timeout_s):
                raise TimeoutError
        self._pump.join(DRAIN_S)
        kill_group(self.pid, signal.SIGKILL)  # what it left in the background ends with it
        kill_strays(self._token, after=self.pid)
        self._watcher.close()
        self._pump.join(DRAIN_S)
        code = self._popen.returncode
        return 128 - code if code < 0 else code

    def end(self, number: int, grace_s: float = GRACE_S) -> int:
        """End the whole group: signal `number`, then SIGTERM, then SIGKILL; a second ^C does not wait."""
        try:
            for step in steps(number):
                kill_group(self.pid, step)
                if self._has_ended(grace_s):
                    break
        except KeyboardInterrupt:
            with uninterrupted():
                kill_group(self.pid, signal.SIGKILL)
        return self.wait()

    def _resized(self) -> None:
        kill_group(self.pid, signal.SIGWINCH)

    def _has_ended(self, timeout_s: float | None) -> bool:
        """Wait for the process, for as long as that at most."""
        deadline = time.monotonic() + (timeout_s or 0.0)
        pause_s = 0.001
        while self._popen.returncode is None and not self._waited_for(block=timeout_s is None):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 2, 0.05)
        return True

    def _waited_for(self, *, block: bool) -> bool:
        """Ask the system, which tells the exit code and what the process took at once, and once."""
        try:
            pid, status, used = os.wait4(self.pid, 0 if block else os.WNOHANG)
        except ChildProcessError:  # somebody else was told
            self._popen.returncode = 0
            return True
        if not pid:
            return False
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        self.usage = Usage(
            wall_s=round(time.monotonic() - self._started, 3),
            cpu_s=round(used.ru_utime + used.ru_stime, 3),
            peak_memory_bytes=used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        )
        return True


class _Watcher:
    """A process that kills what has the token as soon as we are gone."""

    def __init__(self, token: str) -> None:
        read_end, self._write_end = os.pipe()
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            self._popen = _popen(watcher_argv(token), None, WATCHER_ENVIRON, read_end, null, null)
        except BaseException:
            os.close(self._write_end)
            raise
        finally:
            _close(read_end, null)

    def tell(self, group: int) -> None:
        with suppress(OSError):  # somebody killed it
            os.write(self._write_end, b"%d\n" % group)

    def close(self) -> None:
        if self._popen.returncode is None:
            self._popen.kill()
            self._popen.wait()
            os.close(self._write_end)


def _popen(
    argv: Sequence[str],
    cwd: Path | None,
    environ: Mapping[str, str] | None,
    stdin: int | None,
    stdout: int | None,
    stderr: int | None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=environ,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except FileNotFoundError as error:
        raise LaunchError(f"cannot start '{argv[0]}': {error.filename} not found", "install it") from None
    except (OSError, ValueError) as error:
        raise LaunchError(f"cannot start '{argv[0]}': {error}") from None


def _end_group(child: subprocess.Popen[bytes], number: int, grace_s: float) -> None:
    for step in steps(number):
        kill_group(child.pid, step)
        try:
            child.wait(grace_s)
            return
        except subprocess.TimeoutExpired:
            continue


def _close(*fds: int) -> None:
    for fd in set(fds):
        os.close(fd)
