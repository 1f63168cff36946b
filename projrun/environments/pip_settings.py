"""The user's pip configuration, read as pip reads it, and its meaning for uv.

Nothing that is configured for uv itself is overridden. The values may hold credentials: they travel in
environment variables, never in arguments.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from projrun.environments.installer_settings import RESOLVING, Place, options_of_pip
from projrun.errors import UsageError

_UV_INDEXES = ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_INDEX_KEYS = ("index", "index-url", "extra-index-url", "find-links", "no-index")
"""Of uv.toml. Where one is set, the indexes are uv's matter altogether."""
_PLAIN = {
    "build-constraint": "UV_BUILD_CONSTRAINT",
    "client-cert": "SSL_CLIENT_CERT",
    "constraint": "UV_CONSTRAINT",
    "retries": "UV_HTTP_RETRIES",
    "timeout": "UV_HTTP_TIMEOUT",
    "trusted-host": "UV_INSECURE_HOST",
    "uploaded-prior-to": "UV_EXCLUDE_NEWER",
}
_PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
_ALIASES = {"default-timeout": "timeout", "pypi-url": "index-url"}
TRUE = ("1", "true", "yes", "on", "t", "y")


def for_uv(environ: Mapping[str, str] = os.environ, places: tuple[Place, ...] = RESOLVING) -> dict[str, str]:
    """The variables that make uv do what pip would do here, of the settings with these places."""
    settings = pip_settings(environ, places)
    found = {uv: _words(settings[pip]) for pip, uv in _PLAIN.items() if settings.get(pip)}
    if settings.get("cert") and not environ.get("SSL_CERT_DIR"):
        found["SSL_CERT_FILE"] = settings["cert"]
    if settings.get("proxy") and not any(environ.get(n) or environ.get(n.lower()) for n in _PROXIES):
        found["ALL_PROXY"] = settings["proxy"]
    if _is_true(settings.get("pre", "")):
        found["UV_PRERELEASE"] = "allow"
    if settings.get("keyring-provider") in ("import", "subprocess"):
        found["UV_KEYRING_PROVIDER"] = "subprocess"  # the one that uv has
    if not _uv_has_indexes(environ):
        found |= _indexes(settings)
    return {name: value for name, value in found.items() if value and not environ.get(name)}


def no_index(environ: Mapping[str, str] = os.environ) -> bool:
    """Return True if pip is told to ask no index and uv has no index settings."""
    return _is_true(pip_settings(environ).get("no-index", "")) and not _uv_has_indexes(environ)


def packages_for_compile(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Options of `uv pip compile` for the packages that pip is told to build, or never to build."""
    settings = pip_settings(environ, ("resolve",))
    return [
        f"--{option}={package}"
        for option in ("no-binary", "only-binary")
        for package in re.split(r"[\s,]+", settings.get(option, ""))
        if package
    ]


def pip_settings(
    environ: Mapping[str, str] = os.environ, places: tuple[Place, ...] = RESOLVING
) -> dict[str, str]:
    """Long option of `pip install` -> value: `[global]`, then `[install]` of the files, then PIP_ variables.

    places: of the options that count. Raises UsageError for a file that is none of pip's.
    """
    found = {**settings_in_files(environ), **settings_in_variables(environ)}
    counting = options_of_pip(places)
    return {name: value for name, value in found.items() if name in counting}


def settings_in_files(environ: Mapping[str, str]) -> dict[str, str]:
    """Long option of `pip install` -> value, of every pip.conf. Raises UsageError."""
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for file in _files(environ):
        for section, values in _read(file).items():
            sections.setdefault(section, {}).update(values)
    return {**sections["global"], **sections["install"]}


def settings_in_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Long option of pip -> value, of the variables PIP_NAME."""
    return {
        _option(name.removeprefix("PIP_")): value
        for name, value in environ.items()
        if name.startswith("PIP_") and value
    }


def uv_files(environ: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """The uv.toml of the user and the one of the machine, those that are there: the one that wins first."""
    if environ.get("UV_NO_CONFIG", "").lower() in TRUE:
        return
    if named := environ.get("UV_CONFIG_FILE"):
        if os.path.isfile(named):
            yield Path(named)
        return
    if (file := _config_home(environ) / "uv" / "uv.toml").is_file():
        yield file
    if environ.get("UV_NO_SYSTEM_CONFIG", "").lower() in TRUE:
        return
    named_places = [Path(one) for one in environ.get("XDG_CONFIG_DIRS", "").split(":") if one]
    for place in (*(named_places or [Path("/etc/xdg")]), Path("/etc")):
        if (file := place / "uv" / "uv.toml").is_file():
            yield file
            return


def _indexes(settings: Mapping[str, str]) -> dict[str, str]:
    return {
        "UV_DEFAULT_INDEX": settings.get("index-url", ""),
        "UV_INDEX": _words(settings.get("extra-index-url", "")),
        "UV_FIND_LINKS": ",".join(settings.get("find-links", "").split()),
    }


def _uv_has_indexes(environ: Mapping[str, str]) -> bool:
    if any(environ.get(name) for name in _UV_INDEXES):
        return True
    for file in uv_files(environ):
        from projrun.documents import toml_file

        document = toml_file.load(file, str(file))
        pip = document.get("pip")
        if any(key in table for table in (document, pip) if isinstance(table, dict) for key in _INDEX_KEYS):
            return True
    return False


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the configuration files that exist; the last one wins."""
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return
    home, venv = Path(environ.get("HOME") or Path.home()), environ.get("VIRTUAL_ENV") or sys.prefix
    machine = [Path(one, "pip") for one in environ.get("XDG_CONFIG_DIRS", "").split(":") if one]
    candidates = [*(machine or [Path("/etc/xdg/pip")]), Path("/etc")]
    if not (named and os.path.exists(named)):
        candidates += [home / ".pip", _config_home(environ) / "pip"]
        if sys.platform == "darwin":
            candidates.append(home / "Library" / "Application Support" / "pip")
    candidates.append(Path(venv))
    for directory in candidates:
        if (file := directory / "pip.conf").is_file():
            yield file
    if named and os.path.isfile(named):
        yield Path(named)


def _read(file: Path) -> dict[str, dict[str, str]]:
    import configparser

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        raise UsageError(f"{file} is not a configuration of pip", "mend it: pip config debug") from None
    return {
        section: {_option(name): value for name, value in parser.items(section)}
        for section in parser.sections()
    }


def _option(name: str) -> str:
    plain = name.lower().replace("_", "-").removeprefix("--")
    return _ALIASES.get(plain, plain)


def _config_home(environ: Mapping[str, str]) -> Path:
    home = Path(environ.get("HOME") or Path.home())
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config")


def _words(value: str) -> str:
    return " ".join(value.split())


def _is_true(value: str) -> bool:
    return value.lower() in TRUE
