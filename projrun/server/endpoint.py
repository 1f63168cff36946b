"""The run's own MLflow REST API on loopback. The web server is imported when the first client connects."""

from __future__ import annotations

import _socket  # which `socket` is made of, in a third of its time to import
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

    from projrun.server.run_view import RunView


LOOPBACK = "127.0.0.1"
BACKLOG = 128
GRACE_S = 2


class Endpoint:
    """The store as an MLflow server, for the processes of one run.

    host, url: 127.0.0.1 and http://127.0.0.1:PORT, good as MLFLOW_TRACKING_URI; or the address at which
        containers find this machine.
    token: good as MLFLOW_TRACKING_TOKEN; without it every request is refused.
    """

    def __init__(
        self, store: Store, host: str = "", device: str = "", *, run_id: str = "", pinned: bool = False
    ) -> None:
        """host, device: listen there instead of on loopback, to what comes through that device alone.

        run_id, pinned: clients see the store as `RunView` of that run shows it; without a run id, as it is.
        """
        self.token = os.urandom(32).hex()
        self._store, self._run_id, self._pinned = store, run_id, pinned
        self._view: RunView | None = None
        self.host = host or LOOPBACK
        self._socket = _listening(self.host, device)
        self.url = f"http://{self.host}:{self._socket.getsockname()[1]}"
        self._wakeup, self._waker = os.pipe()
        self._closed = False
        self._thread = threading.Thread(target=self._wait_and_serve, name="projrun-endpoint", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; requests get `GRACE_S` seconds to finish, and the runs of clients end. May be repeated."""
        if self._closed:
            return
        self._closed = True
        os.close(self._waker)  # makes the other end readable
        self._thread.join(2 * GRACE_S)
        if not self._thread.is_alive():
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
        except Exception as error:  # clients must not wait for a server that will never answer
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


ENDPOINT = "PROJRUN_ENDPOINT"
"""Says that a tracking URI is the endpoint of a run, which ends with it."""


def without_endpoint(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for a process that outlives the run that we are part of: it opens the store itself."""
    given = environ.get("MLFLOW_TRACKING_URI")
    of_a_run = {ENDPOINT, "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN"}
    if not given or given != environ.get(ENDPOINT):
        return dict(environ)
    return {name: value for name, value in environ.items() if name not in of_a_run}


@contextmanager
def tracking_variables(
    store: Store, run: Run, reach: tuple[str, str] = ("", ""), *, pinned: bool = False
) -> Iterator[dict[str, str | None]]:
    """Environment variables from which an unmodified mlflow client logs into `run`, while the block runs.

    reach: address and device at which a process in a container finds this machine.
    pinned: the user named its experiment, so that the client cannot.
    """
    variables: dict[str, str | None] = {
        "MLFLOW_RUN_ID": run.run_id,
        "MLFLOW_EXPERIMENT_ID": run.experiment_id,
        "MLFLOW_EXPERIMENT_NAME": None,
        "PYTHONUNBUFFERED": os.environ.get("PYTHONUNBUFFERED", "1"),  # output is live in a pipe too
    }
    if store.uri.startswith("http"):
        # The server's address and credentials are in the environment already.
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
            "MLFLOW_TRACKING_USERNAME": None,
            "MLFLOW_TRACKING_PASSWORD": None,
            "NO_PROXY": not_proxied,
            "no_proxy": not_proxied,
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the address ends with the run
        }
