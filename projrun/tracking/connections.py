"""How to reach a server: its credentials, proxies and certificates, as the environment names them."""

from __future__ import annotations

import base64
import http.client
import os
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from projrun.errors import TrackingError

AUTHORITIES = ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def authorization(url: SplitResult) -> dict[str, str]:
    """From the environment, else from the URL; a user name and password win over a token, as in MLflow."""
    user = os.environ.get("MLFLOW_TRACKING_USERNAME") or unquote(url.username or "")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD") or unquote(url.password or "")
    if user and password:
        return {"Authorization": f"Basic {_encoded(user, password)}"}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _encoded(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


class Route:
    """The way to a server: straight, or through a proxy.

    target: what stands before the path in a request; a proxy must be told the whole address.
    headers: for the proxy, with every request.
    """

    def __init__(self, url: SplitResult, timeout_s: float) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._proxy = _proxy(url)
        self._credentials = _proxy_credentials(self._proxy)
        is_told = self._proxy is not None and url.scheme == "http"
        self.target = f"http://{url.netloc.rpartition('@')[2]}" if is_told else ""
        self.headers = self._credentials if is_told else {}

    def connection(self) -> http.client.HTTPConnection:
        """Not connected yet."""
        host = self._url.hostname or ""
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        if self._proxy is None:
            return _plain_or_tls(self._url, host, port, self._timeout_s)
        connection = _plain_or_tls(
            self._url, self._proxy.hostname or "", self._proxy.port or 8080, self._timeout_s
        )
        if self._url.scheme == "https":
            connection.set_tunnel(host, port, self._credentials)
        return connection


def _proxy_credentials(proxy: SplitResult | None) -> dict[str, str]:
    if proxy is None or not proxy.username:
        return {}
    credentials = _encoded(unquote(proxy.username), unquote(proxy.password or ""))
    return {"Proxy-Authorization": f"Basic {credentials}"}


def _proxy(url: SplitResult) -> SplitResult | None:
    from urllib.request import getproxies, proxy_bypass

    proxy = getproxies().get(url.scheme, "")
    if not proxy or proxy_bypass(url.hostname or ""):
        return None
    return urlsplit(proxy if "//" in proxy else f"//{proxy}")


def _plain_or_tls(url: SplitResult, host: str, port: int, timeout_s: float) -> http.client.HTTPConnection:
    if url.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=timeout_s)
    return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=_tls())


def _tls() -> Any:
    import ssl

    name = next((name for name in AUTHORITIES if os.environ.get(name)), "SSL_CERT_FILE")
    authorities = os.environ.get(name) if name in AUTHORITIES else None
    is_directory = authorities is not None and os.path.isdir(authorities)
    try:
        context = ssl.create_default_context(
            cafile=None if is_directory else authorities, capath=authorities if is_directory else None
        )
        if own := os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"):
            name = "MLFLOW_TRACKING_CLIENT_CERT_PATH"
            context.load_cert_chain(own)
    except OSError as error:  # an SSLError, too
        raise TrackingError(
            f"the TLS certificates in {os.environ.get(name, '')} cannot be read: {error.strerror or error}",
            f"look at {name}",
        ) from None
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
