"""The user's configuration of pip and uv, read once as these read it, and what pip's means for uv.

The values may hold credentials: they travel in environment variables and files that only the user can read,
never in arguments.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from projrun.environments.installer_settings import RESOLVING, Scope, options_of_pip
from projrun.errors import UsageError

_UV_INDEXES = ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_INDEX_KEYS = ("index", "index-url", "extra-index-url", "find-links", "no-index")
_UV_VARIABLES = {
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
_TRUE = ("1", "true", "yes", "on", "t", "y")


class UvFile(msgspec.Struct, frozen=True):
    path: Path
    document: dict[str, Any]


class UserSettings(msgspec.Struct, frozen=True):
    """The configuration files and variables of pip and uv as they were when they were read."""

    environ: Mapping[str, str]
    pip_files: dict[str, str]  # long option of `pip install` -> value, of every pip.conf
    # The uv.toml of the user and the one of the machine, those that exist: the one that wins first
    uv_files: tuple[UvFile, ...]

    @property
    def pip_variables(self) -> dict[str, str]:
        """Return long option of pip -> value, of the variables PIP_NAME."""
        return {
            _option(name.removeprefix("PIP_")): value
            for name, value in self.environ.items()
            if name.startswith("PIP_") and value
        }

    def for_pip(self, scopes: tuple[Scope, ...] = RESOLVING) -> dict[str, str]:
        """Return long option of `pip install` -> value, of the options with these scopes."""
        counting = options_of_pip(scopes)
        settings = {**self.pip_files, **self.pip_variables}
        return {name: value for name, value in settings.items() if name in counting}

    def for_uv(self, scopes: tuple[Scope, ...] = RESOLVING) -> dict[str, str]:
        """Return the variables that make uv do what pip would do, of the settings with these scopes.

        Nothing that is configured for uv itself is overridden.
        """
        environ, settings = self.environ, self.for_pip(scopes)
        variables = {uv: _words(settings[pip]) for pip, uv in _UV_VARIABLES.items() if settings.get(pip)}
        if settings.get("cert") and not environ.get("SSL_CERT_DIR"):
            variables["SSL_CERT_FILE"] = settings["cert"]
        if settings.get("proxy") and not any(environ.get(n) or environ.get(n.lower()) for n in _PROXIES):
            variables["ALL_PROXY"] = settings["proxy"]
        if _is_true(settings.get("pre", "")):
            variables["UV_PRERELEASE"] = "allow"
        if settings.get("keyring-provider") in ("import", "subprocess"):
            variables["UV_KEYRING_PROVIDER"] = "subprocess"  # the only one that uv has
        if not self._uv_has_indexes():
            variables["UV_DEFAULT_INDEX"] = settings.get("index-url", "")
            variables["UV_INDEX"] = _words(settings.get("extra-index-url", ""))
            variables["UV_FIND_LINKS"] = ",".join(settings.get("find-links", "").split())
        return {name: value for name, value in variables.items() if value and not environ.get(name)}

    def no_index(self) -> bool:
        """Return True if pip is told to ask no index and uv has no index settings."""
        return _is_true(self.for_pip().get("no-index", "")) and not self._uv_has_indexes()

    def compile_options(self) -> list[str]:
        """Return options of `uv pip compile` for packages that pip is told to build, or never to build."""
        settings = self.for_pip(("resolve",))
        return [
            f"--{option}={package}"
            for option in ("no-binary", "only-binary")
            for package in re.split(r"[\s,]+", settings.get(option, ""))
            if package
        ]

    def _uv_has_indexes(self) -> bool:
        """Return True if uv has index settings of its own: then pip's are left out altogether."""
        tables = [table for file in self.uv_files for table in (file.document, file.document.get("pip"))]
        in_files = any(key in table for table in tables if isinstance(table, dict) for key in _INDEX_KEYS)
        return in_files or any(self.environ.get(name) for name in _UV_INDEXES)


def read_user_settings(environ: Mapping[str, str] = os.environ) -> UserSettings:
    """Read the files that pip and uv would read. Raises UsageError for a file that is none of theirs."""
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for path in _pip_files(environ):
        for section, values in _read_pip_file(path).items():
            sections.setdefault(section, {}).update(values)
    return UserSettings(
        environ=environ,
        pip_files={**sections["global"], **sections["install"]},
        uv_files=tuple(UvFile(path, load_toml(path)) for path in _uv_files(environ)),
    )


def load_toml(path: Path) -> dict[str, Any]:
    from projrun.documents import toml_file  # late: most users have no uv.toml

    return toml_file.load(path, str(path))


def ignores_uv_files(environ: Mapping[str, str] = os.environ) -> bool:
    """Return True if the user tells uv to read no configuration file."""
    return _is_true(environ.get("UV_NO_CONFIG", ""))


def _uv_files(environ: Mapping[str, str]) -> Iterator[Path]:
    if ignores_uv_files(environ):
        return
    if named := environ.get("UV_CONFIG_FILE"):
        if os.path.isfile(named):
            yield Path(named)
        return
    if (file := _config_home(environ) / "uv" / "uv.toml").is_file():
        yield file
    if _is_true(environ.get("UV_NO_SYSTEM_CONFIG", "")):
        return
    for directory in (*(_machine_directories(environ) or [Path("/etc/xdg")]), Path("/etc")):
        if (file := directory / "uv" / "uv.toml").is_file():
            yield file
            return


def _pip_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the configuration files that exist; the last one wins."""
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return
    machine = [directory / "pip" for directory in _machine_directories(environ)]
    candidates = [*(machine or [Path("/etc/xdg/pip")]), Path("/etc")]
    # pip reads no file of the user where PIP_CONFIG_FILE names one that exists.
    if not (named and os.path.exists(named)):
        candidates += [_home(environ) / ".pip", _config_home(environ) / "pip"]
        if sys.platform == "darwin":
            candidates.append(_home(environ) / "Library" / "Application Support" / "pip")
    candidates.append(Path(environ.get("VIRTUAL_ENV") or sys.prefix))
    for directory in candidates:
        if (file := directory / "pip.conf").is_file():
            yield file
    if named and os.path.isfile(named):
        yield Path(named)


def _read_pip_file(file: Path) -> dict[str, dict[str, str]]:
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


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or Path.home())


def _config_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_CONFIG_HOME") or _home(environ) / ".config")


def _machine_directories(environ: Mapping[str, str]) -> list[Path]:
    return [Path(name) for name in environ.get("XDG_CONFIG_DIRS", "").split(":") if name]


def _words(value: str) -> str:
    return " ".join(value.split())


def _is_true(value: str) -> bool:
    return value.lower() in _TRUE
