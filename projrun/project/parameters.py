"""Check values against the types of parameters, and find the paths that they mean."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from projrun.console import one_line
from projrun.project.mlproject import Parameter

_INT = r"\s*[+-]?[0-9]+\s*"
_FLOAT = r"(?i)\s*[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity|nan)\s*"
_SCHEME = r"[\x00-\x20]*[A-Za-z][A-Za-z0-9+.-]*:"
_TRUE = ("true", "1", "yes")
_FALSE = ("false", "0", "no")
_PERCENT = rb"%([0-9A-Fa-f]{2})"
_LIST = r"(?i)list(?:\[\s*(\w+)\s*\])?"
_SEPARATOR = r"\s*,\s*|\s+"

_KINDS = {
    "string": "string",
    "str": "string",
    "float": "float",
    "number": "float",
    "double": "float",
    "int": "int",
    "integer": "int",
    "bool": "bool",
    "boolean": "bool",
    "list": "list",
}
TYPES = ("string", "float", "int", "bool", "path", "uri", "list")  # the types that messages name
_EXACT = ("path", "uri")  # in lower case only: `Path` is plain text for mlflow


def kind_of(parameter: Parameter) -> str:
    """Return string, float, int, bool, path, uri, list or list[…]; '' if the type is unknown."""
    written = parameter.type.strip()
    if written in _EXACT:
        return written
    match = re.fullmatch(_LIST, written) if "[" in written else None
    if match and match[1]:
        item = _KINDS.get(match[1].lower(), "")
        return f"list[{item}]" if item else ""
    return _KINDS.get(written.lower(), "")


def is_true(value: str) -> bool:
    return value.strip().lower() in _TRUE


def find_misfit(parameter: Parameter, value: str) -> str:
    """Return why `value` does not fit, as in `'abc' is not a float`; '' if it does."""
    kind = kind_of(parameter)
    if kind.startswith("list["):
        return _list_misfit(kind[5:-1], value)
    reason = _kind_misfit(kind, value)
    return reason or _limit_misfit(parameter, kind, value) or _choice_misfit(parameter, kind, value)


def _kind_misfit(kind: str, value: str) -> str:
    check = _CHECKS.get(kind)
    return "" if check is None or check(value) else f"{show_value(value)} is not {_ARTICLES[kind]}"


def is_int(value: str) -> bool:
    return re.fullmatch(_INT, value) is not None


def is_float(value: str) -> bool:
    return re.fullmatch(_FLOAT, value) is not None


def is_bool(value: str) -> bool:
    return value.strip().lower() in _TRUE + _FALSE


def is_uri(value: str) -> bool:
    return re.match(_SCHEME, value) is not None


_CHECKS: dict[str, Callable[[str], bool]] = {"int": is_int, "float": is_float, "bool": is_bool, "uri": is_uri}
_ARTICLES = {
    "int": "an int",
    "float": "a float",
    "bool": "a bool (true or false)",
    "uri": "a uri (scheme:…)",
}


def _list_misfit(item: str, value: str) -> str:
    inner = value.strip()
    if inner[:1] + inner[-1:] in ("[]", "()"):
        inner = inner[1:-1]
    for part in re.split(_SEPARATOR, inner.strip().strip(",")):
        if part and (reason := _kind_misfit(item, part.strip("'\""))):
            return f"{reason}, in {show_value(value)}"
    return ""


def _limit_misfit(parameter: Parameter, kind: str, value: str) -> str:
    if kind not in ("int", "float"):
        return ""
    number = float(value)
    if parameter.min is not None and not number >= parameter.min:
        return f"{show_value(value)} is less than {parameter.min:g}"
    if parameter.max is not None and not number <= parameter.max:
        return f"{show_value(value)} is more than {parameter.max:g}"
    return ""


def _choice_misfit(parameter: Parameter, kind: str, value: str) -> str:
    if not parameter.choices or value in parameter.choices:
        return ""
    if kind in ("int", "float"):
        numbers = [float(choice) for choice in parameter.choices if is_float(choice)]
        if float(value) in numbers:
            return ""
    if kind == "bool" and is_true(value) in [is_true(choice) for choice in parameter.choices]:
        return ""
    return f"{show_value(value)} is not one of {', '.join(parameter.choices)}"


def show_value(value: str) -> str:
    """Return `value` in quotes, printable and at most 62 characters long, for a message."""
    text = value if len(value) <= 60 else value[:59] + "…"
    return f"'{text}'" if text.isprintable() else repr(text)


# paths


def local_path(value: str, caller: Path) -> str:
    """Return the absolute path that a value of type path means; '' if it is remote.

    caller: the directory that relative paths start from.
    """
    path = _file_uri(value)
    absolute = os.path.normpath(os.path.join(os.path.abspath(caller), value if path is None else path))
    return "" if path is None and is_uri(value) and not os.path.exists(absolute) else absolute


def download_name(url: str) -> str:
    """Return the local name for a download of `url`; it keeps the extension, which programs look at."""
    path = re.split(r"[?#]", url.partition(":")[2])[0].rstrip("/")
    name = path.rpartition("/")[2].rpartition("@")[2]
    unescaped = os.fsdecode(_unescaped(name))
    return "download" if unescaped in ("", ".", "..") or re.search(r"[/\0]", unescaped) else unescaped[-200:]


def _file_uri(value: str) -> str | None:
    """Return the path in a `file:` URI of this machine; None if `value` is no such URI."""
    match = re.match(r"(?is)file:(?://(?:localhost)?(?=/|$))?([^/].*|/(?!/).*|)$", value)
    return os.fsdecode(_unescaped(re.split(r"[?#]", match[1])[0])) if match else None


def _unescaped(text: str) -> bytes:
    return re.sub(_PERCENT, lambda match: bytes([int(match[1], 16)]), os.fsencode(text))


_LIMITS = (("min", "at least"), ("max", "at most"))


def is_needed(parameter: Parameter) -> bool:
    """Return True if the user must give a value."""
    return parameter.default is None and parameter.required and not parameter.flag


def describe_parameter(parameter: Parameter) -> str:
    """Describe type, constraints, default and description in one line."""
    limits = [(word, getattr(parameter, key)) for key, word in _LIMITS]
    facts = [
        parameter.type,
        *(f"{word} {limit:g}" for word, limit in limits if limit is not None),
        f"one of {', '.join(parameter.choices)}" if parameter.choices else "",
        f"stands for {parameter.flag}" if parameter.flag else "",
        "made by the run" if parameter.output else "",
        _default(parameter),
    ]
    description = f" — {parameter.description}" if parameter.description else ""
    return one_line("; ".join(fact for fact in facts if fact) + description)


def _default(parameter: Parameter) -> str:
    if parameter.default is not None:
        return f"default {parameter.default or repr('')}"
    return "required" if is_needed(parameter) else "may be left out"
