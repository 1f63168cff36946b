"""The uv.toml that projrun gives uv: what counts for the work at hand of the user's and the project's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from projrun.disk.file_operations import sha256_file, sha256_text, temporary_directory
from projrun.environments.installer_settings import IN_KEY, RESOLVING, Scope, of_document, variables_of
from projrun.environments.user_settings import (
    UserSettings,
    UvFile,
    ignores_uv_files,
    load_toml,
    read_user_settings,
)
from projrun.errors import ProjrunError
from projrun.net import without_secrets

# Keys whose values may be paths, relative to the file that holds them
_KEYS_OF_PATHS = ("index-url", "extra-index-url", "find-links")
# Variables that name files, whose content counts
_VARIABLES_OF_FILES = ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_BUILD_CONSTRAINT")


@contextmanager
def configuration(
    user: UserSettings, directory: Path | None, users: tuple[Scope, ...], projects: tuple[Scope, ...]
) -> Iterator[dict[str, str]]:
    """Yield the variables that make uv read the settings with these scopes, and no others.

    directory: the project's. users, projects: the scopes that count of the user's and the project's files.
    """
    from projrun.documents import toml_file

    project = _project_file(directory) if directory else None
    document = _merge(
        of_document(_with_absolute_paths(project), projects) if project else {}, user_document(user, users)
    )
    if not document:
        yield {"UV_NO_CONFIG": "1"}
        return
    with temporary_directory() as temporary:
        file = temporary / "uv.toml"
        file.touch(mode=0o600)
        file.write_text(toml_file.dump(document))
        yield {"UV_CONFIG_FILE": str(file)}


@contextmanager
def configuration_for_resolving(user: UserSettings, directory: Path) -> Iterator[dict[str, str]]:
    """Yield the variables that make uv read no settings that must never count."""
    project = _project_file(directory)
    files = [*([project] if project else []), *user.uv_files]
    if any(of_document(file.document, ("never",)) for file in files):
        with configuration(user, directory, RESOLVING, RESOLVING) as variables:
            yield variables
        return
    # uv finds its files itself where all are harmless: a uv.toml cannot say all that `[tool.uv]` can.
    if named := os.environ.get("UV_CONFIG_FILE"):
        yield {"UV_CONFIG_FILE": named}
    else:
        yield {"UV_NO_CONFIG": "1"} if ignores_uv_files() else {}


def user_document(user: UserSettings, scopes: tuple[Scope, ...]) -> dict[str, Any]:
    """Return the settings with these scopes of the user's and the machine's uv.toml."""
    return _merge(*(of_document(_with_absolute_paths(file), scopes) for file in user.uv_files))


def resolution_settings(directory: Path) -> dict[str, object]:
    """Return the user's and the project's settings that uv resolves with, without credentials."""
    user = read_user_settings()
    settings = variables_of({**user.for_uv(), **os.environ}, IN_KEY)
    files = {
        path: sha256_file(Path(path))
        for name in _VARIABLES_OF_FILES
        for path in settings.get(name, "").split()
        if os.path.isfile(path)
    }
    index = {
        **{name: without_secrets(value) for name, value in settings.items()},
        "files": files,
        "packages": user.compile_options(),
        "uv.toml": sha256_text(_users_text(user)),
        "no index": user.no_index(),
    }
    return {"index": index, "project settings": _project_digests(directory)}


def _users_text(user: UserSettings) -> str:
    if not (document := user_document(user, IN_KEY)):
        return ""
    from projrun.documents import toml_file

    return without_secrets(toml_file.dump(document))


def _project_digests(directory: Path) -> dict[str, str]:
    """Return digests of the project's own settings for uv, which reads them when it resolves there."""
    digests: dict[str, str] = {}
    for name in ("uv.toml", "pyproject.toml"):
        try:
            text = (directory / name).read_text(errors="replace")
        except OSError:
            continue
        if name == "uv.toml":
            digests[name] = sha256_text(without_secrets(text))
        elif "tool.uv" in text:  # all else that changes in the file changes no resolution
            digests[name] = sha256_text(without_secrets(_uv_table(text, name)))
    return digests


def _uv_table(text: str, name: str) -> str:
    from projrun.documents import toml_file

    try:
        tool = toml_file.parse(text, name).get("tool")
    except ProjrunError:  # uv does not read it either
        return ""
    return repr(tool.get("uv")) if isinstance(tool, dict) else ""


def _project_file(directory: Path) -> UvFile | None:
    """Return the settings that uv finds from `directory`: there, or in the nearest one above that has any."""
    if ignores_uv_files() or os.environ.get("UV_CONFIG_FILE"):
        return None
    for parent in (directory.absolute(), *directory.absolute().parents):
        if (path := parent / "uv.toml").is_file():
            return UvFile(path, load_toml(path))
        path = parent / "pyproject.toml"
        if path.is_file() and "uv" in (tool := load_toml(path).get("tool") or {}):
            return UvFile(path, tool["uv"] if isinstance(tool["uv"], dict) else {})
    return None


def _with_absolute_paths(file: UvFile) -> dict[str, Any]:
    """Return the document with absolute paths: the file that will hold it lies elsewhere."""
    base = file.path.parent.absolute()

    def absolute(value: Any) -> Any:
        if isinstance(value, list):
            return [absolute(item) for item in value]
        if not isinstance(value, str) or "://" in value or value.startswith(("file:", "$", "~")):
            return value
        return str(base / value)

    def convert(key: str, value: Any) -> Any:
        if key in _KEYS_OF_PATHS:
            return absolute(value)
        if key == "index" and isinstance(value, list):
            return [{**index, "url": absolute(index["url"])} if "url" in index else index for index in value]
        return convert_table(value) if key == "pip" and isinstance(value, dict) else value

    def convert_table(table: dict[str, Any]) -> dict[str, Any]:
        return {key: convert(key, value) for key, value in table.items()}

    return convert_table(file.document)


def _merge(*documents: Mapping[str, Any]) -> dict[str, Any]:
    """Merge documents as uv does: the first value wins, lists are joined."""
    result: dict[str, Any] = {}
    for document in documents:
        for key, value in document.items():
            if key not in result:
                result[key] = value
            elif isinstance(value, list) and isinstance(result[key], list):
                result[key] = [*result[key], *value]
            elif isinstance(value, dict) and isinstance(result[key], dict):
                result[key] = _merge(result[key], value)
    return result
