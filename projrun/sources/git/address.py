"""Addresses of repositories: the text that git gets, the text for people, and those that are refused."""

from __future__ import annotations

import os
import re

import msgspec

from projrun.errors import SourceError
from projrun.net import without_credentials

# Not compiled here, because a run of a local directory needs none of them.
_URL = r"(?is)(?:git\+)?(https?|ssh|git|file)://(.*)"
_SSH_ALIAS = r"(?i)(?:git\+ssh|ssh\+git)://"
_SCP = r"(?s)(?:[A-Za-z0-9][\w.+~-]*@)?(?:[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:.]+\]):(?!:|//).+"
_HELPER = r"[A-Za-z0-9][A-Za-z0-9+.-]*::"
_HOST = r"(?:[A-Za-z0-9_][\w.-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?"


class Address(msgspec.Struct, frozen=True):
    """A repository as git is told of it, and the credentials, which must not stand in the URL."""

    url: str  # a URL without credentials, an scp-like address or an absolute path
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Address({self.url!r})"

    @property
    def is_local(self) -> bool:
        return self.url.startswith(("/", "file://"))

    @property
    def is_ssh(self) -> bool:
        return self.url.startswith("ssh://") or (not self.is_local and "://" not in self.url)

    @property
    def secret(self) -> str:
        """Return the credential that no message may show; may be empty."""
        return self.password or self.user

    @property
    def origin(self) -> str:
        """Return scheme, host and port of a URL, for which its credentials are valid."""
        return "/".join(self.url.split("/", 3)[:3]) if "://" in self.url else ""

    @property
    def name(self) -> str:
        """Return the last part of the repository's path, made a valid name of a directory."""
        last = re.split(r"[/:]", self.url.rstrip("/"))[-1].removesuffix(".git")
        return re.sub(r"[^\w.-]", "-", last).lstrip(".-") or "project"


def looks_like_url(text: str) -> bool:
    """Return True for what git could clone and for what must be refused with an error."""
    return any(re.match(shape, text) for shape in (_URL, _SSH_ALIAS, _SCP, _HELPER))


def address_of(text: str) -> Address:
    """Parse a URL, scp-like address or path and make it safe to hand to git. Raises SourceError."""
    shown = without_credentials(text)
    if not text.isprintable():
        raise SourceError(f"{shown!r} holds control characters", "give the URL alone, on one line")
    if text.startswith("-") or re.match(_HELPER, text):
        raise SourceError(
            f"'{shown}' names a transport that projrun does not use", "give an http(s), ssh or file URL"
        )
    if url := re.match(_URL, re.sub(_SSH_ALIAS, "ssh://", text)):
        return _parse_url(url[1].lower(), url[2], shown)
    if re.fullmatch(_SCP, text) and not text.startswith("/"):
        return Address(text.rstrip("/"))
    return Address(os.path.abspath(text))


def relative_to(parent: Address, url: str) -> Address:
    """Return the address of a submodule, whose URL may start at its parent's (`../other.git`)."""
    child = address_of(_join(parent, url) if url.startswith(("./", "../")) else url)
    if child.is_local and not parent.is_local:
        raise SourceError(
            f"'{child.url}' is a path on this machine, but {parent.url} is not on it",
            "mend the URL of the submodule in .gitmodules",
        )
    if child.origin and child.origin == parent.origin and not child.user:
        return msgspec.structs.replace(child, user=parent.user, password=parent.password)
    return child


def _join(parent: Address, url: str) -> str:
    base, separator = parent.url, "/"
    while url.startswith(("./", "../")):
        if url.startswith("../"):
            cut = max(base.rfind("/"), base.rfind(":"))
            if cut <= len(parent.origin) - 1:
                raise SourceError(
                    f"'{url}' leads above {parent.url}", "mend the URL of the submodule in .gitmodules"
                )
            base, separator = base[:cut], base[cut]
        url = url.partition("/")[2]
    return f"{base}{separator}{url}"


def _parse_url(scheme: str, rest: str, shown: str) -> Address:
    authority, slash, path = rest.partition("/")
    userinfo, at, host = authority.rpartition("@")
    if scheme == "file":
        return Address(f"file://{rest}".rstrip("/"))
    if not re.fullmatch(_HOST, host) or userinfo.startswith("-"):
        # not shown, because it may be a password with a slash in it
        raise SourceError(f"the {scheme} URL names no host", "write special characters in it as %XX")
    if scheme == "ssh":
        return Address(f"ssh://{userinfo.partition(':')[0]}{at}{host}{slash}{path}".rstrip("/"))
    if "?" in path:
        raise SourceError(
            f"'{shown.partition('?')[0]}' is followed by '?…', which no Git URL has",
            "leave it out; credentials belong in git's credential helper",
        )
    user, password = _decode_credentials(userinfo)
    return Address(f"{scheme}://{host}{slash}{path}".rstrip("/"), user, password)


def _decode_credentials(userinfo: str) -> tuple[str, str]:
    if not userinfo:
        return "", ""
    from urllib.parse import unquote

    user, _, password = userinfo.partition(":")
    pair = unquote(user), unquote(password)
    if not all(part.isprintable() for part in pair):
        raise SourceError("the credentials in the URL hold control characters", "check the URL")
    return pair
