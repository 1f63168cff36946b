"""The pipes and pseudo-terminals that a child's output comes through, and the copying of it."""

from __future__ import annotations

import os
import selectors
from typing import BinaryIO

import msgspec

from projrun.output import warn


class Channel(msgspec.Struct, frozen=True):
    read_end: int
    write_end: int


def channels(out: int | None, err: int | None) -> tuple[Channel, Channel]:
    """One channel for stdout and one for stderr; the same one when both show on a terminal, to keep order."""
    stdout = _terminal_channel(out) if out is not None and os.isatty(out) else Channel(*os.pipe())
    if err is not None and os.isatty(err):
        both = out is not None and os.isatty(out)
        return stdout, stdout if both else _terminal_channel(err)
    return stdout, Channel(*os.pipe())


def _terminal_channel(like: int) -> Channel:
    """A pseudo-terminal of the size of `like` that passes bytes on unchanged."""
    import fcntl
    import termios

    master, slave = os.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST  # the real terminal does that
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, fcntl.ioctl(like, termios.TIOCGWINSZ, b"\0" * 8))
    return Channel(master, slave)


def pump(copies: dict[int, int | None], log: BinaryIO) -> None:
    """Copy each channel to the log and to its stream until all are at their end."""
    complete = True
    with log, selectors.DefaultSelector() as selector:
        for source in copies:
            selector.register(source, selectors.EVENT_READ)
        while selector.get_map():
            for ready, _ in selector.select():
                chunk = read(ready.fd)
                if not chunk:
                    selector.unregister(ready.fd)
                    os.close(ready.fd)
                    continue
                if complete and not write(log.fileno(), chunk):
                    complete = False
                    warn(f"the log {log.name} is not complete: its disk may be full")
                target = copies[ready.fd]
                if target is not None and not write(target, chunk):
                    copies[ready.fd] = None  # its reader is gone; the log goes on


def read(fd: int) -> bytes:
    """What comes next; nothing at the end."""
    try:
        return os.read(fd, 1 << 16)
    except OSError:  # EIO: the last holder of a pseudo-terminal closed it
        return b""


def write(fd: int, data: bytes) -> bool:
    """All of it; False when the reader is gone."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError:
        return False
    return True


def close(*fds: int) -> None:
    for fd in set(fds):
        os.close(fd)
