"""What every operation of `rattlerprogram` needs: a request's settings, and records as a lock."""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from rattler import (
    Channel,
    Client,
    Gateway,
    LockFile,
    LockPlatform,
    MatchSpec,
    RepoDataRecord,
    SourceConfig,
)
from rattler.config import Config
from rattler.platform import Subdir

Request = dict[str, Any]
Answer = dict[str, Any]

CONFIG_OF = "pixi"
"""Its configuration files are read besides rattler's own: mirrors and proxies are kept there."""


class RefusedError(Exception):
    def __init__(self, message: str, kind: str = "other") -> None:
        super().__init__(message)
        self.kind = kind


class Session:
    """What every operation needs of a request."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.platform = request.get("platform") or str(Subdir.current())
        self.offline = bool(request.get("offline"))
        self.config = Config.load_from_default_locations(CONFIG_OF).merge(
            Config.from_toml(request.get("config", ""))
        )
        self.client = Client.from_config(self.config, max_retries=0 if self.offline else 2)
        repodata = self.config.repodata_config
        source = SourceConfig(
            zstd_enabled=not repodata.get("disable-zstd"),
            bz2_enabled=not repodata.get("disable-bzip2"),
            sharded_enabled=not repodata.get("disable-sharded"),
            cache_action="force-cache-only" if self.offline else "cache-or-fetch",
        )
        cache = request.get("cache") or ""
        self.repodata = Path(cache, "repodata") if cache else None
        self.packages = Path(cache, "pkgs") if cache else None
        self.gateway = Gateway(cache_dir=self.repodata, default_config=source, client=self.client)

    @property
    def platforms(self) -> list[Any]:
        return [self.platform, "noarch"]

    def channels(self) -> list[Channel]:
        return [Channel(name) for name in self.names()]

    def names(self) -> list[str]:
        return self.request["channels"] or self.config.default_channels or ["conda-forge"]


def parsed(text: str) -> MatchSpec:
    try:
        return MatchSpec(text)
    except Exception as error:
        raise RefusedError(f"'{text}' is not a conda package: {error}", "unsolvable") from None


def locked(session: Session, channels: list[Channel], records: list[RepoDataRecord]) -> Answer:
    platform = LockPlatform(session.platform)
    lock = LockFile([platform])
    lock.set_channels("default", [channel.to_lock_channel() for channel in channels])
    for record in records:
        if record.sha256 is None:
            raise RefusedError(f"the channel gives no sha256 for {record.file_name}", "damaged")
        lock.add_conda_package("default", platform, record)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "lock")
        lock.to_path(path)
        return {"lock": path.read_text(), "packages": described(records)}


def described(records: list[RepoDataRecord]) -> list[Answer]:
    """python: whether it is a library of Python, of which pip is to know."""
    return [
        {
            "name": record.name.normalized,
            "version": str(record.version),
            "url": record.url,
            "sha256": record.sha256.hex() if record.sha256 else "",
            "python": any(re.match(r"python(_abi)?\b", line) for line in record.depends),
        }
        for record in sorted(records, key=lambda record: record.name.normalized)
    ]


def local_file(url: str) -> Path | None:
    parts = urlparse(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}") from None
    return digest.hexdigest()
