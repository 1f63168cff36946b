"""HTTP at a container engine's Unix socket. http.client costs more to import than most questions take."""

from __future__ import annotations

import _socket  # which `socket` is made of, in a third of its time to import
import time

import msgspec

CHUNK = 1 << 16
TIMEOUT_S = 60
"""How long an engine may take to answer what it knows, and to take a request."""
_END_OF_HEAD = b"\r\n\r\n"


class Reply(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    server: str
    """What calls itself the one that answers, such as `Docker/28.2.2 (linux)`."""


class EngineRequest:
    """A request on a connection of its own, and as much of its answer as has come.

    One that is not answered in time may be waited for again.
    """

    def __init__(self, path: str, request: str, body: bytes = b"", *, upgrade: bool = False) -> None:
        """Send it. Raises OSError.

        request: such as `GET /info`. upgrade: the connection is a stream of bytes after the answer's head.
        """
        # An older answer is in one piece, and its end is the connection's.
        version, wish = ("1.1", "Connection: Upgrade\r\nUpgrade: tcp\r\n") if upgrade else ("1.0", "")
        self.channel = _socket.socket(_socket.AF_UNIX)
        self._came = b""
        self._at_end = False
        self.channel.settimeout(TIMEOUT_S)
        try:
            self.channel.connect(path)
            self.channel.sendall(
                f"{request} HTTP/{version}\r\nHost: engine\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n{wish}\r\n".encode()
                + body
            )
        except BaseException:
            self.channel.close()
            raise

    def is_accepted(self, timeout_s: float | None) -> bool:
        """Whether the answer will be what was asked for, which its head says. Raises as `answer` does."""
        return self._status(timeout_s) < 400

    def answer(self, timeout_s: float | None) -> Reply:
        """All of it. Raises TimeoutError, another OSError, or ValueError for what is not HTTP."""
        deadline = _deadline(timeout_s)
        status = self._status(timeout_s)
        while not self._at_end:
            self._receive(deadline)
        self.close()
        head, _, body = self._came.partition(_END_OF_HEAD)
        if b"transfer-encoding: chunked" in head.lower():
            body = _unchunked(body)
        lines = (line.partition(b":") for line in head.split(b"\r\n"))
        server = next((value for name, _, value in lines if name.lower() == b"server"), b"")
        return Reply(status, body, server.decode("latin-1").strip())

    def close(self) -> None:
        self.channel.close()

    def _status(self, timeout_s: float | None) -> int:
        deadline = _deadline(timeout_s)
        while _END_OF_HEAD not in self._came and not self._at_end:
            self._receive(deadline)
        if not self._came:
            raise ConnectionResetError(0, "it ended before it answered")
        return int((self._came.split(None, 2)[1:2] or [b"none"])[0])

    def _receive(self, deadline: float | None) -> None:
        self.channel.settimeout(None if deadline is None else max(deadline - time.monotonic(), 1e-6))
        chunk = self.channel.recv(CHUNK)
        self._came += chunk
        self._at_end = not chunk


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _unchunked(body: bytes) -> bytes:
    """Engines may answer a request of HTTP/1.0 in chunks all the same."""
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        if not length:
            break
        whole, body = whole + body[:length], body[length + 2 :]
    return whole
