"""The program pip: starting it with the index settings that a lock was resolved with, and its errors."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from projrun.console import one_line
from projrun.environments import LockFiles, lock_with_interpreter
from projrun.environments.contents import locked_packages
from projrun.environments.installer_settings import (
    INSTALLING,
    options_of_pip,
    variable_of_pip,
    variables_of,
    without_settings,
)
from projrun.environments.requirement_access import variables_for_git
from projrun.environments.user_settings import UserSettings, read_user_settings
from projrun.environments.uv.program import follow_cleaned
from projrun.errors import FREE_SPACE, BuildError
from projrun.plan import Access, Lock
from projrun.processes import merge_environ
from projrun.processes.programs import run_program
from projrun.record import Environment

_PIP_VARIABLES = {
    "UV_DEFAULT_INDEX": "PIP_INDEX_URL",
    "UV_INDEX_URL": "PIP_INDEX_URL",
    "UV_INDEX": "PIP_EXTRA_INDEX_URL",
    "UV_EXTRA_INDEX_URL": "PIP_EXTRA_INDEX_URL",
    "UV_FIND_LINKS": "PIP_FIND_LINKS",
}
_NAMED_INDEX = re.compile(r"(?:([\w.-]+)=)?(?=[a-z]+:|/)(.+)")
_BUNDLED_PIP = """
import sys
from virtualenv.seed.wheels.embed import get_embed_wheel
wheel = get_embed_wheel("pip", sys.argv[1])
print(wheel.path if wheel else "")
"""
_OWN_PIP = """
import glob, os, ensurepip
print(*glob.glob(os.path.join(os.path.dirname(ensurepip.__file__), "_bundled", "pip-*.whl"))[:1])
"""


def find_pip(lock: Lock) -> Path:
    """Return a wheel of a pip for this Python, which runs from there: virtualenv's, or the interpreter's."""
    minor = ".".join(lock.python.split(".")[:2])
    wheel = run_program([sys.executable, "-I", "-c", _BUNDLED_PIP, minor]).stdout.strip()
    wheel = wheel or run_program([lock.interpreter, "-I", "-c", _OWN_PIP]).stdout.strip()
    if not wheel:
        raise BuildError(
            f"neither virtualenv nor Python {lock.python} brings a pip that runs on it",
            "use --env-manager uv",
        )
    return Path(wheel)


def requirements(pylock: str) -> tuple[list[str], list[str]]:
    """Return requirement lines for pip: those with hashes, and those without (Git, directories)."""
    hashed, unhashed = [], []
    for package in locked_packages(pylock):
        marker = f" ; {package['marker']}" if "marker" in package else ""
        name = package["name"]
        if vcs := package.get("vcs"):
            below = f"#subdirectory={vcs['subdirectory']}" if "subdirectory" in vcs else ""
            url = f"{vcs['type']}+{vcs.get('url') or Path(vcs['path']).as_uri()}@{vcs['commit-id']}{below}"
            unhashed.append(f"{name} @ {url}{marker}")
        elif directory := package.get("directory"):
            editable = "-e " if directory.get("editable") else ""
            unhashed.append(f"{editable}{directory['path']}")
        elif archive := package.get("archive"):
            url = archive.get("url") or Path(archive["path"]).as_uri()
            hashed.append(f"{name} @ {url}{marker} {' '.join(_hashes([archive]))}")
        else:
            files = [*package.get("wheels", []), *filter(None, [package.get("sdist")])]
            hashed += [f"--find-links {Path(file['path']).parent}" for file in files if "path" in file]
            hashed.append(f"{name}=={package['version']}{marker} {' '.join(_hashes(files))}")
    return hashed, unhashed


def _hashes(files: list[dict[str, Any]]) -> Iterator[str]:
    for file in files:
        for algorithm, digest in file["hashes"].items():
            yield f"--hash={algorithm}:{digest}"


def run_pip(argv: list[str], log: Path, access: Access | None = None) -> None:
    """Run pip or virtualenv, its output in `log`. Raises BuildError with the lines that tell the reason."""
    code, output = follow_cleaned(argv, log, None, _environ(access), access)
    if code:
        raise _build_error(output)


def _build_error(output: str) -> BuildError:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "runtimeerror"))] or lines[-3:]
    if "No space left" in output:
        hint = FREE_SPACE
    elif "Failed to establish a new connection" in output or "No matching distribution" in output:
        hint = "check the network, the proxy and the index settings, then run it again"
    else:
        hint = "look at the log of the build, correct the requirements of the project, then run it again"
    return BuildError(f"the environment could not be made: {one_line(' '.join(errors))}", hint)


def _environ(access: Access | None) -> dict[str, str]:
    """Return the environment of virtualenv and pip, without settings that would change the result."""
    never = {"VIRTUAL_ENV": None, "PYTHONHOME": None, "PYTHONPATH": None}
    ours = {"VIRTUALENV_CONFIG_FILE": os.devnull}
    counting = variables_of(os.environ, INSTALLING)
    settings = _settings_for_pip(read_user_settings())
    theirs = merge_environ(without_settings(os.environ), counting, settings, never, ours)
    return merge_environ(theirs, variables_for_git(access, os.environ))


def _settings_for_pip(user: UserSettings) -> dict[str, str]:
    """Return the variables that make pip install from the indexes that a lock was resolved with.

    Index settings that are meant for uv count where pip's variables have none. pip reads no file of its own
    then: what counts of them is in the variables.
    """
    counting = options_of_pip(INSTALLING)
    in_files, in_variables = (
        {variable_of_pip(name): value for name, value in settings.items() if name in counting}
        for settings in (user.pip_files, user.pip_variables)
    )
    return {**in_files, **_translate_indexes(user), **in_variables, "PIP_CONFIG_FILE": os.devnull}


def _translate_indexes(user: UserSettings) -> dict[str, str]:
    """Return uv's index settings as variables of pip."""
    variables: dict[str, str] = {}
    for file in reversed(user.uv_files):  # the one that wins comes last
        variables |= _translate_document(file.document, user.environ)
    for name, pip_name in _PIP_VARIABLES.items():
        if value := user.environ.get(name):
            indexes = re.split(r"[\s,]+", value)
            variables[pip_name] = " ".join(_index_url(index, user.environ) for index in indexes)
    if user.environ.get("UV_KEYRING_PROVIDER") == "subprocess":
        variables["PIP_KEYRING_PROVIDER"] = "subprocess"
    return {name: value for name, value in variables.items() if value}


def _translate_document(document: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the index settings of a uv.toml as variables of pip."""
    tables = [table for table in (document, document.get("pip")) if isinstance(table, dict)]
    default, extra = "", []
    for table in tables:
        default = str(table.get("index-url") or default)
        extra += [str(url) for url in _list(table, "extra-index-url")]
        for index in _list(table, "index"):
            url = _with_login(str(index.get("url", "")), str(index.get("name", "")), environ)
            if index.get("default"):
                default = url
            else:
                extra.append(url)
    links = [str(link) for table in tables for link in _list(table, "find-links")]
    variables = {
        "PIP_INDEX_URL": default,
        "PIP_EXTRA_INDEX_URL": " ".join(extra),
        "PIP_FIND_LINKS": " ".join(links),
    }
    return {name: value for name, value in variables.items() if value}


def _list(table: dict[str, Any], key: str) -> list[Any]:
    value = table.get(key)
    return value if isinstance(value, list) else []


def _index_url(index: str, environ: Mapping[str, str]) -> str:
    """Return the URL of an index that uv's variables have as `URL` or `name=URL`."""
    named = _NAMED_INDEX.fullmatch(index)
    return _with_login(named[2], named[1] or "", environ) if named else index


def _with_login(url: str, name: str, environ: Mapping[str, str]) -> str:
    """Return the URL with the login that `UV_INDEX_NAME_USERNAME` and `_PASSWORD` give for a named index."""
    from urllib.parse import quote, urlsplit

    prefix = f"UV_INDEX_{re.sub('[^A-Z0-9]', '_', name.upper())}"
    user, password = environ.get(f"{prefix}_USERNAME", ""), environ.get(f"{prefix}_PASSWORD", "")
    if not name or not (user or password) or urlsplit(url).username:
        return url
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{rest}"


def download_packages(environment: Environment, files: LockFiles, target: Path, log: Path) -> None:
    """Download the file of every package that fits this machine; pip checks the hashes."""
    lock = lock_with_interpreter(environment, files)
    hashed, unhashed = requirements(lock.pylock)
    if unhashed:
        raise BuildError(
            f"{unhashed[0].partition(' ')[0]} is not from an index, so no bundle can hold it",
            "leave --with-packages out",
        )
    options = ["--no-deps", "--no-input", "--disable-pip-version-check", "--require-hashes"]
    file = log.with_suffix(".txt")
    try:
        file.write_text("\n".join(hashed) + "\n")
        pip = [lock.interpreter, "-I", str(find_pip(lock) / "pip"), "download", *options]
        run_pip([*pip, "--dest", str(target), "--requirement", str(file)], log)
    finally:
        file.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
