"""What the user configured for uv, and what it means to pip, which installs what uv resolved.

Nothing that is configured for pip itself is overridden. The values may hold credentials: they travel in
environment variables, never in arguments.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from projrun.environments.pipsettings import settings_in_files, settings_in_variables, uv_files
from projrun.environments.settingplaces import INSTALLING, options_of_pip, variable_of_pip

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
    """What uv is told of indexes, as pip has it."""
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
    from projrun import tomlfile

    document = tomlfile.load(file, str(file))
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
