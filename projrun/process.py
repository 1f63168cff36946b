"""Starting processes: the one place of projrun that does."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from projrun.errors import LaunchError
from projrun.interrupts import uninterrupted
from projrun.output import is_terminal, warn

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
    null = subprocess.DEVNULL
    child: Child | None = None
    try:
        with uninterrupted():
            argv = tied_to_us(argv)
            child = Child(argv, cwd=cwd, environ=environ, log=log, stdin=null, out=stderr, err=stderr)
        return child.wait()
    except BaseException:
        if child is not None:
            child.end(signal.SIGTERM)
        raise


def tied_to_us(argv: Sequence[str]) -> list[str]:
    """`argv` so that the kernel kills the process when projrun dies, even by SIGKILL; as it is elsewhere.

    The alternative, a hook between fork and exec, is not safe beside threads.
    """
    setpriv = "/usr/bin/setpriv"  # of util-linux; a link is busybox, whose own cannot do it
    can = os.path.isfile(setpriv) and not os.path.islink(setpriv)
    return [setpriv, "--pdeathsig", "KILL", *argv] if can else list(argv)


Detached = subprocess.Popen[bytes]


def detach(argv: Sequence[str], *, environ: Mapping[str, str] | None = None) -> Detached:
    """Start a program that goes its own way: a session of its own, our stdout and stderr, no stdin."""
    return _popen(argv, None, environ, stdin=subprocess.DEVNULL, stdout=None, stderr=None)


def start_waiting(argv: Sequence[str]) -> Detached:
    """Start a program that goes its own way and reads from a pipe of ours; what it says is not heard."""
    null = subprocess.DEVNULL
    return _popen(argv, None, None, stdin=subprocess.PIPE, stdout=null, stderr=null)


class Child:
    """A supervised process: a group of its own, its output in a log and, live, on our own streams.

    out, err: file descriptors that its stdout and stderr are copied to, None for nowhere. Where they are
    terminals the child sees a terminal too. It leads a session of its own, so ^C on the terminal reaches
    only us and we decide what the child is told; it can still read from the terminal.
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
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log_file = log.open("ab", buffering=0)
        stdout, stderr = _channels(out, err)
        try:
            self._popen = _popen(argv, cwd, environ, stdin, stdout.write_end, stderr.write_end)
        except BaseException:
            log_file.close()
            _close(stdout.read_end, stderr.read_end)
            raise
        finally:
            _close(stdout.write_end, stderr.write_end)
        self.pid = self._popen.pid
        copies = {stdout.read_end: out, stderr.read_end: err}
        self._pump = threading.Thread(target=_pump, args=(copies, log_file), daemon=True)
        self._pump.start()

    def wait(self, timeout_s: float | None = None) -> int:
        """The exit code as a shell has it (128 + n for signal n). Raises TimeoutError while it runs."""
        try:
            code = self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        self._pump.join(DRAIN_S)
        _kill_group(self.pid, signal.SIGKILL)  # what it left in the background ends with it
        self._pump.join(DRAIN_S)
        return 128 - code if code < 0 else code

    def end(self, number: int, grace_s: float = GRACE_S) -> int:
        """End the whole group: signal `number`, then SIGTERM, then SIGKILL; a second ^C does not wait."""
        try:
            _end_group(self._popen, number, grace_s)
        except KeyboardInterrupt:
            with uninterrupted():
                _end_group(self._popen, signal.SIGKILL, grace_s)
        return self.wait()


class _Channel(msgspec.Struct, frozen=True):
    read_end: int
    write_end: int


def _channels(out: int | None, err: int | None) -> tuple[_Channel, _Channel]:
    """One channel for stdout and one for stderr; the same one when both show on a terminal, to keep order."""
    stdout = _terminal_channel(out) if out is not None and os.isatty(out) else _Channel(*os.pipe())
    if err is not None and os.isatty(err):
        both = out is not None and os.isatty(out)
        return stdout, stdout if both else _terminal_channel(err)
    return stdout, _Channel(*os.pipe())


def _terminal_channel(like: int) -> _Channel:
    """A pseudo-terminal of the size of `like` that passes bytes on unchanged."""
    import fcntl
    import termios

    master, slave = os.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST  # the real terminal does that
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, fcntl.ioctl(like, termios.TIOCGWINSZ, b"\0" * 8))
    return _Channel(master, slave)


def _pump(copies: dict[int, int | None], log: BinaryIO) -> None:
    """Copy each channel to the log and to its stream until all are at their end."""
    complete = True
    with log, selectors.DefaultSelector() as selector:
        for source in copies:
            selector.register(source, selectors.EVENT_READ)
        while selector.get_map():
            for ready, _ in selector.select():
                chunk = _read(ready.fd)
                if not chunk:
                    selector.unregister(ready.fd)
                    os.close(ready.fd)
                    continue
                if complete and not _write(log.fileno(), chunk):
                    complete = False
                    warn(f"the log {log.name} is not complete: its disk may be full")
                target = copies[ready.fd]
                if target is not None and not _write(target, chunk):
                    copies[ready.fd] = None  # its reader is gone; the log goes on


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except OSError:  # EIO: the last holder of a pseudo-terminal closed it
        return b""


def _write(fd: int, data: bytes) -> bool:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError:
        return False
    return True


def _popen(
    argv: Sequence[str],
    cwd: Path | None,
    environ: Mapping[str, str] | None,
    stdin: int | None,
    stdout: int | None,
    stderr: int | None,
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
        )
    except FileNotFoundError as error:
        raise LaunchError(f"cannot start '{argv[0]}': {error.filename} not found", "install it") from None
    except (OSError, ValueError) as error:
        raise LaunchError(f"cannot start '{argv[0]}': {error}") from None


def _end_group(child: subprocess.Popen[bytes], number: int, grace_s: float) -> None:
    steps = (number, signal.SIGKILL) if number == signal.SIGTERM else (number, signal.SIGTERM, signal.SIGKILL)
    for step in steps:
        _kill_group(child.pid, step)
        try:
            child.wait(grace_s)
            return
        except subprocess.TimeoutExpired:
            continue


def _kill_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _close(*fds: int) -> None:
    for fd in set(fds):
        os.close(fd)
