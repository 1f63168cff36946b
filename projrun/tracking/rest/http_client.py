"""One MLflow server over HTTP: connections, credentials, retries, and what its errors mean to the user."""

from __future__ import annotations

import base64
import http.client
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

import msgspec

from projrun.console import one_line
from projrun.documents.variables import read_number, read_whole_number
from projrun.errors import TrackingError
from projrun.version import __version__

AUTHORITIES = ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def authorization_headers(url: SplitResult) -> dict[str, str]:
    """Return the credentials as headers. A user name and password win over a token, as in MLflow."""
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
        """Return a connection that is not open yet."""
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


TIMEOUT_VARIABLE = "MLFLOW_HTTP_REQUEST_TIMEOUT"
DEFAULT_TIMEOUT_S = 120.0
RETRIES_VARIABLE = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
# Seconds before each repetition. After the last one, updates of a supervised run go to its outbox.
PAUSES_S = (0.2, 0.5, 1.0, 2.0)
BUSY = (429, 503)  # the server says that it did nothing: any request may be sent again
TRANSIENT = (*BUSY, 502, 504)
CHUNK = 1 << 20

Query = Mapping[str, str] | Sequence[tuple[str, str]]


class FileUpload:
    """A file as a request's body. It may grow meanwhile: exactly the announced length is sent."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.length = file, os.fstat(file.fileno()).st_size

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        left = self.length
        while left > 0 and (chunk := self._file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk


class HttpRequest(NamedTuple):
    method: str
    path: str  # below the server's address: quoted, with a slash in front, with its query
    body: bytes | FileUpload | None = None
    content_type: str = "application/json"
    may_repeat: bool = True  # True where two requests have the effect of one


class NotSentError(Exception):
    """No connection: the server has not seen the request."""


class LostAnswerError(TrackingError):
    """The server may have done what it was asked to, or not."""


class HttpClient:
    """address: the server's URL without credentials, for people to read."""

    def __init__(self, uri: str) -> None:
        self._url = urlsplit(uri)
        host = self._url.netloc.rpartition("@")[2]
        self._prefix = self._url.path.rstrip("/")
        self.host = host
        self.address = f"{self._url.scheme}://{host}{self._prefix}"
        self._route = Route(self._url, read_number(TIMEOUT_VARIABLE, DEFAULT_TIMEOUT_S))
        self._pauses_s = PAUSES_S[: read_whole_number(RETRIES_VARIABLE, len(PAUSES_S))]
        self._headers = {"User-Agent": f"projrun/{__version__}", **authorization_headers(self._url)}
        self._idle: list[http.client.HTTPConnection] = []

    def get(self, endpoint: str, query: Query) -> Any:
        given = query.items() if isinstance(query, Mapping) else query
        path = f"/api/2.0/mlflow/{endpoint}?{urlencode(list(given))}"
        return self._decoded(self.send(HttpRequest("GET", path)))

    def post(self, endpoint: str, content: Mapping[str, object], *, may_repeat: bool = True) -> Any:
        body = msgspec.json.encode(content)
        request = HttpRequest("POST", f"/api/2.0/mlflow/{endpoint}", body, may_repeat=may_repeat)
        return self._decoded(self.send(request))

    def send(self, request: HttpRequest) -> bytes:
        """Return the body of a successful answer. Raises TrackingError for all others."""
        with self.answer(request) as response:
            return response.read()

    @contextmanager
    def answer(self, request: HttpRequest) -> Iterator[http.client.HTTPResponse]:
        """Yield a successful answer, its body still to be read. Raises TrackingError for all others."""
        connection, response = self._tried(request)
        done = False
        try:
            if response.status >= 300:
                raise self._refused(response.status, response.read())
            yield response
            done = response.isclosed()
        except (http.client.HTTPException, OSError) as error:
            raise self._broken(error) from None
        finally:
            if done:
                self._idle.append(connection)
            else:
                connection.close()
            response.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _tried(self, request: HttpRequest) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        pauses = iter(self._pauses_s)
        while True:
            pause_s = next(pauses, None)
            try:
                connection, response = self._sent(request)
            except NotSentError as error:
                if pause_s is None or _is_distrust(error.__cause__):
                    raise self._broken(error.__cause__ or error) from None
            except (http.client.HTTPException, OSError) as error:
                if pause_s is None or not request.may_repeat:
                    raise self._broken(error, LostAnswerError) from None
            else:
                if pause_s is None or response.status not in (TRANSIENT if request.may_repeat else BUSY):
                    return connection, response
                response.close()
                connection.close()
            time.sleep(pause_s)

    def _sent(self, request: HttpRequest) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = self._connection(request.may_repeat)
        headers = {**self._headers, **self._route.headers}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        if isinstance(request.body, FileUpload):  # its length, as not every server takes chunks
            headers["Content-Length"] = str(request.body.length)
        try:
            target = f"{self._route.target}{self._prefix}{request.path}"
            connection.request(request.method, target, body=request.body, headers=headers)
            return connection, connection.getresponse()
        except ValueError as error:
            connection.close()
            raise TrackingError(f"{self.address}: {error}", "look at the credentials") from None
        except BaseException:
            connection.close()
            raise

    def _connection(self, may_be_used: bool) -> http.client.HTTPConnection:
        # The server may have closed an idle connection, which shows only after a request was sent.
        if may_be_used and self._idle:
            return self._idle.pop()
        try:
            connection = self._route.connection()
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            raise NotSentError from error
        return connection

    def _decoded(self, body: bytes) -> Any:
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            raise TrackingError(
                f"{self.address} did not answer with JSON",
                "check that MLFLOW_TRACKING_URI is an MLflow server",
            ) from None

    def _broken(self, error: BaseException, kind: type[TrackingError] = TrackingError) -> TrackingError:
        if _is_distrust(error):
            return kind(
                f"the certificate of {self.address} is not trusted: {error}",
                "name its authority with MLFLOW_TRACKING_SERVER_CERT_PATH, or SSL_CERT_FILE",
                error_code="TEMPORARILY_UNAVAILABLE",
            )
        reason = one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)
        return kind(
            f"cannot reach the tracking server {self.address}: {reason}",
            "check MLFLOW_TRACKING_URI and that the server runs,"
            " or unset it to keep runs in projrun's own store",
            error_code="TEMPORARILY_UNAVAILABLE",
        )

    def _refused(self, status: int, body: bytes) -> TrackingError:
        code, message = _error_of(body)
        if status == 401:
            return TrackingError(
                f"the tracking server {self.address} refused the credentials",
                "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
                error_code=code or "UNAUTHENTICATED",
            )
        if code:
            text = f"{one_line(message)} (from {self.address})"
            return TrackingError(text, error_code=code)
        text = f"the tracking server {self.address} answered {status} {http.client.responses.get(status, '')}"
        if status in TRANSIENT:
            kind = TrackingError if status in BUSY else LostAnswerError
            return kind(text, "try again when it runs", error_code="TEMPORARILY_UNAVAILABLE")
        return TrackingError(
            text,
            "check that MLFLOW_TRACKING_URI is an MLflow server",
            error_code="ENDPOINT_NOT_FOUND" if status == 404 else "INTERNAL_ERROR",
        )


def _is_distrust(error: BaseException | None) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _error_of(body: bytes) -> tuple[str, str]:
    """Return MLflow's error code and message; '' for an answer of another shape."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return "", ""
    if not isinstance(content, dict) or not isinstance(content.get("error_code"), str):
        return "", ""
    return content["error_code"], str(content.get("message", ""))
