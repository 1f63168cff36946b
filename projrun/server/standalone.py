"""Serve the store to all mlflow clients until the server is told to stop (`projrun server`)."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

import msgspec

from projrun.errors import TrackingError, UsageError
from projrun.server.endpoint import BACKLOG, server_config
from projrun.tracking import Store


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The address of a server, and who may use it.

    token: what clients must present; '' lets everyone in, which is allowed on loopback alone.
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


def serve(store: Store, settings: ServerSettings, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. `ready` is called with the server's URL when clients may connect."""
    import asyncio

    import uvicorn

    from projrun.server.app import create_app
    from projrun.server.middleware import RequestCounts

    if not is_loopback(settings.host) and not settings.token:
        raise UsageError(f"{settings.host} is not a loopback address, and there is no token", "give one")
    listening = _listen(settings.host, settings.port)
    try:
        hosts = (settings.host, *settings.names)
        app = create_app(store, token=settings.token, hosts=hosts, requests=RequestCounts())
        config = server_config(app, settings.certificate, settings.key)
        _load_tls(config)
        ready(server_url(settings, listening))
        asyncio.run(uvicorn.Server(config).serve([listening]))
    finally:
        listening.close()


def server_url(settings: ServerSettings, listening: socket.socket) -> str:
    address = listening.getsockname()
    host = settings.host or address[0]
    return f"{settings.scheme}://{f'[{host}]' if ':' in host else host}:{address[1]}"


def _load_tls(config: object) -> None:
    try:
        config.load()  # type: ignore[attr-defined]
    except OSError as error:
        raise UsageError(
            f"the certificate or its key cannot be used: {error.strerror or error}",
            "give PEM files with --cert and --key",
        ) from None


def _listen(host: str, port: int) -> socket.socket:
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise TrackingError(f"cannot listen on {host}: {error.strerror}", "choose another --host") from None
    problem: OSError | None = None
    # A name may have IPv6 and IPv4 addresses, of which this machine can use one alone
    for family, _, _, _, address in addresses:
        # With the protocol named, asyncio sets TCP_NODELAY on the connections; with 0 it does not.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            # A server that was stopped can start again at once, while its old connections time out
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
            return listening
        except OSError as error:
            listening.close()
            problem = error
    reason = problem.strerror if problem else "it has no address"
    raise TrackingError(f"cannot listen on {host}:{port}: {reason}", "choose another with --host and --port")
