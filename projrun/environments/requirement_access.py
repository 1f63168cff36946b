"""Index settings and credentials of a project's own requirements: needed to install, never to be kept.

A descriptor that is handed around, recorded or shown has been through `without_access`. What that takes out
travels as an `Access` in memory, and reaches the tools in files and variables that only the user can read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from projrun.net import without_credentials, without_secrets
from projrun.plan import Access, Descriptor, Lock
from projrun.processes import git_config_variables

_OPTION = (
    r"(-i|--index-url|--extra-index-url|-f|--find-links|--no-index|--trusted-host)(?:(?:\s*=\s*|\s+)(.+))?$"
)
_WHOLE_URL = r"[A-Za-z][A-Za-z0-9+.-]*://[^\s;#\"']*"
_URL = r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[^\s/@\"']+)(?P<path>/[^\s;#\"']*)?"
_LOGIN = rb"[A-Za-z][A-Za-z0-9+.-]*://[^\s/@\"']+@[^\s;#\"']*"
_PATH = r"\bpath\s*="
_VARIABLE = r"\$\{([A-Z0-9_]+)\}"
_SECRETS = r"TOKEN|SECRET|PASS|CREDENTIAL|KEY|AUTH|PAT\b"  # in names of variables
_MASK = "****"


def without_access(descriptor: Descriptor) -> Descriptor:
    """Return the descriptor as it may be shown and recorded, without credentials."""
    return _with_lines(descriptor, without_secrets) if _lines_with_urls(descriptor) else descriptor


def access_of(descriptor: Descriptor, directory: Path) -> Access:
    """Return the options and credentials of a descriptor, which may not be kept."""
    text = "\n".join(_lines_with_urls(descriptor))
    urls = {url for url in re.findall(_WHOLE_URL, text) if without_secrets(url) != url}
    urls |= _logins_in(directory / descriptor.lock_file) if descriptor.lock_file else set()
    names = dict.fromkeys(re.findall(_VARIABLE, text))
    return Access(
        options=tuple(_in_place(line, directory) for line in _lines(descriptor) if re.match(_OPTION, line)),
        urls=tuple(sorted(urls, key=len, reverse=True)),
        variables=tuple(names),
        directory=directory,
    )


def _logins_in(lock: Path) -> set[str]:
    """Return the URLs with credentials in a lock that another tool wrote."""
    return {url.decode(errors="replace") for url in re.findall(_LOGIN, lock.read_bytes())}


def is_find_links(line: str) -> bool:
    return bool(re.match(_OPTION, line)) and _option(line)[0] in ("-f", "--find-links")


def _in_place(line: str, directory: Path) -> str:
    """Return a `--find-links` line with an absolute path: the file that holds it will lie elsewhere."""
    name, value = _option(line)
    if not is_find_links(line) or "://" in value or value.startswith("file:"):
        return line
    return f"{name} {directory.absolute() / value}"


def with_urls(descriptor: Descriptor, access: Access) -> Descriptor:
    """Return the descriptor with the credentials that `without_access` took out."""
    return _with_lines(descriptor, lambda line: _with_urls(line, access.urls))


def _with_lines(descriptor: Descriptor, convert: Callable[[str], str]) -> Descriptor:
    return msgspec.structs.replace(
        descriptor,
        build_dependencies=tuple(map(convert, descriptor.build_dependencies)),
        dependencies=tuple(map(convert, descriptor.dependencies)),
        constraints=tuple(map(convert, descriptor.constraints)),
    )


def _with_urls(text: str, urls: Iterable[str]) -> str:
    for url in urls:
        text = text.replace(without_secrets(url), url)
    return text


def with_access(lock: Lock, descriptor: Descriptor, directory: Path) -> Lock:
    """Return `lock` with the options and credentials of its descriptor, for memory only."""
    return msgspec.structs.replace(lock, access=access_of(descriptor, directory))


def installable_pylock(lock: Lock) -> str:
    """Return the pylock with credentials and absolute paths, for a file that only the user can read."""
    from projrun.documents import toml_file

    text, access = lock.pylock, lock.access
    if access and re.search(_PATH, text):
        document = toml_file.parse(text, "pylock.toml")
        here = access.directory.absolute()
        text = toml_file.dump(with_paths(document, lambda path: os.path.join(here, path)))
    return with_credentials(text, access)


def with_paths(document: dict[str, Any], changed: Callable[[str], str]) -> dict[str, Any]:
    """Change the path of each local file of a resolution in place, and return the document."""
    for package in document.get("packages", ()):
        sources = [package[key] for key in ("directory", "archive", "sdist") if key in package]
        for source in (*sources, *package.get("wheels", ())):
            if "path" in source:
                source["path"] = changed(source["path"])
    return document


def variable_digests(descriptor: Descriptor) -> dict[str, str]:
    """Return digests of the variables that URLs of requirements name; another value means resolving again."""
    from projrun.disk.file_operations import sha256_text

    names = (name for line in _lines_with_urls(descriptor) for name in re.findall(_VARIABLE, line))
    return {name: sha256_text(os.environ.get(name, "")) for name in names if not re.search(_SECRETS, name)}


def variables_for_uv(access: Access | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the project's index settings and credentials as variables for uv and the git that it starts.

    environ: the user's, already translated: their default index wins, their other indexes come first.
    """
    if access is None:
        return {}
    values: dict[str, list[str]] = {}
    for option in access.options:
        name, value = _option(option)
        if variable := _UV_VARIABLES.get(name):
            values.setdefault(variable, []).append(_expand(value))
    defaults = values.pop("UV_DEFAULT_INDEX", [])
    variables = {}
    if defaults and not environ.get("UV_DEFAULT_INDEX") and not environ.get("UV_INDEX_URL"):
        variables["UV_DEFAULT_INDEX"] = defaults[-1]
    for variable, indexes in values.items():
        separator = "," if variable == "UV_FIND_LINKS" else " "
        variables[variable] = separator.join(filter(None, (environ.get(variable, ""), *indexes)))
    return {**variables, **variables_for_git(access, environ)}


_UV_VARIABLES = {
    "-i": "UV_DEFAULT_INDEX",
    "--index-url": "UV_DEFAULT_INDEX",
    "--extra-index-url": "UV_INDEX",
    "-f": "UV_FIND_LINKS",
    "--find-links": "UV_FIND_LINKS",
    "--trusted-host": "UV_INSECURE_HOST",
}


def variables_for_git(access: Access | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the credentials of `git+https` URLs as settings: in a URL they would show in `ps`."""
    import base64
    from urllib.parse import unquote, urlsplit

    settings = {}
    for url in access.urls if access else ():
        if url.startswith("git+http"):
            parts = urlsplit(_expand(url.removeprefix("git+")))
            login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
            host = parts.netloc.rpartition("@")[2]
            token = base64.b64encode(login.encode()).decode()
            settings[f"http.{parts.scheme}://{host}/.extraHeader"] = f"Authorization: Basic {token}"
    return git_config_variables(environ, list(settings.items())) if settings else {}


def with_credentials(text: str, access: Access | None) -> str:
    """Return a lock or requirements with the credentials that its URLs lost."""
    if access is None:
        return text
    urls = [url for url in access.urls if not url.startswith("git+")]
    logins = [login for login in map(_login, urls) if login.user]
    text = _with_urls(text, urls)

    def restored(url: re.Match[str]) -> str:
        scheme, host, path = url["scheme"], url["host"], url["path"] or ""
        fitting = [login for login in logins if (login.scheme, login.host) == (scheme, host)]
        if not fitting:
            return url[0]
        below = path or "/"
        best = max(fitting, key=lambda login: (below == login.path, below.startswith(login.path)))
        return f"{scheme}://{best.user}@{host}{path}"

    return _expand(re.sub(_URL, restored, text) if logins else text, access.variables)


def without_git_passwords(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the lines without passwords in Git URLs; git gets them from `variables_for_git`."""
    return tuple(without_credentials(line) if "git+http" in line else line for line in lines)


def redact(text: str, access: Access | None = None) -> str:
    """Return the output of a tool without credentials."""
    plain = without_secrets(text)
    for secret in _secrets(access) if access else ():
        plain = plain.replace(secret, _MASK)
    return plain


def redact_document(document: Any, access: Access | None = None) -> Any:
    """Return a resolution without credentials, and with `${NAME}` for the value of a secret variable."""
    if isinstance(document, dict):
        return {key: redact_document(value, access) for key, value in document.items()}
    if isinstance(document, list):
        return [redact_document(value, access) for value in document]
    if not isinstance(document, str) or "://" not in document:
        return document
    for name in access.variables if access else ():
        value = os.environ.get(name, "")
        if value and re.search(_SECRETS, name):
            document = document.replace(value, f"${{{name}}}")
    return without_secrets(document)


class _Login(msgspec.Struct, frozen=True):
    scheme: str
    user: str
    host: str
    path: str


def _login(url: str) -> _Login:
    scheme, _, rest = url.partition("://")
    before, slash, path = rest.partition("/")
    user, _, host = before.rpartition("@")
    return _Login(scheme, user, host, slash + path)


def _secrets(access: Access) -> Iterator[str]:
    """Yield passwords, and lone user names that are tokens, as they may show in the output of a tool."""
    from urllib.parse import unquote

    for url in access.urls:
        user, colon, password = _expand(_login(url).user).partition(":")
        secret = password if colon else user
        yield from (form for form in {secret, unquote(secret)} if len(form) > 3)
    for name in access.variables:
        if re.search(_SECRETS, name) and len(os.environ.get(name, "")) > 3:
            yield os.environ[name]


def _option(line: str) -> tuple[str, str]:
    match = re.match(_OPTION, line)
    assert match is not None
    return match[1], (match[2] or "").strip().strip("'\"")


def _expand(text: str, names: Iterable[str] | None = None) -> str:
    """Expand `${NAME}` as pip and uv do; a variable that is not set stays as written."""
    expandable = None if names is None else set(names)

    def value(variable: re.Match[str]) -> str:
        is_expandable = expandable is None or variable[1] in expandable
        return os.environ.get(variable[1], variable[0]) if is_expandable else variable[0]

    return re.sub(_VARIABLE, value, text)


def _lines(descriptor: Descriptor) -> tuple[str, ...]:
    return (*descriptor.build_dependencies, *descriptor.dependencies, *descriptor.constraints)


def _lines_with_urls(descriptor: Descriptor) -> list[str]:
    return [line for line in _lines(descriptor) if "://" in line]
