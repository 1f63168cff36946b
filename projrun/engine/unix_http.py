"""HTTP at a container engine's Unix socket. http.client takes longer to import than most requests last."""

from __future__ import annotations

import _socket  # imports in a third of the time of `socket`
import time

import msgspec

CHUNK = 1 << 16
TIMEOUT_S = 60  # time that an engine gets to accept a request, and to answer a question about its state
_END_OF_HEAD = b"\r\n\r\n"


class Reply(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    server: str  # the Server header, such as `Docker/28.2.2 (linux)`


class EngineRequest:
    """A request on a connection of its own, and the part of its answer that has arrived.

    After a time-out, `answer` may be called again.
    """

    def __init__(self, path: str, request: str, body: bytes = b"", *, upgrade: bool = False) -> None:
        """Send it. Raises OSError.

        request: such as `GET /info`. upgrade: the connection is a stream of bytes after the answer's head.
        """
        # An answer to HTTP/1.0 ends with the connection, and so needs no parser of its length.
        version, headers = ("1.1", "Connection: Upgrade\r\nUpgrade: tcp\r\n") if upgrade else ("1.0", "")
        self.channel = _socket.socket(_socket.AF_UNIX)
        self._received = b""
        self._at_end = False
        self.channel.settimeout(TIMEOUT_S)
        try:
            self.channel.connect(path)
            self.channel.sendall(
                f"{request} HTTP/{version}\r\nHost: engine\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n{headers}\r\n".encode()
                + body
            )
        except BaseException:
            self.channel.close()
            raise

    def is_accepted(self, timeout_s: float | None) -> bool:
        """Wait for the answer's head and tell whether it is a success. Raises as `answer` does."""
        return self._status(timeout_s) < 400

    def answer(self, timeout_s: float | None) -> Reply:
        """Wait for the answer. Raises TimeoutError, another OSError, or ValueError if it is not HTTP."""
        deadline = _deadline(timeout_s)
        status = self._status(timeout_s)
        while not self._at_end:
            self._receive(deadline)
        self.close()
        head, _, body = self._received.partition(_END_OF_HEAD)
        if b"transfer-encoding: chunked" in head.lower():
            body = _unchunked(body)
        lines = (line.partition(b":") for line in head.split(b"\r\n"))
        server = next((value for name, _, value in lines if name.lower() == b"server"), b"")
        return Reply(status, body, server.decode("latin-1").strip())

    def close(self) -> None:
        self.channel.close()

    def _status(self, timeout_s: float | None) -> int:
        deadline = _deadline(timeout_s)
        while _END_OF_HEAD not in self._received and not self._at_end:
            self._receive(deadline)
        if not self._received:
            raise ConnectionResetError(0, "the engine closed the connection before it answered")
        return int((self._received.split(None, 2)[1:2] or [b"none"])[0])

    def _receive(self, deadline: float | None) -> None:
        self.channel.settimeout(None if deadline is None else max(deadline - time.monotonic(), 1e-6))
        chunk = self.channel.recv(CHUNK)
        self._received += chunk
        self._at_end = not chunk


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _unchunked(body: bytes) -> bytes:
    """Join the chunks of a body. Some engines send chunks even to a request of HTTP/1.0."""
    joined = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        if not length:
            break
        joined, body = joined + body[:length], body[length + 2 :]
    return joined
