"""Calls of rattler, which runs in a process of its own (`rattler_program`), and its errors in one line.

JSON goes in and out through files. A process that has used rattler can crash while Python shuts down, so that
program ends with `os._exit`, and no other process loads rattler.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from projrun.console import one_line
from projrun.disk.file_operations import temporary_directory
from projrun.environments.conda.condarc import Settings
from projrun.errors import FREE_SPACE, BuildError, UnavailableError
from projrun.net import OFFLINE_VARIABLE, channel_without_credentials
from projrun.processes import merge_environ
from projrun.processes.programs import run_with_progress

PROGRAM = "projrun.environments.conda.rattler_program"


class CondaPackage(msgspec.Struct, frozen=True):
    name: str
    version: str
    url: str
    sha256: str
    python: bool  # true for a Python library, which pip must know of


class PypiPackage(msgspec.Struct, frozen=True):
    name: str
    version: str
    location: str
    sha256: str


class RattlerAnswer(msgspec.Struct, frozen=True):
    lock: str = ""
    packages: tuple[CondaPackage, ...] = ()
    pypi: tuple[PypiPackage, ...] = ()
    link_scripts: tuple[str, ...] = ()  # names of packages whose link scripts were not run
    error: str = ""
    kind: str = ""


class Channels:
    """The channels of an environment: clean URLs, as locks hold them, and apart from these their credentials.

    Credentials are looked up again at each download: rattler's store, netrc, condarc, `${VARIABLES}` of URLs.
    """

    def __init__(self, written: Sequence[str], settings: Settings, directory: Path) -> None:
        self._settings, self._directory = settings, directory
        self._opened: dict[str, str] = {}
        self.urls = list(dict.fromkeys(url for channel in written for url in self.add(channel)))

    def add(self, channel: str) -> list[str]:
        """Return a channel's URLs without credentials; these are remembered for `mirrors` and `netrc`."""
        urls = self._settings.urls(channel, self._directory)
        for url in urls:
            if unset := re.search(r"\$\{?(\w+)\}?", url):
                raise BuildError(
                    f"the channel '{channel_without_credentials(channel)}' needs the variable {unset[1]}",
                    f"set {unset[1]}, then run it again",
                )
            self._opened[channel_without_credentials(url)] = url
        return [channel_without_credentials(url) for url in urls]

    def spec(self, written: str) -> str:
        """Return the match spec with its channel, if it names one, as a URL; that channel is added."""
        channel, mark, rest = written.strip().partition("::")
        if not mark:
            return written
        url = self.add(channel)[0]
        if url not in self.urls:
            self.urls.append(url)
        return f"{url}::{rest.strip()}"

    @property
    def mirrors(self) -> dict[str, list[str]]:
        """Return the real URLs of channels that have a token in their path."""
        mirrors = {}
        for clean, url in self._opened.items():
            parts = urlsplit(url)
            without_user = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
            if without_user != clean:
                mirrors[clean] = [without_user]
        return mirrors

    @property
    def netrc(self) -> str:
        lines = []
        for clean, url in self._opened.items():
            parts = urlsplit(url)
            if parts.username:
                user, password = unquote(parts.username), unquote(parts.password or "")
                if re.search(r"\s", user + password):
                    hint = "write them to a file and name that in RATTLER_AUTH_FILE"
                    raise BuildError(f"the password or name for the channel '{clean}' holds a blank", hint)
                lines.append(f"machine {parts.hostname} login {user} password {password}\n")
        return "".join(lines)


def pylock_of_packages(packages: Sequence[PypiPackage]) -> str:
    """Return the PyPI packages of another program's lock as a pylock.toml. Raises BuildError."""
    parts = ['lock-version = "1.0"\ncreated-by = "projrun"\n']
    for package in packages:
        if not package.location.startswith(("http://", "https://")) or not package.sha256:
            raise BuildError(
                f"the lock has {package.name} from {package.location}, which is not a file with a sha256",
                "name a released package",
            )
        name = package.location.partition("?")[0].rpartition("/")[2]
        file = f"{{ name = {_quote(name)}, url = {_quote(package.location)}"
        file += f", hashes = {{ sha256 = {_quote(package.sha256)} }} }}"
        kind = f"wheels = [{file}]" if name.endswith(".whl") else f"sdist = {file}"
        parts.append(
            f"\n[[packages]]\nname = {_quote(package.name)}\nversion = {_quote(package.version)}\n{kind}\n"
        )
    return "".join(parts) if packages else ""


def require_rattler() -> None:
    from importlib.util import find_spec

    if find_spec("rattler") is None:
        raise UnavailableError(
            "conda environments need py-rattler, which is not installed",
            "pip install 'projrun[conda]', or use another --env-manager",
        )


def run_rattler(
    operation: str, channels: Channels, settings: Settings, log: Path, **request: Any
) -> RattlerAnswer:
    """Run an operation of `rattler_program` and return its answer. Raises BuildError in one line."""
    require_rattler()
    message = {
        "operation": operation,
        "channels": channels.urls,
        "platform": settings.subdir,
        "priority": settings.priority,
        "offline": settings.offline,
        "cache": str(_cache_directory()),
        "config": _rattler_config(channels, settings),
        **request,
    }
    with temporary_directory() as temporary:
        # A file, not an argument: the request may hold credentials, which `ps` would show.
        request_file, answer_file = temporary / "request.json", temporary / "answer.json"
        request_file.write_bytes(msgspec.json.encode(message))
        environ = merge_environ(os.environ, _network_variables(channels, settings, temporary))
        argv = [sys.executable, "-m", PROGRAM, str(request_file), str(answer_file)]
        run_with_progress(argv, log=log, cwd=temporary, environ=environ)
        try:
            answer = msgspec.json.decode(answer_file.read_bytes(), type=RattlerAnswer)
        except (OSError, msgspec.MsgspecError):
            raise BuildError("rattler ended without an answer", f"look at {log}") from None
    if answer.error:
        with log.open("a") as file:
            file.write(f"{channel_without_credentials(answer.error)}\n")
        raise _build_error(answer, settings)
    return answer


def read_project_lock(
    name: str, directory: Path, specs: list[str], channels: Channels, settings: Settings, log: Path
) -> RattlerAnswer:
    """Convert the project's conda lock `name` to ours. Raises BuildError, also if it does not fit `specs`."""
    try:
        return run_rattler("read", channels, settings, log, specs=specs, file=str(directory / name))
    except BuildError as error:
        raise BuildError(f"{name}: {error.message}", error.hint) from None


def _build_error(answer: RattlerAnswer, settings: Settings) -> BuildError:
    told = one_line(re.sub(r"[│├└─]+", " ", channel_without_credentials(answer.error)), 1000).rstrip(".")
    if answer.kind == "network" and settings.offline:
        hint = f"run it once without {OFFLINE_VARIABLE}, so that all is in the cache"
    elif answer.kind == "network":
        hint = (
            f"check the network, the proxy and the channels; {OFFLINE_VARIABLE}=1 uses what is in the cache"
        )
    elif re.search(r"\b40[13]\b", told):
        hint = "log in to the channel: RATTLER_AUTH_FILE, ~/.netrc, or ${VARIABLES} in the channel's URL"
    elif "No space left" in told:
        hint = FREE_SPACE
    else:
        hints = {
            "unsolvable": "correct the packages or the channels of the project, then run it again",
            "stale": "make the lock anew, or remove it",
            "damaged": "the package was changed or damaged: ask who keeps the channel, or make the lock anew",
        }
        hint = hints.get(answer.kind, "correct it, then run it again")
    return BuildError(f"the conda environment could not be made: {told}", hint)


def _rattler_config(channels: Channels, settings: Settings) -> str:
    """Return TOML that is merged over rattler's own configuration files. JSON strings are TOML strings."""
    lines = []
    if settings.ssl_verify.lower() == "false":
        lines.append("tls-no-verify = true")
    elif settings.ssl_verify.lower() != "true":
        lines.append('tls-root-certs = "system"')
    proxies = {name: url for name, url in settings.proxies.items() if name in ("http", "https")}
    for title, table in (("proxy-config", proxies), ("mirrors", channels.mirrors)):
        if table:
            lines.append(f"[{title}]")
            lines += [f"{_quote(name)} = {_quote(value)}" for name, value in table.items()]
    return "\n".join(lines) + "\n"


def _network_variables(channels: Channels, settings: Settings, temporary: Path) -> dict[str, str]:
    variables = {}
    if os.path.isfile(os.path.expanduser(settings.ssl_verify)):
        variables["SSL_CERT_FILE"] = os.path.expanduser(settings.ssl_verify)
    if channels.netrc:
        user_netrc = Path(os.environ.get("NETRC") or os.path.expanduser("~/.netrc"))
        kept = user_netrc.read_text() if user_netrc.is_file() else ""
        netrc = temporary / "netrc"
        netrc.touch(mode=0o600)
        netrc.write_text(channels.netrc + kept)
        variables["NETRC"] = str(netrc)
    return variables


def _cache_directory() -> Path:
    """Return rattler's own cache of repodata and packages, which other programs share."""
    if named := os.environ.get("RATTLER_CACHE_DIR"):
        return Path(named).absolute()
    home = Path.home()
    base = home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or base) / "rattler" / "cache"


def _quote(value: object) -> str:
    return msgspec.json.encode(value).decode()
