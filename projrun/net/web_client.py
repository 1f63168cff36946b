"""GET requests over http and https by the standard library; credentials do not follow a redirect."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from projrun.console import one_line
from projrun.errors import ProjrunError
from projrun.net import without_secrets
from projrun.version import __version__

if TYPE_CHECKING:
    from urllib.request import OpenerDirector, Request

TIMEOUT_S = 60.0  # seconds for which a server may send nothing


class WebError(ProjrunError):
    """A request failed. The caller turns it into an error of its own."""


def is_web_url(url: str) -> bool:
    return re.match(r"https?:", url, re.IGNORECASE) is not None


def is_valid_url(url: str) -> bool:
    """Return True if the URL names a host and holds printable ASCII alone."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port != 0 else ""
    except ValueError:  # the port is not a number
        host = ""
    return bool(host) and not re.search(r"[^!-~]", url)


@contextmanager
def open_url(url: str) -> Iterator[Any]:
    """Yield the response to a GET. Raises WebError, also for errors while the block reads the response."""
    with _web_errors(), _opener().open(_request(url), timeout=TIMEOUT_S) as response:
        yield response


def _request(url: str) -> Request:
    """Return a request. The user part of the URL becomes a header that is not sent along a redirect."""
    import base64
    from urllib.parse import unquote, urlsplit, urlunsplit
    from urllib.request import Request

    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    address = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    request = Request(address)  # noqa: S310 - the opener knows no other scheme
    request.add_header("User-Agent", f"projrun/{__version__}")
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        token = base64.b64encode(pair.encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def _opener() -> OpenerDirector:
    """Return an opener for http and https alone, so a server cannot redirect us to `file:` or `ftp:`."""
    from urllib import request as library

    class Redirects(library.HTTPRedirectHandler):
        def redirect_request(self, req: Request, *rest: Any) -> Request | None:
            to = str(rest[-1])
            if not is_web_url(to) or (req.type == "https" and not to.lower().startswith("https:")):
                shown = one_line(without_secrets(to), 100)
                raise WebError(
                    f"the server redirects to {shown}, where projrun does not follow",
                    "give the address that it leads to",
                )
            return super().redirect_request(req, *rest)

        def http_error_302(self, req: Request, fp: Any, code: int, msg: str, headers: Any) -> Any:
            # The library refuses other schemes too, but its message names neither address.
            to = headers.get("Location") or headers.get("URI") or ""
            if re.match(r"[a-z][a-z0-9+.-]*:", to, re.IGNORECASE) and not is_web_url(to):
                self.redirect_request(req, fp, code, msg, headers, to)
            return super().http_error_302(req, fp, code, msg, headers)

        http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    opener = library.OpenerDirector()
    for handler in (
        library.ProxyHandler(),
        library.HTTPHandler(),
        library.HTTPSHandler(),
        library.HTTPDefaultErrorHandler(),
        library.HTTPErrorProcessor(),
        library.UnknownHandler(),
        Redirects(),
    ):
        opener.add_handler(handler)
    return opener


@contextmanager
def _web_errors() -> Iterator[None]:
    """Turn errors of the library into WebError."""
    from http.client import HTTPException, IncompleteRead
    from urllib.error import HTTPError, URLError

    try:
        yield
    except HTTPError as error:
        error.close()
        hint = "check the address" if error.code in (404, 410) else ""
        raise WebError(f"the server answered {error.code} {one_line(error.reason, 100)}", hint) from None
    except IncompleteRead:
        raise WebError("the connection broke off", "run it again") from None
    except URLError as error:
        reason = error.reason
        text = reason.strerror or str(reason) if isinstance(reason, OSError) else str(reason)
        raise WebError(one_line(text, 200), "check the address and the network") from None
    except TimeoutError:
        raise WebError(f"the server said nothing for {TIMEOUT_S:g} s", "run it again") from None
    except (ConnectionError, HTTPException) as error:
        raise WebError(f"the connection broke off: {one_line(str(error), 200)}", "run it again") from None
