"""The uv.toml that projrun gives uv: what counts for the work at hand of the user's and the project's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from projrun.disk.file_operations import sha256_file, sha256_text, temporary_directory
from projrun.environments import pip_settings
from projrun.environments.installer_settings import (
    IN_KEY,
    INSTALLING,
    RESOLVING,
    Place,
    of_document,
    options_of_pip,
    variable_of_pip,
    variables_of,
)
from projrun.environments.pip_settings import TRUE, settings_in_files, settings_in_variables, uv_files
from projrun.errors import ProjrunError
from projrun.net import without_secrets

_PLACES_OF_FILES = ("index-url", "extra-index-url", "find-links")
"""Keys whose values may be paths, relative to the file that holds them."""


@contextmanager
def configuration(
    directory: Path | None, users: tuple[Place, ...], projects: tuple[Place, ...]
) -> Iterator[dict[str, str]]:
    """The variables that make uv read the settings with these places, and no others.

    directory: the project's. users, projects: the places that count of the user's and the project's files.
    """
    from projrun.documents import toml_file

    document = _merged(_of_project(directory, projects), *_of_user(users))
    if not document:
        yield {"UV_NO_CONFIG": "1"}
        return
    with temporary_directory() as temporary:
        file = temporary / "uv.toml"
        file.touch(mode=0o600)
        file.write_text(toml_file.dump(document))
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
    if not (document := user_document(places)):
        return ""
    from projrun.documents import toml_file

    return without_secrets(toml_file.dump(document))


_FILES_IN_VARIABLES = ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_BUILD_CONSTRAINT")
"""Their values are names of files, whose content counts."""


def resolution_settings(directory: Path) -> dict[str, object]:
    """Return the user's and the project's settings that uv resolves with, without credentials."""
    settings = variables_of({**pip_settings.for_uv(), **os.environ}, IN_KEY)
    files = {
        path: sha256_file(Path(path))
        for name in _FILES_IN_VARIABLES
        for path in settings.get(name, "").split()
        if os.path.isfile(path)
    }
    index = {
        **{name: without_secrets(value) for name, value in settings.items()},
        "files": files,
        "packages": pip_settings.packages_for_compile(),
        "uv.toml": sha256_text(users_text(IN_KEY)),
        "no index": pip_settings.no_index(),
    }
    return {"index": index, "project settings": _project_digests(directory)}


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
    from projrun.documents import toml_file

    return toml_file.load(file, str(file))


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
    """Merge documents as uv does: the first value wins, lists are joined."""
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


_VARIABLES = {
    "UV_DEFAULT_INDEX": "PIP_INDEX_URL",
    "UV_INDEX_URL": "PIP_INDEX_URL",
    "UV_INDEX": "PIP_EXTRA_INDEX_URL",
    "UV_EXTRA_INDEX_URL": "PIP_EXTRA_INDEX_URL",
    "UV_FIND_LINKS": "PIP_FIND_LINKS",
}
_NAMED = re.compile(r"(?:([\w.-]+)=)?(?=[a-z]+:|/)(.+)")


def for_pip(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that make pip install from the indexes that a lock was resolved with, and nothing else.

    pip reads no file of its own then: what counts of them is in the variables.
    """
    counting = options_of_pip(INSTALLING)
    in_files, in_variables = (
        {variable_of_pip(name): value for name, value in found.items() if name in counting}
        for found in (settings_in_files(environ), settings_in_variables(environ))
    )
    return {**in_files, **_translated(environ), **in_variables, "PIP_CONFIG_FILE": os.devnull}


def _translated(environ: Mapping[str, str]) -> dict[str, str]:
    """Return pip's index settings in uv's words."""
    found: dict[str, str] = {}
    for file in reversed(list(uv_files(environ))):  # the one that wins last
        found |= _of_file(file, environ)
    for name, pips in _VARIABLES.items():
        if environ.get(name):
            found[pips] = " ".join(_plain(one, environ) for one in re.split(r"[\s,]+", environ[name]))
    if environ.get("UV_KEYRING_PROVIDER") == "subprocess":
        found["PIP_KEYRING_PROVIDER"] = "subprocess"
    return {name: value for name, value in found.items() if value}


def _of_file(file: Path, environ: Mapping[str, str]) -> dict[str, str]:
    from projrun.documents import toml_file

    document = toml_file.load(file, str(file))
    tables = [one for one in (document, document.get("pip")) if isinstance(one, dict)]
    first, more = "", []
    for table in tables:
        first = str(table.get("index-url") or first)
        more += [str(one) for one in _list(table, "extra-index-url")]
        for index in _list(table, "index"):
            url = _with_login(str(index.get("url", "")), str(index.get("name", "")), environ)
            if index.get("default"):
                first = url
            else:
                more.append(url)
    links = [str(one) for table in tables for one in _list(table, "find-links")]
    found = {"PIP_INDEX_URL": first, "PIP_EXTRA_INDEX_URL": " ".join(more), "PIP_FIND_LINKS": " ".join(links)}
    return {name: value for name, value in found.items() if value}


def _list(table: dict[str, Any], key: str) -> list[Any]:
    value = table.get(key)
    return value if isinstance(value, list) else []


def _plain(index: str, environ: Mapping[str, str]) -> str:
    """The URL of `name=URL`, as pip has it."""
    named = _NAMED.fullmatch(index)
    return _with_login(named[2], named[1] or "", environ) if named else index


def _with_login(url: str, name: str, environ: Mapping[str, str]) -> str:
    """With what `UV_INDEX_NAME_USERNAME` and `_PASSWORD` say of an index that has a name."""
    from urllib.parse import quote, urlsplit

    variable = f"UV_INDEX_{re.sub('[^A-Z0-9]', '_', name.upper())}"
    user, password = (environ.get(f"{variable}_{what}", "") for what in ("USERNAME", "PASSWORD"))
    if not name or not (user or password) or urlsplit(url).username:
        return url
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{rest}"
