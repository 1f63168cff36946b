"""The MLflow REST API of one run, on loopback or, for a container, on the engine's bridge.

Its socket is bound at once, but the web server is imported when the first client connects: for a project that
logs nothing, the endpoint costs a millisecond.
"""

from __future__ import annotations

import _socket  # the extension below `socket`, at a third of its import time
import os
import select
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, cast

from projrun.console import warn
from projrun.console.masking import hide_in_output
from projrun.tracking import Store
from projrun.tracking.entities import Run

if TYPE_CHECKING:
    import socket

    import uvicorn

    from projrun.server.middleware import App
    from projrun.server.run_view import RunView


LOOPBACK = "127.0.0.1"
BACKLOG = 128
GRACE_S = 2  # seconds that requests get to finish


class Endpoint:
    """The store as an MLflow server, for the processes of one run.

    host, url: the address and the value of MLFLOW_TRACKING_URI: 127.0.0.1, or where containers find this
    machine. token: the value of MLFLOW_TRACKING_TOKEN; requests without it are refused.
    """

    def __init__(
        self, store: Store, host: str = "", device: str = "", *, run_id: str = "", pinned: bool = False
    ) -> None:
        """Listen on loopback, and serve in a thread when the first client connects.

        host, device: listen there instead, and answer only what comes through that network device.
        run_id, pinned: clients see the store as the `RunView` of that run; without a run id, as it is.
        """
        self.token = os.urandom(32).hex()  # `secrets` would import hashlib, hmac and random
        self._store, self._run_id, self._pinned = store, run_id, pinned
        self._view: RunView | None = None
        self.host = host or LOOPBACK
        self._socket = _listening(self.host, device)
        self.url = f"http://{self.host}:{self._socket.getsockname()[1]}"
        # A pipe: one `select` waits for a client and for `close`, without waking up in between
        self._wakeup, self._waker = os.pipe()
        self._closed = False
        self._thread = threading.Thread(target=self._wait_and_serve, name="projrun-endpoint", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; requests get `GRACE_S` seconds to finish, and the runs of clients end. May be repeated."""
        if self._closed:
            return
        self._closed = True
        os.close(self._waker)  # this makes the other end readable
        self._thread.join(2 * GRACE_S)
        if not self._thread.is_alive():  # else it would read from whatever file gets this number next
            os.close(self._wakeup)
        self._socket.close()
        if self._view is not None:
            self._view.release()

    def _wait_and_serve(self) -> None:
        ready, _, _ = select.select([self._socket.fileno(), self._wakeup], [], [])
        if self._wakeup in ready:
            return
        try:
            _serve(self._store_of_clients(), self.token, self.host, self._socket, self._wakeup)
        except Exception as error:  # or clients would wait for a server that never answers
            warn(f"the run's tracking endpoint ended: {type(error).__name__}: {error}")
            self._socket.close()

    def _store_of_clients(self) -> Store:
        if not self._run_id:
            return self._store
        from projrun.server.run_view import RunView  # late: most projects log nothing

        self._view = RunView(self._store, self._run_id, pinned=self._pinned)
        return cast(Store, self._view)


def _listening(host: str, device: str) -> _socket.socket:
    # With the protocol named, asyncio sets TCP_NODELAY on the connections; with 0 it does not.
    listening = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, _socket.IPPROTO_TCP)
    try:
        if device:  # the bridge's address alone would not do: other machines can route packets to it
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
    import socket

    # asyncio takes no `_socket.socket`
    asyncio.run(_server(store, token, host, wakeup).serve([socket.socket(fileno=listening.detach())]))


def _server(store: Store, token: str, host: str, wakeup: int) -> uvicorn.Server:
    import asyncio

    import uvicorn

    from projrun.server.app import create_app

    class Server(uvicorn.Server):
        async def main_loop(self) -> None:
            """Return as soon as `wakeup` is readable; uvicorn itself would check every 0.1 s."""
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            loop.add_reader(wakeup, stop.set)
            await stop.wait()
            loop.remove_reader(wakeup)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            """Skip uvicorn's waiting when there are no open connections."""
            for server in self.servers:
                server.close()
            if self.server_state.connections or self.server_state.tasks:
                await super().shutdown(sockets)

    return Server(server_config(create_app(store, token=token, hosts=[host])))


def server_config(app: App, certificate: str = "", key: str = "") -> uvicorn.Config:
    """Return the configuration of a server for `app`. certificate, key: PEM files; '' for plain HTTP."""
    import logging

    import uvicorn

    # A logger without a handler would write to the user's terminal.
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())
    return uvicorn.Config(
        app,
        # uvicorn would take uvloop and httptools where they are installed, and behave differently there
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        date_header=False,
        server_header=False,
        ssl_certfile=certificate or None,
        ssl_keyfile=key or None,
        timeout_graceful_shutdown=GRACE_S,
    )


# A variable of the run's processes: the tracking URI that ends with the run.
ENDPOINT = "PROJRUN_ENDPOINT"


def without_endpoint(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without the endpoint of the run that we belong to, for a process that outlives it."""
    uri = environ.get("MLFLOW_TRACKING_URI")
    if not uri or uri != environ.get(ENDPOINT):
        return dict(environ)
    own = {ENDPOINT, "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN"}
    return {name: value for name, value in environ.items() if name not in own}


@contextmanager
def tracking_variables(
    store: Store, run: Run, reach: tuple[str, str] = ("", ""), *, pinned: bool = False
) -> Iterator[dict[str, str | None]]:
    """Serve the run while the block runs; yield the variables with which any mlflow client logs to it.

    reach: address and device at which a process in a container finds this machine.
    pinned: the user named the experiment of the run, so the client cannot change it.
    """
    variables: dict[str, str | None] = {
        "MLFLOW_RUN_ID": run.run_id,
        "MLFLOW_EXPERIMENT_ID": run.experiment_id,
        "MLFLOW_EXPERIMENT_NAME": None,  # mlflow refuses a name that is not the id's
        "PYTHONUNBUFFERED": os.environ.get("PYTHONUNBUFFERED", "1"),  # output is live in a pipe too
    }
    if store.uri.startswith("http"):
        # The environment holds the server's address and credentials already.
        with hide_in_output(os.environ.get("MLFLOW_TRACKING_TOKEN", "")):
            yield variables
        return
    with (
        closing(Endpoint(store, *reach, run_id=run.run_id, pinned=pinned)) as endpoint,
        hide_in_output(endpoint.token),
    ):
        not_proxied = ",".join(filter(None, (os.environ.get("NO_PROXY", ""), endpoint.host)))
        yield {
            **variables,
            "MLFLOW_TRACKING_URI": endpoint.url,
            ENDPOINT: endpoint.url,
            "MLFLOW_TRACKING_TOKEN": endpoint.token,
            "MLFLOW_TRACKING_USERNAME": None,  # mlflow prefers a user name and password to the token
            "MLFLOW_TRACKING_PASSWORD": None,
            # Some libraries read the one spelling, some the other
            "NO_PROXY": not_proxied,
            "no_proxy": not_proxied,
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the address ends with the run
        }
