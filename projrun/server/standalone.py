"""A server that stands until it is told to stop: the store for every mlflow client that may connect."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence

import msgspec

from projrun.errors import TrackingError, UsageError
from projrun.server.endpoint import BACKLOG, GRACE_S
from projrun.tracking import Store


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where and for whom a server stands.

    token: what clients must present; '' lets everyone in, for loopback alone.
    names: hosts by which clients may call it, besides its own address.
    certificate, key: PEM files; '' for plain HTTP.
    """

    host: str
    port: int
    token: str = ""
    names: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""

    @property
    def scheme(self) -> str:
        return "https" if self.certificate else "http"


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(store: Store, where: ServerSettings, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. `ready` is called with the server's URL when clients may connect."""
    import asyncio
    import logging

    import uvicorn

    from projrun.server.app import create_app
    from projrun.server.prometheus import RequestCounts

    if not is_loopback(where.host) and not where.token:
        raise UsageError(f"{where.host} is not a loopback address, and there is no token", "give one")
    listening = _bound(where.host, where.port)
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())
    try:
        config = uvicorn.Config(
            create_app(store, token=where.token, hosts=(where.host, *where.names), requests=RequestCounts()),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            date_header=False,
            server_header=False,
            ssl_certfile=where.certificate or None,
            ssl_keyfile=where.key or None,
            timeout_graceful_shutdown=GRACE_S,
        )
        _load_tls(config)
        ready(server_url(where, listening))
        asyncio.run(uvicorn.Server(config).serve([listening]))
    finally:
        listening.close()


def server_url(where: ServerSettings, listening: socket.socket) -> str:
    address = listening.getsockname()
    host = where.host or address[0]
    return f"{where.scheme}://{f'[{host}]' if ':' in host else host}:{address[1]}"


def _load_tls(config: object) -> None:
    try:
        config.load()  # type: ignore[attr-defined]
    except OSError as error:
        raise UsageError(
            f"the certificate or its key cannot be used: {error.strerror or error}",
            "give PEM files with --cert and --key",
        ) from None


def _bound(host: str, port: int) -> socket.socket:
    problem: OSError | None = None
    for family, address in _addresses(host, port):
        # With the protocol named, asyncio sets TCP_NODELAY on the connections; with 0 it does not.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
            return listening
        except OSError as error:
            listening.close()
            problem = error
    what = problem.strerror if problem else "it has no address"
    raise TrackingError(f"cannot listen on {host}:{port}: {what}", "choose another with --host and --port")


def _addresses(host: str, port: int) -> Sequence[tuple[int, tuple[str, int]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise TrackingError(f"cannot listen on {host}: {error.strerror}", "choose another --host") from None
    return [(int(family), (str(address[0]), int(address[1]))) for family, _, _, _, address in found]
