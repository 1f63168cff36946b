"""The output of a supervised process: to a log, to an index of the log, and live to our own streams.

The log stays plain text, which people and other tools read; the index beside it says which stream wrote what.
"""

from __future__ import annotations

import errno
import os
import selectors
import signal
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from projrun.console import warn
from projrun.console.masking import StreamMask
from projrun.processes.usage import now_ms

INDEX_SUFFIX = ".index"
MERGE_MS = 100  # chunks of one stream within this time share a line of the index


def index_path(log: Path) -> Path:
    """Return the path of the file that tells the streams of a log apart: lines `STREAM OFFSET LENGTH TIME`.

    STREAM is out, err, or tty where both are one terminal. OFFSET and LENGTH are bytes of the log, TIME is
    milliseconds since the epoch.
    """
    return log.with_suffix(INDEX_SUFFIX)


class Channel(msgspec.Struct, frozen=True):
    """A pipe or pseudo-terminal from the process to us."""

    read_end: int
    write_end: int
    stream: str  # out, err or tty
    target: int | None  # our own file descriptor that gets a copy; None for no copy
    is_terminal: bool = False


def open_channels(out: int | None, err: int | None) -> tuple[Channel, Channel]:
    """Open channels for stdout and stderr: one for both when both are terminals, to keep the order."""
    if out is not None and err is not None and os.isatty(out) and os.isatty(err):
        both = _terminal(out, "tty")
        return both, both
    return _channel(out, "out"), _channel(err, "err")


def _channel(target: int | None, stream: str) -> Channel:
    if target is not None and os.isatty(target):
        return _terminal(target, stream)
    read_end, write_end = os.pipe()
    return Channel(read_end, write_end, stream, target)


def _terminal(target: int, stream: str) -> Channel:
    """Open a pseudo-terminal of the size of `target` that passes bytes on unchanged."""
    import termios

    master, slave = os.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST  # the real terminal converts line ends
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    channel = Channel(master, slave, stream, target, is_terminal=True)
    copy_terminal_size(channel)
    return channel


def copy_terminal_size(channel: Channel) -> None:
    """Give the pseudo-terminal of a channel the size of the real one."""
    import fcntl
    import termios

    if channel.target is not None:
        size = fcntl.ioctl(channel.target, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(channel.read_end, termios.TIOCSWINSZ, size)


@contextmanager
def watch_terminal_size(resized: Callable[[], None] | None) -> Iterator[None]:
    """Call `resized` when our terminal changes its size, while the block runs.

    In the main thread alone, because Python handles signals only there.
    """
    if resized is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(_number: int, _frame: object) -> None:
        resized()

    before = signal.signal(signal.SIGWINCH, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


class OutputCopy:
    """The destination of a stream: its name in the index, the descriptor that gets a copy, and a mask."""

    def __init__(self, stream: str, target: int | None, masks: Collection[str] = ()) -> None:
        self.stream, self.target = stream, target
        self._mask = StreamMask(masks) if masks else None

    def mask(self, chunk: bytes) -> bytes:
        """Return the chunk masked, as far as it can be shown; an empty chunk marks the end."""
        if self._mask is None:
            return chunk
        return self._mask.feed(chunk) if chunk else self._mask.rest()


class OutputSource:
    """A file descriptor that one stream is read from."""

    def __init__(self, fd: int, copy: OutputCopy) -> None:
        self.fd, self._copy = fd, copy

    def parts(self, chunk: bytes) -> Iterable[tuple[OutputCopy, bytes]]:
        """Return the parts of a chunk with their destinations; an empty chunk is the end of all."""
        return [(self._copy, chunk)]


def channel_source(channel: Channel, masks: Collection[str]) -> OutputSource:
    return OutputSource(channel.read_end, OutputCopy(channel.stream, channel.target, masks))


class Pump:
    """A thread that copies sources to the log and to our streams until all have ended, and closes them."""

    def __init__(self, sources: Iterable[OutputSource], log: Path, *, indexed: bool) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log.open("ab", buffering=0)
        self._index = _Index(index_path(log), self._log.tell()) if indexed else None
        self._sources = {source.fd: source for source in sources}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._is_complete = True

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float | None) -> bool:
        """Wait until all sources have ended; False if they have not within `timeout_s`."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Close the files of a pump that was never started."""
        self._log.close()
        if self._index is not None:
            self._index.close()
        for fd in self._sources:
            os.close(fd)

    def _run(self) -> None:
        with self._log, selectors.DefaultSelector() as selector:
            for fd in self._sources:
                selector.register(fd, selectors.EVENT_READ)
            while selector.get_map():
                for ready, _ in selector.select():
                    chunk = read_chunk(ready.fd)
                    for copy, part in self._sources[ready.fd].parts(chunk):
                        self._show(copy, copy.mask(part))
                    if not chunk:
                        selector.unregister(ready.fd)
                        os.close(ready.fd)
            if self._index is not None:
                self._index.close()

    def _show(self, copy: OutputCopy, text: bytes) -> None:
        if not text:
            return
        if self._is_complete and (error := write_all(self._log.fileno(), text)):
            self._is_complete = False
            warn(f"the log {self._log.name} is not complete: {error.strerror}")
        if self._is_complete and self._index is not None:
            self._index.add(copy.stream, len(text))
        if copy.target is not None and (error := write_all(copy.target, text)):
            copy.target = None  # the log goes on
            if error.errno not in (errno.EPIPE, errno.EBADF):  # nobody reads it any more, or ever did
                warn(f"the output cannot be shown any more: {error.strerror}; the log has all of it")


class _Index:
    """Lines of `index_path`, as few as keep the order of the streams."""

    def __init__(self, path: Path, offset: int) -> None:
        self._file = path.open("ab", buffering=0)
        self._offset = offset
        self._stream, self._length, self._time_ms = "", 0, 0

    def add(self, stream: str, length: int) -> None:
        time_ms = now_ms()
        if stream != self._stream or not 0 <= time_ms - self._time_ms < MERGE_MS:
            self._flush()
            self._stream, self._time_ms = stream, time_ms
        self._length += length

    def close(self) -> None:
        self._flush()
        with suppress(OSError):
            self._file.close()

    def _flush(self) -> None:
        if self._length:
            line = f"{self._stream} {self._offset} {self._length} {self._time_ms}\n"
            with suppress(OSError):  # a full disk, of which the log has warned
                self._file.write(line.encode())
            self._offset += self._length
            self._length = 0


def read_chunk(fd: int) -> bytes:
    """Read the next bytes; return none at the end."""
    try:
        return os.read(fd, 1 << 16)
    except OSError:  # EIO: the last holder of a pseudo-terminal closed it
        return b""


def write_all(fd: int, data: bytes) -> OSError | None:
    """Write all of `data`; return the error that ended it early: a full disk, a reader that is gone."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError as error:
        return error
    return None


def close_descriptors(*fds: int) -> None:
    for fd in set(fds):
        os.close(fd)
