"""The user's conda configuration: condarc files, and CONDA_ variables on top."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from projrun.documents.yaml_cache import load_yaml
from projrun.errors import BuildError
from projrun.net import channel_without_credentials, is_offline

# Channels that the name `defaults` means unless the configuration names others
DEFAULT_CHANNELS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
CHANNEL_ALIAS = "https://conda.anaconda.org"
_PRIORITIES = {"true": "strict", "false": "disabled"}
_TRUE = ("1", "true", "yes", "on")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    channels: tuple[str, ...] = ()  # names, paths or URLs as written; those of the more specific file first
    default_channels: tuple[str, ...] = DEFAULT_CHANNELS
    custom_channels: dict[str, str] = {}
    custom_multichannels: dict[str, tuple[str, ...]] = {}
    channel_alias: str = CHANNEL_ALIAS
    priority: str = "flexible"  # channel priority: strict, flexible (conda's default) or disabled
    subdir: str = ""
    offline: bool = False
    ssl_verify: str = "true"
    proxies: dict[str, str] = {}

    def urls(self, channel: str, directory: Path) -> list[str]:
        """Return the URLs, with credentials, of a channel given by name, path (from `directory`) or URL."""
        channel = os.path.expandvars(channel).rstrip("/")
        if channel == "defaults":
            return [url for name in self.default_channels for url in self.urls(name, directory)]
        if channel in self.custom_multichannels:
            names = self.custom_multichannels[channel]
            return [url for name in names if name != channel for url in self.urls(name, directory)]
        if "://" in channel:
            return [channel]
        if channel.startswith((".", "/", "~")):
            return [(directory / os.path.expanduser(channel)).resolve().as_uri()]
        top = channel.partition("/")[0]
        base = self.custom_channels.get(channel) or self.custom_channels.get(top) or self.channel_alias
        return [f"{os.path.expandvars(base).rstrip('/')}/{channel}"]

    def facts(self) -> dict[str, Any]:
        """Return the settings that a resolution depends on, without credentials."""
        facts: dict[str, Any] = msgspec.to_builtins(self)
        for name in ("offline", "ssl_verify", "proxies"):
            del facts[name]
        overrides = {name: value for name, value in os.environ.items() if name.startswith("CONDA_OVERRIDE_")}
        return {
            "overrides": overrides,
            **{name: _without_credentials(value) for name, value in facts.items()},
        }


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    values: dict[str, Any] = {}
    for file in _condarc_files(environ):
        _merge(values, _read(file))
    for name in ("channels", "default_channels", "channel_alias", "channel_priority", "subdir", "offline"):
        if value := environ.get(f"CONDA_{name.upper()}"):
            values[name] = value.split(",") if name.endswith("channels") else value
    if value := environ.get("CONDA_SSL_VERIFY"):
        values["ssl_verify"] = value
    offline = "true" if is_offline(environ) else str(values.get("offline", ""))
    priority = str(values.get("channel_priority", "flexible")).lower()
    priority = _PRIORITIES.get(priority, priority)
    if priority not in ("strict", "flexible", "disabled"):
        raise BuildError(f"'{priority}' is no channel_priority", "write strict, flexible or disabled")
    multi = values.get("custom_multichannels") or {}
    return Settings(
        channels=_as_strings(values.get("channels")),
        default_channels=_as_strings(values.get("default_channels")) or DEFAULT_CHANNELS,
        custom_channels={str(name): str(url) for name, url in (values.get("custom_channels") or {}).items()},
        custom_multichannels={str(name): _as_strings(channels) for name, channels in multi.items()},
        channel_alias=str(values.get("channel_alias") or CHANNEL_ALIAS),
        priority=priority,
        subdir=str(values.get("subdir") or ""),
        offline=offline.lower() in _TRUE,
        ssl_verify=str(values.get("ssl_verify", True)),
        proxies={str(name): str(url) for name, url in (values.get("proxy_servers") or {}).items()},
    )


def _condarc_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """List the files in the order in which conda reads them, the most general first.

    Source: "Searching for .condarc" in conda's user guide.
    """
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    roots = [Path("/etc/conda"), Path("/var/lib/conda")]
    if root := environ.get("CONDA_ROOT"):
        roots.append(Path(root))
    roots += [config / "conda", home / ".conda"]
    for root_directory in roots:
        yield root_directory / ".condarc"
        yield root_directory / "condarc"
        if (root_directory / "condarc.d").is_dir():
            yield from sorted((root_directory / "condarc.d").glob("*.y*ml"))
    yield home / ".condarc"
    if named := environ.get("CONDARC"):
        yield Path(os.path.expanduser(named))


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    data = load_yaml(file, remember=False).data
    if data is not None and not isinstance(data, dict):
        raise BuildError(f"{file} is not a conda configuration", "write lines such as 'channels: […]'")
    return data or {}


def _merge(values: dict[str, Any], more: dict[str, Any]) -> None:
    """Merge as conda does: lists of the more specific file first, mappings joined, other values replaced."""
    for key, value in more.items():
        before = values.get(key)
        if isinstance(value, list) and isinstance(before, list):
            values[key] = [*value, *(item for item in before if item not in value)]
        elif isinstance(value, dict) and isinstance(before, dict):
            values[key] = {**before, **value}
        else:
            values[key] = value


def _as_strings(value: object) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value] if value else []
    return tuple(str(item).strip() for item in values)


def _without_credentials(value: Any) -> Any:
    if isinstance(value, str):
        return channel_without_credentials(value)
    if isinstance(value, dict):
        return {name: _without_credentials(item) for name, item in value.items()}
    return [_without_credentials(item) for item in value] if isinstance(value, (list, tuple)) else value
