"""The uv.toml that projrun gives uv: what counts for the work at hand of the user's and the project's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from projrun.environments.pipsettings import TRUE, uv_files
from projrun.environments.settingplaces import RESOLVING, Place, of_document
from projrun.files import temporary_directory
from projrun.urls import without_secrets

_PLACES_OF_FILES = ("index-url", "extra-index-url", "find-links")
"""Keys whose values may be paths, relative to the file that holds them."""


@contextmanager
def configuration(
    directory: Path | None, users: tuple[Place, ...], projects: tuple[Place, ...]
) -> Iterator[dict[str, str]]:
    """The variables that make uv read the settings with these places, and no others.

    directory: the project's. users, projects: the places that count of the user's and the project's files.
    """
    from projrun import tomlfile

    document = _merged(_of_project(directory, projects), *_of_user(users))
    if not document:
        yield {"UV_NO_CONFIG": "1"}
        return
    with temporary_directory() as temporary:
        file = temporary / "uv.toml"
        file.touch(mode=0o600)
        file.write_text(tomlfile.dump(document))
        yield {"UV_CONFIG_FILE": str(file)}


@contextmanager
def configuration_for_resolving(directory: Path) -> Iterator[dict[str, str]]:
    """The variables that make uv read no settings that must never count.

    uv finds its files itself as long as none of them holds such a setting: a uv.toml cannot say all that
    `[tool.uv]` can.
    """
    files = [document for document, _ in _documents(directory)]
    if all(_is_harmless(document) for document in files):
        named = os.environ.get("UV_CONFIG_FILE")
        yield {"UV_CONFIG_FILE": named} if named else {"UV_NO_CONFIG": "1"} if _is_told_none() else {}
        return
    with configuration(directory, RESOLVING, RESOLVING) as variables:
        yield variables


def user_document(places: tuple[Place, ...]) -> dict[str, Any]:
    """The settings with these places of the user's and the machine's uv.toml."""
    return _merged(*_of_user(places))


def users_text(places: tuple[Place, ...]) -> str:
    """The user's settings with these places as text, without credentials."""
    from projrun import tomlfile

    document = user_document(places)
    return without_secrets(tomlfile.dump(document)) if document else ""


def _is_harmless(document: Mapping[str, Any]) -> bool:
    return not of_document(document, ("never",))


def _is_told_none() -> bool:
    return os.environ.get("UV_NO_CONFIG", "").lower() in TRUE


def _documents(directory: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    if found := _project_document(directory):
        yield found
    for file in uv_files():
        yield _loaded(file), file


def _of_user(places: tuple[Place, ...]) -> list[dict[str, Any]]:
    return [of_document(_in_place(_loaded(file), file.parent), places) for file in uv_files()]


def _of_project(directory: Path | None, places: tuple[Place, ...]) -> dict[str, Any]:
    if directory is None or (found := _project_document(directory)) is None:
        return {}
    document, file = found
    return of_document(_in_place(document, file.parent), places)


def _project_document(directory: Path) -> tuple[dict[str, Any], Path] | None:
    """The settings that uv finds from `directory`: there, or in the nearest directory above that has any."""
    if _is_told_none() or os.environ.get("UV_CONFIG_FILE"):
        return None
    for place in (directory.absolute(), *directory.absolute().parents):
        if (file := place / "uv.toml").is_file():
            return _loaded(file), file
        if (file := place / "pyproject.toml").is_file() and "uv" in (tool := _loaded(file).get("tool") or {}):
            return (tool["uv"] if isinstance(tool["uv"], dict) else {}), file
    return None


def _loaded(file: Path) -> dict[str, Any]:
    from projrun import tomlfile

    return tomlfile.load(file, str(file))


def _in_place(document: dict[str, Any], directory: Path) -> dict[str, Any]:
    """`document` with absolute paths: the file that will hold it lies elsewhere."""

    def absolute(value: Any) -> Any:
        if isinstance(value, list):
            return [absolute(one) for one in value]
        if not isinstance(value, str) or "://" in value or value.startswith(("file:", "$", "~")):
            return value
        return str(directory.absolute() / value)

    def in_place(key: str, value: Any) -> Any:
        if key in _PLACES_OF_FILES:
            return absolute(value)
        if key == "index" and isinstance(value, list):
            return [{**one, "url": absolute(one["url"])} if "url" in one else one for one in value]
        return in_table(value) if key == "pip" and isinstance(value, dict) else value

    def in_table(table: dict[str, Any]) -> dict[str, Any]:
        return {key: in_place(key, value) for key, value in table.items()}

    return in_table(document)


def _merged(*documents: dict[str, Any]) -> dict[str, Any]:
    """As uv merges its files: the first that says something wins, lists follow each other."""
    result: dict[str, Any] = {}
    for document in documents:
        for key, value in document.items():
            if key not in result:
                result[key] = value
            elif isinstance(value, list) and isinstance(result[key], list):
                result[key] = [*result[key], *value]
            elif isinstance(value, dict) and isinstance(result[key], dict):
                result[key] = _merged(result[key], value)
    return result
