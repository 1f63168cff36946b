"""A socket in front of the engine's, with which tests do what an engine does only rarely."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

from projrun import engine


class Between:
    """Its connections can be cut, as when an engine ends; those that ask for one thing wait for ever."""

    def __init__(self, place: str, unanswered: bytes | None = None) -> None:
        """unanswered: beginning of the requests that the engine does not get."""
        self.address = f"unix://{place}/socket"
        self.asked = threading.Event()
        """Such a request came."""
        self._unanswered = unanswered
        self._open: list[socket.socket] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(f"{place}/socket")
        self._listening.listen()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def cut(self) -> None:
        for one in self._open:
            with suppress(OSError):  # its other end was first
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()
        for one in (self._listening, *self._open):
            one.close()

    def _start(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                ours, theirs = self._listening.accept()[0], socket.socket(socket.AF_UNIX)
                theirs.connect(engine.DEFAULT_ADDRESS.removeprefix("unix://"))
                self._open += [ours, theirs]
                self._start(self._ask, ours, theirs)
                self._start(_copy, theirs, ours)

    def _ask(self, ours: socket.socket, theirs: socket.socket) -> None:
        if self._unanswered is not None:
            with suppress(OSError):
                if ours.recv(len(self._unanswered), socket.MSG_PEEK) == self._unanswered:
                    self.asked.set()
                    return
        _copy(ours, theirs)


def _copy(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while part := one.recv(1 << 16):
            other.sendall(part)
        other.shutdown(socket.SHUT_WR)


@contextmanager
def between(unanswered: bytes | None = None) -> Iterator[Between]:
    with tempfile.TemporaryDirectory() as place, closing(Between(place, unanswered)) as one:
        yield one
