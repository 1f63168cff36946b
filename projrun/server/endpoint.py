"""The run's own MLflow REST API on loopback. The web server is imported when the first client connects."""

from __future__ import annotations

import _socket  # which `socket` is made of, in a third of its time to import
import os
import select
import threading
from typing import TYPE_CHECKING

from projrun.output import warn
from projrun.tracking import Store

if TYPE_CHECKING:
    import socket

    import uvicorn

LOOPBACK = "127.0.0.1"
BACKLOG = 128
GRACE_S = 2


class Endpoint:
    """The store as an MLflow server, for the processes of one run.

    host, url: 127.0.0.1 and http://127.0.0.1:PORT, good as MLFLOW_TRACKING_URI; or the address at which
        containers find this machine.
    token: good as MLFLOW_TRACKING_TOKEN; without it every request is refused.
    """

    def __init__(self, store: Store, host: str = "", device: str = "") -> None:
        """host, device: listen there instead of on loopback, to what comes through that device alone."""
        self.token = os.urandom(32).hex()
        self._store = store
        self.host = host or LOOPBACK
        self._socket = _listening(self.host, device)
        self.url = f"http://{self.host}:{self._socket.getsockname()[1]}"
        self._wakeup, self._waker = os.pipe()
        self._closed = False
        self._thread = threading.Thread(target=self._wait_and_serve, name="projrun-endpoint", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; requests in progress get `GRACE_S` seconds to finish. May be called again."""
        if self._closed:
            return
        self._closed = True
        os.close(self._waker)  # makes the other end readable
        self._thread.join(2 * GRACE_S)
        if not self._thread.is_alive():
            os.close(self._wakeup)
        self._socket.close()

    def _wait_and_serve(self) -> None:
        ready, _, _ = select.select([self._socket.fileno(), self._wakeup], [], [])
        if self._wakeup in ready:
            return
        try:
            _serve(self._store, self.token, self.host, self._socket, self._wakeup)
        except Exception as error:  # clients must not wait for a server that will never answer
            warn(f"the run's tracking endpoint ended: {type(error).__name__}: {error}")
            self._socket.close()


def _listening(host: str, device: str) -> _socket.socket:
    # With the protocol named, asyncio sets TCP_NODELAY on the connections; with 0 it does not.
    listening = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, _socket.IPPROTO_TCP)
    try:
        if device:
            listening.setsockopt(_socket.SOL_SOCKET, _socket.SO_BINDTODEVICE, device.encode() + b"\0")
        listening.bind((host, 0))
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _serve(store: Store, token: str, host: str, listening: _socket.socket, wakeup: int) -> None:
    """Serve until `wakeup` is readable."""
    import asyncio
    import logging
    import socket

    # A logger without a handler would write to the user's terminal.
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())
    asyncio.run(_server(store, token, host, wakeup).serve([socket.socket(fileno=listening.detach())]))


def _server(store: Store, token: str, host: str, wakeup: int) -> uvicorn.Server:
    import asyncio

    import uvicorn

    from projrun.server.app import create_app

    class Server(uvicorn.Server):
        async def main_loop(self) -> None:
            """Returns at once when it is time, where uvicorn would look every 0.1 s."""
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            loop.add_reader(wakeup, stop.set)
            await stop.wait()
            loop.remove_reader(wakeup)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            """Without open connections there is nothing for uvicorn to wait for."""
            for server in self.servers:
                server.close()
            if self.server_state.connections or self.server_state.tasks:
                await super().shutdown(sockets)

    return Server(
        uvicorn.Config(
            create_app(store, token=token, hosts=[host]),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            date_header=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
