"""The network: whether it may be asked (PROJRUN_OFFLINE, --offline), and URLs in text that people read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

OFFLINE_VARIABLE = "PROJRUN_OFFLINE"

_forbidden = 0


def is_offline(environ: Mapping[str, str] = os.environ) -> bool:
    """Return True if PROJRUN_OFFLINE or an enclosing `offline` block forbids the network."""
    return bool(_forbidden) or environ.get(OFFLINE_VARIABLE, "").lower() in ("1", "true", "yes", "on")


@contextmanager
def offline(wanted: bool) -> Iterator[None]:
    """Forbid the network while the block runs, if `wanted`."""
    global _forbidden
    _forbidden += wanted
    try:
        yield
    finally:
        _forbidden -= wanted


# The user part ends at the last @ before the path. It ends at the very last @ if a colon is followed by no
# port: then it holds a password with a slash in it.
_USER_PART = r"([A-Za-z][A-Za-z0-9+.-]*://)((?:[^/\s]*|[^/\s:@]*:(?!\d+(?:/|$))\S*)@)"


def without_credentials(text: str) -> str:
    """Return `text` without the user part of any URL; the user name of an ssh URL is an address and stays."""
    return re.sub(_USER_PART, _keep_ssh_user, text) if "://" in text else text


def _keep_ssh_user(match: re.Match[str]) -> str:
    scheme, user = match[1], re.split("[:@]", match[2])[0]
    return f"{scheme}{user}@" if "ssh" in scheme.lower() else scheme


# Not compiled here, because most texts hold no URL.
_FIELD = r"([?&])([^=&?#\s]*)=([^&#\s]*)"
_SIGNS = r"(?i)signature|token|secret|password|credential|key|\Asig\Z"


def without_secrets(text: str) -> str:
    """Return `text` without credentials and without signatures in URL queries, which grant access too."""
    return (
        re.sub(_FIELD, _without_value, without_credentials(text))
        if "=" in text
        else without_credentials(text)
    )


def _without_value(field: re.Match[str]) -> str:
    return f"{field[1]}{field[2]}=…" if re.search(_SIGNS, field[2]) else field[0]


_IN_CHANNEL = r"(?<=/)t/(?!\$)[^/]+(?:/|$)"
_VARIABLES_AS_USER = r"://\$\{?\w+\}?(:\$\{?\w+\}?)?@"


def channel_without_credentials(url: str) -> str:
    """Return the URL of a conda channel without its user part and the `t/TOKEN/` in its path.

    Names of environment variables (`${TOKEN}`) are no credentials and stay.
    """
    kept = url if re.search(_VARIABLES_AS_USER, url) else without_credentials(url)
    return re.sub(_IN_CHANNEL, "", kept)
